/// WordPiece, the tokeniser of BERT: each word is cut into the longest pieces of the vocabulary, from left to
/// right.
///
/// A piece that continues a word is spelled with a prefix (`##`). A word that cannot be cut, or is longer
/// than `maxCharactersPerWord` scalars, is the unknown token as a whole. Text is normalised, so that decoding
/// returns words, not the text.
public struct WordPiece: Tokenizer {
  private let vocabulary: Vocabulary
  private let pipeline: Pipeline
  private let unknown: Int32
  private let continuation: [UInt8]
  private let maxCharactersPerWord: Int
  private let cleanup: Bool
  private let firsts: ScalarTrie
  private let continuations: ScalarTrie

  /// Makes a tokeniser of the parts that a file describes.
  ///
  /// - Parameters:
  ///   - unknown: the spelling of the unknown token.
  ///   - continuation: the prefix of pieces that continue a word.
  ///   - template: what stands around a text in special mode (`[CLS]`, `[SEP]`).
  ///   - cleanup: whether decoding takes the space before punctuation and contractions away, id by id.
  ///
  /// Throws `TokenizerError.badVocabulary` if the unknown token, or an id that is referred to, is not there.
  public init(
    vocabulary: Vocabulary, added: [AddedToken] = [], unknown: String = "[UNK]", continuation: String = "##",
    maxCharactersPerWord: Int = 100, normalizers: [Normalizer] = [.bert(BertNormalizer())],
    preTokenizer: PreTokenizer = PreTokenizer([.bert]), template: Template = Template(), cleanup: Bool = true
  ) throws {
    guard let unknownID = vocabulary.id(of: unknown) else {
      throw TokenizerError.badVocabulary("the unknown token '\(unknown)' is not a piece")
    }
    self.unknown = unknownID
    self.continuation = Array(continuation.utf8)
    self.maxCharactersPerWord = maxCharactersPerWord
    self.cleanup = cleanup
    var firsts = ScalarTrie()
    var continuations = ScalarTrie()
    let mark = Array(continuation.unicodeScalars)
    for (id, piece) in vocabulary.pieces.enumerated() {
      guard let scalars = piece?.unicodeScalars else { continue }
      firsts.insert(scalars, value: Int32(id))
      if scalars.starts(with: mark) { continuations.insert(scalars.dropFirst(mark.count), value: Int32(id)) }
    }
    self.firsts = firsts
    self.continuations = continuations
    self.vocabulary = try vocabulary.adding(added, referredTo: template.ids)
    pipeline = Pipeline(
      added: added, normalizers: normalizers, preTokenizer: preTokenizer, template: template)
  }

  public var vocabularySize: Int { vocabulary.size }
  public var template: Template { pipeline.template }

  public func tokens(of text: [UInt8], special: Bool) -> Encoding {
    pipeline.tokens(of: text, special: special, pieces: vocabulary) { word in
      tokens(ofWord: word) ?? [WordToken(id: unknown, range: 0..<word.count)]
    }
  }

  private func tokens(ofWord word: ArraySlice<Unicode.Scalar>) -> [WordToken]? {
    guard word.count <= maxCharactersPerWord else { return nil }
    var tokens: [WordToken] = []
    var rest = word
    while !rest.isEmpty {
      guard let match = (tokens.isEmpty ? firsts : continuations).longestMatch(in: rest) else { return nil }
      tokens.append(
        WordToken(
          id: match.value, range: rest.startIndex - word.startIndex..<match.end - word.startIndex))
      rest = rest[match.end...]
    }
    return tokens
  }

  public func bytes(of id: Int32, atStart: Bool) throws -> [UInt8] {
    var bytes = Array(try vocabulary.piece(of: id).utf8)
    if !atStart {
      if bytes.starts(with: continuation) {
        bytes.removeFirst(continuation.count)
      } else {
        bytes.insert(UInt8(ascii: " "), at: 0)
      }
    }
    guard cleanup else { return bytes }
    return Self.cleanups.reduce(bytes) { $0.replacing($1.0, by: $1.1) }
  }

  /// What the decoder of the `tokenizers` package replaces in the text of one id, in this order.
  private static let cleanups: [([UInt8], [UInt8])] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ].map { (Array($0.utf8), Array($1.utf8)) }

  public func piece(of id: Int32) throws -> String { try vocabulary.piece(of: id) }

  public func id(ofPiece piece: String) -> Int32? { vocabulary.id(of: piece) }

  public func isSpecial(_ id: Int32) -> Bool { pipeline.added[id]?.isSpecial ?? false }
}

extension [UInt8] {
  /// The bytes with every occurrence of `old`, from left to right, replaced.
  fileprivate func replacing(_ old: [UInt8], by new: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var rest = self[...]
    while !rest.isEmpty {
      if rest.starts(with: old) {
        result += new
        rest = rest.dropFirst(old.count)
      } else {
        result.append(rest.removeFirst())
      }
    }
    return result
  }
}
