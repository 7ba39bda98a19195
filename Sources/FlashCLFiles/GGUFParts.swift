/// Models that llama.cpp split into several files: NAME-00001-of-00003.gguf, ….
///
/// The first part has the metadata; each says which one it is (`split.no`, from 0), of how many (`split.count`), and how many
/// tensors there are in all (`split.tensors.count`).
extension GGUF {
  /// Keys of the metadata that a whole file has not.
  public static let splitKeys: Set = ["split.no", "split.count", "split.tensors.count"]

  /// The paths of the parts after this one, which must be the first; none for a whole file.
  func otherParts() throws -> [String] {
    guard let count = self["split.count"]?.int, count > 1 else { return [] }
    let number = self["split.no"]?.int ?? 0
    func ending(_ number: Int) -> String { "-\(Self.digits(number))-of-\(Self.digits(count)).gguf" }
    guard number == 0 else {
      throw FileError(
        path, "is part \(number + 1) of \(count) of a model: open its first part, …\(ending(1))")
    }
    guard path.hasSuffix(ending(1)), count < 100_000 else {
      throw FileError(
        path, "is the first of \(count) parts (split.count), whose name must end with \(ending(1))")
    }
    let stem = path.dropLast(ending(1).count)
    return (2...count).map { stem + ending($0) }
  }

  /// Checks that `parts` are the rest of this first one.
  func requireSamePart(_ parts: [GGUF], tensorCount: Int) throws {
    for (place, part) in parts.enumerated() {
      let (number, count) = (part["split.no"]?.int, part["split.count"]?.int)
      guard number == place + 1, count == parts.count + 1 else {
        let found = number.map { "part \($0 + 1) of \(count ?? 0)" } ?? "no part of a model"
        throw FileError(part.path, "is \(found), expected part \(place + 2) of \(parts.count + 1)")
      }
    }
    if let expected = self["split.tensors.count"]?.int, expected != tensorCount {
      throw FileError(
        path,
        "its \(parts.count + 1) parts have \(tensorCount) tensors, expected \(expected) (split.tensors.count)"
      )
    }
  }

  /// Five digits.
  private static func digits(_ number: Int) -> String {
    let text = String(number)
    return String(repeating: "0", count: max(0, 5 - text.count)) + text
  }
}
