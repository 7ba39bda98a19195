/// Text to ids and back: what every tokeniser of this module does.
///
/// Text is bytes. Bytes that are not UTF-8 are read as U+FFFD, one for each maximal broken sequence, exactly
/// as `String(decoding:as:)` and Python's `bytes.decode("utf-8", errors="replace")` read them.
public protocol Tokenizer: Sendable {
  /// One more than the largest id.
  var vocabularySize: Int { get }

  /// What the model expects around a text, and around two.
  var template: Template { get }

  /// The tokens of `text` alone, without the template; no bytes give no tokens.
  ///
  /// `special` is as in `encode(_:pair:special:)`. Throws `TokenizerError.noUnknownToken`.
  func tokens(of text: [UInt8], special: Bool) throws -> Encoding

  /// The bytes that `id` adds to a text; at its start, without the space that would part it from a word
  /// before.
  ///
  /// The bytes of one id need not be whole characters. Throws `TokenizerError.unknownID`.
  func bytes(of id: Int32, atStart: Bool) throws -> [UInt8]

  /// True where a space parts the token from what follows, if anything does (GPT-1's and CLIP's `</w>`).
  func endsWord(_ id: Int32) -> Bool

  /// The vocabulary's own spelling of `id`. Throws `TokenizerError.unknownID`.
  func piece(of id: Int32) throws -> String

  /// The id with exactly this spelling, byte for byte, or nil.
  func id(ofPiece piece: String) -> Int32?

  /// True for special tokens; false for every other number.
  func isSpecial(_ id: Int32) -> Bool
}

extension Tokenizer {
  public func endsWord(_ id: Int32) -> Bool { false }

  /// The tokens of a text, or of two, as the model reads them.
  ///
  /// - Parameter special: false reads the spelling of a special token as ordinary text and adds nothing:
  ///   right for text from a user. True finds special tokens in the text and adds the model's own template
  ///   (`<s>`, `[CLS]` … `[SEP]`). Added tokens that are not special belong to the text and are found
  ///   in both.
  ///
  /// Throws `TokenizerError.noUnknownToken` for a character that the vocabulary cannot spell.
  public func encode(_ text: [UInt8], pair: [UInt8]?, special: Bool) throws -> Encoding {
    template.apply(
      to: try tokens(of: text, special: special),
      try pair.map { try tokens(of: $0, special: special) }, addingTokens: special)
  }

  /// The tokens of a text, or of two; see `encode(_:pair:special:)` of bytes.
  public func encode(_ text: String, pair: String?, special: Bool) throws -> Encoding {
    try encode(Array(text.utf8), pair: pair.map { Array($0.utf8) }, special: special)
  }

  /// The ids of `text`; see `encode(_:pair:special:)`.
  public func encode(_ text: [UInt8], special: Bool) throws -> [Int32] {
    try encode(text, pair: nil, special: special).ids
  }

  /// The ids of `text`; see `encode(_:pair:special:)`.
  public func encode(_ text: String, special: Bool = false) throws -> [Int32] {
    try encode(Array(text.utf8), special: special)
  }

  /// The bytes of `id` inside a running text.
  public func bytes(of id: Int32) throws -> [UInt8] {
    try bytes(of: id, atStart: false)
  }

  /// The text of `ids`, in which broken UTF-8 is U+FFFD; `skipSpecial` leaves out special tokens.
  ///
  /// It is what a `StreamingDecoder` returns, joined. Throws `TokenizerError.unknownID`.
  public func decode(_ ids: [Int32], skipSpecial: Bool = true) throws -> String {
    var decoder = StreamingDecoder(self, skipSpecial: skipSpecial)
    return try decoder.push(ids) + decoder.finish()
  }
}

extension String {
  /// The characters at a token's offsets, which count Unicode scalars; what lies past the end is left out.
  public func scalars(at range: Range<Int>) -> String {
    String(unicodeScalars.dropFirst(range.lowerBound).prefix(range.count))
  }
}

/// What can go wrong between text and ids.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
  /// An id that the vocabulary does not have.
  case unknownID(Int32, vocabularySize: Int)
  /// A text that the vocabulary cannot spell, where it has no unknown token either.
  case noUnknownToken(String)
  /// A vocabulary, merge list or token table that contradicts itself.
  case badVocabulary(String)
  /// A part of a tokeniser's description that is not implemented here.
  case unsupported(part: String, value: String, known: [String])

  public var description: String {
    switch self {
    case .unknownID(let id, let size):
      "token id \(id) is not in the vocabulary, whose ids are 0 to \(size - 1)"
    case .noUnknownToken(let text):
      "the vocabulary has no piece for '\(text)' and no unknown token to stand for it"
    case .badVocabulary(let reason):
      "the tokeniser's vocabulary is broken: \(reason)"
    case .unsupported(let part, let value, let known):
      "the tokeniser's \(part) '\(value)' is not supported; known: \(known.joined(separator: ", "))"
    }
  }
}
