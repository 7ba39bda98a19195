import ArgumentParser

/// Token ids as `1,2,3`; whether a model has them is checked when it is loaded.
struct TokenIDs: Sendable {
  let ids: [Int]

  init(_ ids: [Int]) { self.ids = ids }

  init(_ text: String) throws {
    if text.isEmpty { throw ValidationError("there are no token ids; write 1,2,3") }
    ids = try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      let digits = part.drop { $0 == " " }
      guard let id = Int(digits) else { throw ValidationError("'\(part)' is no token id; write 1,2,3") }
      return id
    }
  }

  /// The ids, where a vocabulary of this size has them all.
  func checked(vocabulary: Int) throws -> [Int32] {
    try ids.map { id in
      guard (0..<vocabulary).contains(id) else {
        throw Failure("token id \(id) is outside the model's vocabulary of \(vocabulary)")
      }
      return Int32(id)
    }
  }
}
