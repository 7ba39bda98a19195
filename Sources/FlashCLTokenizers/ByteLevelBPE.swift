/// Byte-level byte-pair encoding, the tokeniser of GPT-2, Llama 3, Qwen2 and SmolLM2.
///
/// A word is the UTF-8 bytes of a piece of text, spelled with one character per byte (`Ġ` is a space). Its
/// symbols are merged pair by pair, in the order of the merge list. If the vocabulary has all 256 bytes,
/// nothing is normalised and no added token strips spaces, `decode(encode(text, special: false), skipSpecial:
/// false)` is `text`, byte for byte, for all valid UTF-8. A byte that has no piece (see `missingBytes`) is
/// left out of the ids.
public struct ByteLevelBPE: Tokenizer {
  /// Two neighbouring pieces that become one.
  public struct Merge: Sendable, Equatable {
    public var left: String
    public var right: String

    public init(_ left: String, _ right: String) {
      self.left = left
      self.right = right
    }

    /// Reads `left right`, the form of GGUF and of merges.txt; a piece itself never holds a space.
    public init(line: String) throws {
      let parts = line.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
      guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty else {
        throw TokenizerError.badVocabulary("the merge '\(line)' is not two pieces with one space between")
      }
      self.init(String(Substring(parts[0])), String(Substring(parts[1])))
    }
  }

  /// The bytes without a piece of their own: text that holds them does not survive.
  public let missingBytes: [UInt8]

  private var vocabulary: Vocabulary
  private let pipeline: Pipeline
  private let merges: MergeTable
  private let byteIDs: [Int32?]
  /// The pieces of bytes that end a word, where these have pieces of their own.
  private let lastIDs: [Int32?]?
  private let wordSuffix: String
  private let ignoreMerges: Bool

  /// Makes a tokeniser of the parts that a file describes.
  ///
  /// - Parameters:
  ///   - vocabulary: pieces in the byte alphabet's spelling. Added tokens may be in it or come after it.
  ///   - merges: from the first to the last rank.
  ///   - ignoreMerges: a word that is a piece as a whole is that piece, even if the merges would not lead
  ///     there (Llama 3).
  ///   - template: what stands around a text in special mode (BOS, EOS).
  ///   - trimming: leaves spaces out of the tokens' places.
  ///   - wordSuffix: what the last byte of a word has after it (CLIP's `</w>`).
  ///
  /// Throws `TokenizerError.badVocabulary` for a merge whose parts or result are no pieces, and for ids that
  /// no piece has.
  public init(
    vocabulary: Vocabulary, merges: [Merge], added: [AddedToken] = [], normalizers: [Normalizer] = [],
    preTokenizer: PreTokenizer, ignoreMerges: Bool = false, template: Template = Template(),
    trimming: OffsetTrimming? = nil, wordSuffix: String = ""
  ) throws {
    self.merges = try MergeTable(merges, of: vocabulary)
    byteIDs = ByteAlphabet.scalars.map { vocabulary.id(of: String($0)) }
    lastIDs =
      wordSuffix.isEmpty ? nil : ByteAlphabet.scalars.map { vocabulary.id(of: String($0) + wordSuffix) }
    self.wordSuffix = wordSuffix
    missingBytes = (UInt8.min...UInt8.max).filter { [byteIDs] in byteIDs[Int($0)] == nil }
    self.ignoreMerges = ignoreMerges
    self.vocabulary = try vocabulary.adding(added, referredTo: template.ids)
    pipeline = Pipeline(
      added: added, normalizers: normalizers, preTokenizer: preTokenizer, template: template,
      trimming: trimming)
  }

  public var vocabularySize: Int { vocabulary.size }
  public var template: Template { pipeline.template }

  public func tokens(of text: [UInt8], special: Bool) -> Encoding {
    pipeline.tokens(of: text, special: special, pieces: vocabulary, model: tokens(ofWord:))
  }

  private func tokens(ofWord word: ArraySlice<Unicode.Scalar>) -> [WordToken] {
    if ignoreMerges, let id = vocabulary.id(of: ByteAlphabet.spell(String(word).utf8)) {
      return [WordToken(id: id, range: 0..<word.count)]
    }
    var symbols: [WordToken] = []
    symbols.reserveCapacity(word.count)
    var left = String(word).utf8.count
    for (place, scalar) in word.enumerated() {
      for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
        left -= 1
        if let id = (left == 0 ? lastIDs ?? byteIDs : byteIDs)[Int(byte)] {
          symbols.append(WordToken(id: id, range: place..<place + 1))
        }
      }
    }
    return merges.merge(symbols)
  }

  public func bytes(of id: Int32, atStart: Bool) throws -> [UInt8] {
    let piece = try vocabulary.piece(of: id)
    if pipeline.added[id] != nil { return Array(piece.utf8) }
    let text = endsWord(id) ? String(piece.unicodeScalars.dropLast(wordSuffix.unicodeScalars.count)) : piece
    return ByteAlphabet.read(text) ?? Array(text.utf8)
  }

  public func endsWord(_ id: Int32) -> Bool {
    guard !wordSuffix.isEmpty, pipeline.added[id] == nil, let piece = vocabulary[id] else { return false }
    return piece.unicodeScalars.reversed().starts(with: wordSuffix.unicodeScalars.reversed())
  }

  public func piece(of id: Int32) throws -> String { try vocabulary.piece(of: id) }

  public func id(ofPiece piece: String) -> Int32? { vocabulary.id(of: piece) }

  public func isSpecial(_ id: Int32) -> Bool { pipeline.added[id]?.isSpecial ?? false }
}

extension Vocabulary {
  /// The vocabulary with the added tokens in it; throws if an id that the tokeniser refers to has no piece.
  func adding(_ tokens: [AddedToken], referredTo ids: [Int32]) throws -> Vocabulary {
    var result = self
    for token in tokens where result[token.id].map(ExactString.init) != ExactString(token.content) {
      try result.set(token.content, id: token.id)
    }
    for id in ids where result[id] == nil {
      throw TokenizerError.badVocabulary("the template names the id \(id), which has no piece")
    }
    return result
  }
}
