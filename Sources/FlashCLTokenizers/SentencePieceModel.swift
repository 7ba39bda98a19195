/// A SentencePiece model, read from its file (`spiece.model`, `tokenizer.model`, `source.spm`) or made of its
/// parts.
public struct SentencePieceModel: Sendable {
  public enum Algorithm: Sendable { case unigram, bpe, word, character }

  /// What a piece is for; the numbers are the format's.
  public enum Kind: Int, Sendable {
    case normal = 1
    case unknown, control, userDefined, unused, byte
  }

  public struct Piece: Sendable {
    public var text: String
    public var score: Float
    public var kind: Kind

    public init(_ text: String, score: Float = 0, kind: Kind = .normal) {
      self.text = text
      self.score = score
      self.kind = kind
    }
  }

  public var algorithm = Algorithm.unigram
  public var pieces: [Piece] = []
  public var byteFallback = false
  public var normalizer = SentencePieceNormalizer()

  public init(
    algorithm: Algorithm, pieces: [Piece], byteFallback: Bool, normalizer: SentencePieceNormalizer
  ) {
    self.algorithm = algorithm
    self.pieces = pieces
    self.byteFallback = byteFallback
    self.normalizer = normalizer
  }

  /// Reads the file's bytes: a protocol buffer of the message `ModelProto`.
  ///
  /// Throws `TokenizerError.badVocabulary` where it is cut or damaged, and `TokenizerError.unsupported` for
  /// an unknown model type.
  public init(_ bytes: [UInt8]) throws {
    var reader = ProtobufReader(bytes[...])
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (1, .bytes(let message)): pieces.append(try Self.piece(message, id: pieces.count))
      case (2, .bytes(let message)): try readTrainer(message)
      case (3, .bytes(let message)): try readNormalizer(message)
      default: continue
      }
    }
    guard !pieces.isEmpty else {
      throw TokenizerError.badVocabulary("the SentencePiece model has no pieces")
    }
    for piece in pieces where piece.kind == .userDefined {
      normalizer.protected.insert(piece.text.unicodeScalars, value: 0)
    }
  }

  private static func piece(_ message: ArraySlice<UInt8>, id: Int) throws -> Piece {
    var piece = Piece("")
    var reader = ProtobufReader(message)
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (1, .bytes(let text)):
        guard let text = String(validating: text, as: UTF8.self) else {
          throw TokenizerError.badVocabulary("the SentencePiece model's piece \(id) is not UTF-8")
        }
        piece.text = text
      case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .varint(let number)):
        guard let kind = Int(exactly: number).flatMap(Kind.init) else {
          throw TokenizerError.badVocabulary("the SentencePiece model's piece \(id) has the type \(number)")
        }
        piece.kind = kind
      default: continue
      }
    }
    guard !piece.text.isEmpty else {
      throw TokenizerError.badVocabulary("the SentencePiece model's piece \(id) is empty")
    }
    return piece
  }

  private mutating func readTrainer(_ message: ArraySlice<UInt8>) throws {
    var reader = ProtobufReader(message)
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (3, .varint(1)): algorithm = .unigram
      case (3, .varint(2)): algorithm = .bpe
      case (3, .varint(3)): algorithm = .word
      case (3, .varint(4)): algorithm = .character
      case (3, .varint(let type)):
        throw TokenizerError.unsupported(
          part: "SentencePiece model type", value: "\(type)", known: ["unigram", "bpe", "word", "char"])
      case (24, .varint(let flag)): normalizer.spaceIsSuffix = flag != 0
      case (35, .varint(let flag)): byteFallback = flag != 0
      default: continue
      }
    }
  }

  private mutating func readNormalizer(_ message: ArraySlice<UInt8>) throws {
    var reader = ProtobufReader(message)
    while let field = try reader.next() {
      switch (field.number, field.value) {
      case (2, .bytes(let map)): normalizer.charsmap = map.isEmpty ? nil : try Charsmap(Array(map))
      case (3, .varint(let flag)): normalizer.addsDummyPrefix = flag != 0
      case (4, .varint(let flag)): normalizer.removesExtraWhitespaces = flag != 0
      case (5, .varint(let flag)): normalizer.escapesWhitespaces = flag != 0
      default: continue
      }
    }
  }
}

extension SentencePieceModel {
  /// The spellings of the pieces of a kind.
  public func pieces(_ kind: Kind) -> [String] { pieces.filter { $0.kind == kind }.map(\.text) }

  /// The tokeniser of this model.
  ///
  /// - Parameters:
  ///   - vocabulary: ids that differ from the pieces' places (Marian, XLM-R). A piece that is not in it is its
  ///     unknown token.
  ///   - added: tokens found in the text as a whole; control pieces and the unknown token are added as special
  ///     ones.
  ///   - normalizers: what happens to the text before SentencePiece's own normaliser.
  ///
  /// Throws `TokenizerError.badVocabulary` if it has no unknown piece and no bytes to fall back on, or
  /// contradicts itself.
  public func tokenizer(
    vocabulary: Vocabulary? = nil, added: [AddedToken] = [], normalizers: [Normalizer] = [],
    template: Template = Template()
  ) throws -> SubwordTokenizer {
    let unknown = pieces.firstIndex { $0.kind == .unknown }
    guard let unknown else {
      throw TokenizerError.badVocabulary("the SentencePiece model has no unknown piece")
    }
    let parts = pieces.map { piece in
      let kind: Unigram.Piece.Kind =
        switch piece.kind {
        case .normal: .normal
        case .userDefined: .userDefined
        case .unknown, .control, .unused, .byte: .hidden
        }
      return Unigram.Piece(piece.text, score: Double(piece.score), kind: kind)
    }
    if byteFallback {
      let spellings = Set(pieces.map(\.text))
      let missing = BytePieces { spellings.contains($0) ? 0 : nil }.ids.count { $0 == nil }
      guard missing == 0 else {
        throw TokenizerError.badVocabulary("the SentencePiece model lacks \(missing) of the 256 byte pieces")
      }
    }
    let model: SubwordTokenizer.Model =
      switch algorithm {
      case .unigram:
        .unigram(
          try Unigram(
            parts, unknown: Int32(unknown), byteFallback: byteFallback, followsSentencePiece: true))
      case .bpe: .bpe(try CharacterBPE(parts, unknown: Int32(unknown), byteFallback: byteFallback))
      case .word, .character:
        .lexicon(
          Lexicon(
            parts, by: algorithm == .word ? .word : .character, unknown: Int32(unknown),
            byteFallback: byteFallback, fusesUnknown: true))
      }
    let all = try vocabulary ?? Vocabulary(pieces.map(\.text))
    var ids: [Int32]?
    if vocabulary != nil {
      guard let fallback = all.id(of: pieces[unknown].text) else {
        throw TokenizerError.badVocabulary(
          "the unknown token '\(pieces[unknown].text)' is not in the vocabulary")
      }
      ids = pieces.map { all.id(of: $0.text) ?? fallback }
    }
    let special = pieces.filter { $0.kind == .control || $0.kind == .unknown }.compactMap { piece in
      all.id(of: piece.text).map { AddedToken(piece.text, id: $0, isSpecial: true) }
    }
    let taken = Set(added.map(\.id))
    return try SubwordTokenizer(
      vocabulary: all, model: model, added: added + special.filter { !taken.contains($0.id) },
      normalizers: normalizers + [.sentencePiece(normalizer)], template: template,
      decoder: .sentencePiece(
        stripsPrefix: normalizer.addsDummyPrefix || normalizer.removesExtraWhitespaces), ids: ids)
  }
}
