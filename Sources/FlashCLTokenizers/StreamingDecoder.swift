/// Ids in, text out, never half a character: what generation prints as it goes.
///
/// Bytes that may still become a character are held back until the next id or `finish()`. Joined, the
/// returned texts are the text of the joined bytes, in which each maximal broken sequence is one U+FFFD.
public struct StreamingDecoder: Sendable {
  private let tokenizer: any Tokenizer
  private let skipSpecial: Bool
  private var held: [UInt8] = []
  private var isAtStart = true
  /// Whether a space comes before the next token.
  private var owesSpace = false

  /// `skipSpecial` leaves special tokens out of the text.
  public init(_ tokenizer: any Tokenizer, skipSpecial: Bool = true) {
    self.tokenizer = tokenizer
    self.skipSpecial = skipSpecial
  }

  /// The text that `id` completes, often none. Throws `TokenizerError.unknownID` and then keeps what it held.
  public mutating func push(_ id: Int32) throws -> String {
    try push(CollectionOfOne(id))
  }

  /// The text that `ids` complete.
  public mutating func push(_ ids: some Sequence<Int32>) throws -> String {
    var bytes = held
    var (atStart, owesSpace) = (isAtStart, owesSpace)
    for id in ids {
      let addition = try tokenizer.bytes(of: id, atStart: atStart)
      if skipSpecial && tokenizer.isSpecial(id) { continue }
      if owesSpace { bytes.append(UInt8(ascii: " ")) }
      bytes += addition
      owesSpace = tokenizer.endsWord(id)
      atStart = false
    }
    (isAtStart, self.owesSpace) = (atStart, owesSpace)
    let whole = bytes.count - incompleteTail(of: bytes)
    held = Array(bytes[whole...])
    return String(decoding: bytes[..<whole], as: UTF8.self)
  }

  /// The text of the bytes still held, U+FFFD if there are any; the next id then starts a new text.
  public mutating func finish() -> String {
    defer {
      held = []
      isAtStart = true
      owesSpace = false
    }
    return String(decoding: held, as: UTF8.self)
  }
}

/// How many bytes at the end of `bytes` (0 to 3) begin a character whose rest is missing.
func incompleteTail(of bytes: [UInt8]) -> Int {
  for length in 1...3 where length <= bytes.count {
    let lead = bytes[bytes.count - length]
    if lead & 0b1100_0000 == 0b1000_0000 { continue }
    let needed =
      switch lead {
      case 0xC2...0xDF: 2
      case 0xE0...0xEF: 3
      case 0xF0...0xF4: 4
      default: 1
      }
    guard length < needed else { return 0 }
    // The second byte has a narrower range after these leads: no overlong forms, no surrogates, nothing past
    // U+10FFFF.
    let second: ClosedRange<UInt8> =
      switch lead {
      case 0xE0: 0xA0...0xBF
      case 0xED: 0x80...0x9F
      case 0xF0: 0x90...0xBF
      case 0xF4: 0x80...0x8F
      default: 0x80...0xBF
      }
    return length == 1 || second.contains(bytes[bytes.count - length + 1]) ? length : 0
  }
  return 0
}
