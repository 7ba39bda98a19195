/// A vocabulary that is looked up, without any search: of whole words, or of characters.
///
/// It is the model of tokenizer.json's `WordLevel`, and of SentencePiece's model types `word` and `char`.
public struct Lexicon: Sendable {
  public enum Unit: Sendable {
    /// The word that the pre-tokeniser gives.
    case whole
    /// SentencePiece's words, each with the `▁` before it.
    case word
    case character
  }

  private let unit: Unit
  private let ids: [ExactString: Int32]
  private let userDefined: ScalarTrie
  private let unknown: Int32?
  private let bytes: BytePieces?
  private let fusesUnknown: Bool

  /// Pieces in the order of their ids; hidden ones are not found.
  ///
  /// - Parameters:
  ///   - unknown: the id of what is not there, of which neighbours are one token with `fusesUnknown`.
  ///   - byteFallback: what is not there is spelled by the pieces `<0x00>` … `<0xFF>`.
  public init(
    _ pieces: [Unigram.Piece], by unit: Unit, unknown: Int32?, byteFallback: Bool = false, fusesUnknown: Bool
  ) {
    self.unit = unit
    self.unknown = unknown
    self.fusesUnknown = fusesUnknown
    var userDefined = ScalarTrie()
    var ids: [ExactString: Int32] = [:]
    for (id, piece) in pieces.enumerated() where piece.kind != .hidden {
      if piece.kind == .userDefined { userDefined.insert(piece.text.unicodeScalars, value: Int32(id)) }
      if ids[ExactString(piece.text)] == nil { ids[ExactString(piece.text)] = Int32(id) }
    }
    self.ids = ids
    self.userDefined = userDefined
    let known = Dictionary(
      pieces.enumerated().map { (ExactString($1.text), Int32($0)) }, uniquingKeysWith: { first, _ in first })
    bytes = byteFallback ? BytePieces { known[ExactString($0)] } : nil
  }

  /// The words of a vocabulary as tokenizer.json gives them to `WordLevel`.
  public init(words vocabulary: Vocabulary, unknown: Int32?) {
    unit = .whole
    ids = Dictionary(
      vocabulary.pieces.compactMap { piece in
        guard let piece, let id = vocabulary.id(of: piece) else { return nil }
        return (ExactString(piece), id)
      }, uniquingKeysWith: { first, _ in first })
    userDefined = ScalarTrie()
    self.unknown = unknown
    bytes = nil
    fusesUnknown = false
  }

  func tokens(ofWord word: ArraySlice<Unicode.Scalar>) throws -> [WordToken] {
    var tokens: [WordToken] = []
    var start = word.startIndex
    while start < word.endIndex {
      let end = self.end(from: start, in: word)
      let part = word[start..<end]
      let place = start - word.startIndex..<end - word.startIndex
      start = end
      if let id = ids[ExactString(String(part))] {
        tokens.append(WordToken(id: id, range: place))
      } else if let spelled = spelled(part, at: place.lowerBound) {
        tokens += spelled
      } else {
        guard let unknown else { throw TokenizerError.noUnknownToken(String(part.prefix(20))) }
        if fusesUnknown, let last = tokens.last, last.id == unknown {
          tokens[tokens.count - 1].range = last.range.lowerBound..<place.upperBound
        } else {
          tokens.append(WordToken(id: unknown, range: place))
        }
      }
    }
    return tokens
  }

  /// The bytes of what is not there, each with the place of its character.
  private func spelled(_ part: ArraySlice<Unicode.Scalar>, at start: Int) -> [WordToken]? {
    guard let bytes else { return nil }
    var tokens: [WordToken] = []
    for (offset, index) in part.indices.enumerated() {
      let place = start + offset..<start + offset + 1
      guard let character = bytes.tokens(of: part[index...index], at: place) else { return nil }
      tokens += character
    }
    return tokens
  }

  private func end(from start: Int, in word: ArraySlice<Unicode.Scalar>) -> Int {
    switch unit {
    case .whole: word.endIndex
    case .word: word[(start + 1)...].firstIndex(of: "\u{2581}") ?? word.endIndex
    case .character: userDefined.longestMatch(in: word[start...])?.end ?? start + 1
    }
  }
}
