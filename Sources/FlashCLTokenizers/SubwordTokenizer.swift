/// A tokeniser of SentencePiece's family: Llama 2, Mistral, Gemma (BPE), T5, Marian, ALBERT, XLM-R (Unigram).
///
/// Pieces are text in which a space is `▁`; the model that cuts words into pieces, and the parts before and
/// after it, are given one by one, as tokenizer.json lists them.
public struct SubwordTokenizer: Tokenizer {
  public enum Model: Sendable {
    case unigram(Unigram)
    case bpe(CharacterBPE)
    case lexicon(Lexicon)
  }

  private let vocabulary: Vocabulary
  private let model: Model
  private let pipeline: Pipeline
  private let decoder: PieceDecoder
  /// The ids of the model's pieces where they are not their places.
  private let ids: [Int32]?

  /// Makes a tokeniser of the parts that a file describes.
  ///
  /// - Parameters:
  ///   - ids: the vocabulary's id of each piece of the model; nil if they are the same.
  ///
  /// Throws `TokenizerError.badVocabulary` for ids of the template that no piece has.
  public init(
    vocabulary: Vocabulary, model: Model, added: [AddedToken] = [], normalizers: [Normalizer] = [],
    preTokenizer: PreTokenizer = PreTokenizer([]), template: Template = Template(), decoder: PieceDecoder,
    ids: [Int32]? = nil
  ) throws {
    self.vocabulary = try vocabulary.adding(added, referredTo: template.ids)
    self.model = model
    self.decoder = decoder
    self.ids = ids
    pipeline = Pipeline(
      added: added, normalizers: normalizers, preTokenizer: preTokenizer, template: template)
  }

  public var vocabularySize: Int { vocabulary.size }
  public var template: Template { pipeline.template }

  public func tokens(of text: [UInt8], special: Bool) throws -> Encoding {
    try pipeline.tokens(of: text, special: special, pieces: vocabulary) { word in
      var tokens =
        switch model {
        case .unigram(let unigram): try unigram.tokens(ofWord: word)
        case .bpe(let bpe): try bpe.tokens(ofWord: word)
        case .lexicon(let lexicon): try lexicon.tokens(ofWord: word)
        }
      if let ids {
        for index in tokens.indices { tokens[index].id = ids[Int(tokens[index].id)] }
      }
      return tokens
    }
  }

  public func bytes(of id: Int32, atStart: Bool) throws -> [UInt8] {
    decoder.decode(try vocabulary.piece(of: id), atStart: atStart)
  }

  public func endsWord(_ id: Int32) -> Bool {
    decoder.suffix.map { suffix in
      vocabulary[id]?.unicodeScalars.reversed().starts(with: suffix.unicodeScalars.reversed()) ?? false
    } ?? false
  }

  public func piece(of id: Int32) throws -> String { try vocabulary.piece(of: id) }

  public func id(ofPiece piece: String) -> Int32? { vocabulary.id(of: piece) }

  public func isSpecial(_ id: Int32) -> Bool { pipeline.added[id]?.isSpecial ?? false }
}

/// The pieces that stand for single bytes, spelled `<0x0A>`.
public struct BytePieces: Sendable {
  let ids: [Int32?]

  /// Those that `id` knows.
  public init(_ id: (_ spelling: String) -> Int32?) {
    ids = (UInt8.min...UInt8.max).map { id(Self.spelling(of: $0)) }
  }

  static func spelling(of byte: UInt8) -> String {
    let digits = String(byte, radix: 16, uppercase: true)
    return "<0x\(digits.count == 1 ? "0" : "")\(digits)>"
  }

  /// The byte that a piece spells, or nil.
  static func byte(of piece: String) -> UInt8? {
    let text = Array(piece.utf8)
    guard text.count == 6, text.starts(with: "<0x".utf8), text[5] == UInt8(ascii: ">"),
      text[3] != UInt8(ascii: "+")
    else { return nil }
    return UInt8(String(decoding: text[3..<5], as: UTF8.self), radix: 16)
  }

  /// The bytes of scalars, all with the place `range`; nil if one has no piece.
  func tokens(of scalars: ArraySlice<Unicode.Scalar>, at range: Range<Int>) -> [WordToken]? {
    var tokens: [WordToken] = []
    for byte in String(scalars).utf8 {
      guard let id = ids[Int(byte)] else { return nil }
      tokens.append(WordToken(id: id, range: range))
    }
    return tokens
  }
}
