extension SentencePieceModel {
  /// A model's file: a protocol buffer of the message `ModelProto`, as `init(_:)` reads it.
  ///
  /// - Parameter special: ids of the tokens that stand for what is unknown, begin, end and fill a text; nil for none.
  public static func file(
    _ algorithm: Algorithm, _ pieces: [Piece], charsmap: [UInt8] = [], addsDummyPrefix: Bool,
    removesExtraWhitespaces: Bool, special: [Int?]
  ) -> [UInt8] {
    var file = ProtobufWriter()
    for piece in pieces {
      file.message(1) {
        $0.text(1, piece.text)
        $0.float(2, piece.score)
        $0.number(3, piece.kind.rawValue)
      }
    }
    let type =
      switch algorithm {
      case .unigram: 1
      case .bpe: 2
      case .word: 3
      case .character: 4
      }
    file.message(2) {
      $0.number(3, type)
      $0.number(4, pieces.count)
      $0.number(35, pieces.contains { $0.kind == .byte } ? 1 : 0)
      for (field, id) in special.enumerated() {
        $0.number(40 + field, id ?? -1)
        if let id { $0.text(45 + field, pieces[id].text) }
      }
    }
    file.message(3) {
      $0.text(1, charsmap.isEmpty ? "identity" : "user_defined")
      $0.bytes(2, charsmap)
      $0.number(3, addsDummyPrefix ? 1 : 0)
      $0.number(4, removesExtraWhitespaces ? 1 : 0)
      $0.number(5, 1)
    }
    return file.bytes
  }
}

/// A writer of Protocol Buffers' wire format.
private struct ProtobufWriter {
  private(set) var bytes: [UInt8] = []

  private mutating func varint(_ value: UInt64) {
    var rest = value
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }

  private mutating func key(_ field: Int, _ type: UInt64) { varint(UInt64(field) << 3 | type) }

  /// A whole number; negative ones take ten bytes.
  mutating func number(_ field: Int, _ value: Int) {
    key(field, 0)
    varint(UInt64(bitPattern: Int64(value)))
  }

  mutating func bytes(_ field: Int, _ value: [UInt8]) {
    key(field, 2)
    varint(UInt64(value.count))
    bytes += value
  }

  mutating func text(_ field: Int, _ value: String) { bytes(field, Array(value.utf8)) }

  mutating func float(_ field: Int, _ value: Float) {
    key(field, 5)
    withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += $0 }
  }

  mutating func message(_ field: Int, _ fill: (inout ProtobufWriter) -> Void) {
    var inner = ProtobufWriter()
    fill(&inner)
    bytes(field, inner.bytes)
  }
}
