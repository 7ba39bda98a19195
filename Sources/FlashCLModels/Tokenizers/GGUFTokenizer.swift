import FlashCLFiles
import FlashCLTokenizers

/// The tokenizer in GGUF's metadata, `tokenizer.ggml.*`, with llama.cpp's meaning of it.
///
/// `model` is gpt2 (byte-level BPE, cut as `pre` names it), llama (SentencePiece's BPE), t5 (its Unigram) or bert
/// (WordPiece).
package struct GGUFTokenizer {
  private let file: GGUF
  private let pieces: [SentencePieceModel.Piece]

  static func load(_ file: GGUF) throws -> any Tokenizer {
    guard let model = file["tokenizer.ggml.model"]?.string else {
      throw ModelError("\(file.path): the file has no tokenizer")
    }
    do {
      let tokenizer = try GGUFTokenizer(file, needsScores: model == "llama" || model == "t5")
      switch model {
      case "gpt2": return try tokenizer.byteLevel()
      case "llama": return try tokenizer.sentencePiece(.bpe)
      case "t5": return try tokenizer.sentencePiece(.unigram)
      case "bert": return try tokenizer.wordPiece()
      default:
        throw TokenizerError.unsupported(
          part: "model (tokenizer.ggml.model)", value: model, known: ["gpt2", "llama", "t5", "bert"])
      }
    } catch let error as TokenizerError {
      throw ModelError("\(file.path): \(error)")
    }
  }

  /// GGUF's name for how a tokenizer.json's byte-level BPE cuts text into words, such as `llama-bpe`; nil where it has none.
  package static func preTokenizerName(_ json: JSON) throws -> String? {
    guard TokenizerJSON.hasByteLevel(json["pre_tokenizer"]),
      let name = PreTokenizer(try TokenizerJSON.steps(json["pre_tokenizer"])).name
    else { return nil }
    // In GGUF the name stands for the normalizer too.
    let normalizers = try TokenizerJSON.normalizers(json["normalizer"])
    return normalizers == (try PreTokenizer.habits(named: name).isNFC ? [.nfc] : []) ? name : nil
  }

  private init(_ file: GGUF, needsScores: Bool) throws {
    self.file = file
    func broken(_ problem: String) -> TokenizerError { .badVocabulary("tokenizer.ggml.\(problem)") }
    guard let tokens = file["tokenizer.ggml.tokens"]?.array?.strings else {
      throw broken("tokens is missing, or no list of strings")
    }
    let types = file["tokenizer.ggml.token_type"]?.array?.ints
    let scores = file["tokenizer.ggml.scores"]?.array?.doubles
    guard types?.count ?? tokens.count == tokens.count, scores?.count ?? tokens.count == tokens.count,
      !needsScores || scores != nil && types != nil
    else { throw broken("tokens, scores and token_type must be lists of one length") }
    pieces = try tokens.indices.map { id in
      guard let kind = SentencePieceModel.Kind(rawValue: types?[id] ?? 1) else {
        throw TokenizerError.badVocabulary("the token \(id) has the type \(types?[id] ?? 0)")
      }
      return SentencePieceModel.Piece(tokens[id].string, score: Float(scores?[id] ?? 0), kind: kind)
    }
  }

  // MARK: Parts

  private func value(_ name: String) -> GGUF.Value? { file["tokenizer.ggml.\(name)"] }

  private func id(_ name: String) -> Int32? { value("\(name)_token_id")?.int.flatMap { Int32(exactly: $0) } }

  /// The token that stands before or after every text, if the file wants it, or nothing is said and `fallback` does.
  private func edge(_ name: String, _ token: String? = nil, default fallback: Bool) -> [Int32] {
    value("add_\(name)_token")?.bool ?? fallback ? id(token ?? name).map { [$0] } ?? [] : []
  }

  /// Control tokens are special, and user-defined ones are found in every text.
  private func added(control: Bool) -> [AddedToken] {
    pieces.enumerated().compactMap { place, piece in
      switch piece.kind {
      case .control where control: AddedToken(piece.text, id: Int32(place), isSpecial: true)
      case .userDefined: AddedToken(piece.text, id: Int32(place), isSpecial: false)
      default: nil
      }
    }
  }

  // MARK: Models

  private func byteLevel() throws -> any Tokenizer {
    guard let merges = value("merges")?.array?.strings else {
      throw TokenizerError.badVocabulary("tokenizer.ggml.merges is missing, or no list of strings")
    }
    let pre = value("pre")?.string ?? "default"
    let habits = try PreTokenizer.habits(named: pre)
    let separator = edge("sep", "seperator", default: habits.endsWithSeparator)
    return try ByteLevelBPE(
      vocabulary: Vocabulary(pieces.map(\.text)), merges: merges.map { try .init(line: $0.string) },
      added: added(control: true), normalizers: habits.isNFC ? [.nfc] : [],
      preTokenizer: PreTokenizer(named: pre), ignoreMerges: habits.isWhole,
      template: Template(
        prefix: edge("bos", default: habits.isWhole),
        suffix: edge("eos", default: false) + (id("eos") == separator.first ? [] : separator)))
  }

  private func sentencePiece(_ algorithm: SentencePieceModel.Algorithm) throws -> any Tokenizer {
    let map = try value("precompiled_charsmap")?.array?.ints.map { bytes in
      try Charsmap(bytes.map { UInt8(truncatingIfNeeded: $0) })
    }
    let model = SentencePieceModel(
      algorithm: algorithm, pieces: pieces, byteFallback: pieces.contains { $0.kind == .byte },
      normalizer: SentencePieceNormalizer(
        charsmap: map, addsDummyPrefix: value("add_space_prefix")?.bool ?? true,
        removesExtraWhitespaces: value("remove_extra_whitespaces")?.bool ?? false))
    // llama.cpp finds user-defined tokens before anything else happens to the text.
    return try model.tokenizer(
      added: added(control: false),
      template: Template(
        prefix: edge("bos", default: algorithm == .bpe), suffix: edge("eos", default: algorithm != .bpe)))
  }

  /// BERT's pieces, of which those that begin a word have `▁` before them, and those that continue one nothing.
  private func wordPiece() throws -> any Tokenizer {
    let spellings = pieces.map { piece -> String in
      guard piece.kind != .control, piece.kind != .unknown, piece.kind != .userDefined else {
        return piece.text
      }
      let scalars = piece.text.unicodeScalars
      if scalars.first == "\u{2581}" { return String(scalars.dropFirst()) }
      let isBracketed = scalars.first == "[" && scalars.last == "]" && scalars.count > 2
      return isBracketed ? piece.text : "##" + piece.text
    }
    func special(_ names: [String], _ fallback: String) throws -> Int32 {
      guard let id = names.lazy.compactMap(id).first ?? spellings.firstIndex(of: fallback).map({ Int32($0) })
      else {
        throw TokenizerError.badVocabulary("the special token '\(fallback)' is not a piece")
      }
      return id
    }
    let (begin, end) = (try special(["bos", "cls"], "[CLS]"), try special(["seperator", "eos"], "[SEP]"))
    let unknown = try special(["unknown"], "[UNK]")
    guard pieces.indices.contains(Int(unknown)) else {
      throw TokenizerError.badVocabulary("the unknown token has the id \(unknown)")
    }
    // The file does not say whether its text was in lower case; the pieces do.
    let isCased = pieces.contains { piece in
      piece.kind == .normal && piece.text.utf8.first != UInt8(ascii: "[")
        && piece.text.unicodeScalars.contains { ("A"..."Z").contains($0) }
    }
    var tokens = added(control: true)
    for place in spellings.indices where spellings[place].hasPrefix("[") && spellings[place].hasSuffix("]") {
      guard spellings[place].utf8.count > 2, !tokens.contains(where: { $0.id == Int32(place) }),
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].contains(spellings[place])
      else { continue }
      tokens.append(AddedToken(spellings[place], id: Int32(place), isSpecial: true))
    }
    return try WordPiece(
      vocabulary: Vocabulary(spellings), added: tokens, unknown: spellings[Int(unknown)],
      normalizers: [.bert(BertNormalizer(lowercase: !isCased))],
      template: Template(prefix: [begin], suffix: [end]))
  }
}
