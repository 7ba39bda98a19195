/// Ids and their spellings.
///
/// Spellings are compared byte for byte: "é" in one scalar and "é" in two are different pieces, although
/// Swift's `String` calls them equal. For the same reason a loader must not collect pieces in a `[String:
/// Int32]`.
public struct Vocabulary: Sendable {
  /// The largest id that is accepted, so that a damaged file cannot ask for the whole memory.
  public static let largestID: Int32 = 1 << 24 - 1

  private(set) var pieces: [String?]
  private var ids: [ExactString: Int32]

  /// Pieces in the order of their ids, as GGUF lists them; of two equal pieces, the first is found by
  /// spelling.
  public init(_ pieces: [String]) throws {
    guard pieces.count <= Int(Self.largestID) + 1 else {
      throw TokenizerError.badVocabulary("\(pieces.count) pieces, more than \(Int(Self.largestID) + 1)")
    }
    self.pieces = pieces
    ids = Dictionary(
      pieces.enumerated().map { (ExactString($1), Int32($0)) }, uniquingKeysWith: { first, _ in first })
  }

  /// Pieces with their ids, in any order and with gaps, as `tokenizer.json` lists them.
  public init(_ pieces: [(piece: String, id: Int32)]) throws {
    self.pieces = []
    ids = [:]
    ids.reserveCapacity(pieces.count)
    for (piece, id) in pieces {
      let isTaken = self.pieces.indices.contains(Int(id)) && self.pieces[Int(id)] != nil
      guard !isTaken else {
        throw TokenizerError.badVocabulary("id \(id) has two pieces, the second is '\(piece)'")
      }
      try set(piece, id: id)
    }
  }

  var size: Int { pieces.count }

  subscript(id: Int32) -> String? {
    pieces.indices.contains(Int(id)) ? pieces[Int(id)] : nil
  }

  /// The id with exactly this spelling, byte for byte, or nil.
  public func id(of piece: String) -> Int32? { ids[ExactString(piece)] }

  func piece(of id: Int32) throws -> String {
    guard let piece = self[id] else { throw TokenizerError.unknownID(id, vocabularySize: size) }
    return piece
  }

  /// Gives `id` a spelling, also in place of another.
  mutating func set(_ piece: String, id: Int32) throws {
    guard (0...Self.largestID).contains(id) else {
      throw TokenizerError.badVocabulary(
        "piece '\(piece)' has the id \(id), which is not in 0 to \(Self.largestID)")
    }
    if Int(id) >= pieces.count {
      pieces += repeatElement(nil, count: Int(id) + 1 - pieces.count)
    }
    pieces[Int(id)] = piece
    ids[ExactString(piece)] = id
  }
}

/// A string that equals another only byte for byte.
struct ExactString: Hashable {
  let text: String

  init(_ text: String) { self.text = text }

  static func == (left: Self, right: Self) -> Bool {
    left.text.utf8.elementsEqual(right.text.utf8)
  }

  func hash(into hasher: inout Hasher) {
    var text = text
    text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
  }
}
