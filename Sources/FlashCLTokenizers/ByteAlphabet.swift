/// How byte-level vocabularies spell bytes: one printable character each, so that a piece is readable text.
///
/// The bytes that are printable Latin-1 stand for themselves; the other 68 take U+0100, U+0101, … in their
/// order. So a space is `Ġ` (U+0120) and a newline `Ċ` (U+010A).
enum ByteAlphabet {
  static let scalars: [Unicode.Scalar] = {
    var next: UInt32 = 0x100
    return (UInt8.min...UInt8.max).map { byte in
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: return Unicode.Scalar(byte)
      default:
        defer { next += 1 }
        // 68 characters from U+0100 are far from the surrogates.
        return Unicode.Scalar(next) ?? "\u{FFFD}"
      }
    }
  }()

  private static let bytes: [Unicode.Scalar: UInt8] = Dictionary(
    uniqueKeysWithValues: zip(scalars, UInt8.min...UInt8.max))

  /// The spelling of bytes.
  static func spell(_ bytes: some Sequence<UInt8>) -> String {
    String(bytes.lazy.map { scalars[Int($0)] })
  }

  /// The bytes of a spelling, or nil if a character stands for no byte.
  static func read(_ spelling: String) -> [UInt8]? {
    var result: [UInt8] = []
    result.reserveCapacity(spelling.utf8.count)
    for scalar in spelling.unicodeScalars {
      guard let byte = bytes[scalar] else { return nil }
      result.append(byte)
    }
    return result
  }
}
