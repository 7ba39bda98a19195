import FlashCLFiles
import FlashCLTokenizers

/// Ids that end a text, and the one that begins it, as far as the files name them.
public struct SpecialTokens: Sendable {
  public let begin: Int32?
  public let ends: Set<Int32>

  /// From GGUF's metadata, or generation_config.json and config.json.
  public init(_ source: ModelSource) throws {
    switch source {
    case .gguf(let file):
      func id(_ name: String) -> Int32? {
        file["tokenizer.ggml.\(name)_token_id"]?.int.flatMap { Int32(exactly: $0) }
      }
      begin = id("bos")
      ends = Set(["eos", "eot", "eom"].compactMap(id))
    case .folder(let folder):
      let generation = try folder.json("generation_config.json")
      func ids(_ name: String) -> [Int32] {
        for config in [generation, folder.config] {
          guard let value = config?[name], !value.isNull else { continue }
          return (value.array ?? [value]).compactMap { $0.int.flatMap { Int32(exactly: $0) } }
        }
        return []
      }
      begin = ids("bos_token_id").first
      ends = Set(ids("eos_token_id"))
    }
  }
}

/// Reads the tokenizer that belongs to a model: GGUF's metadata, tokenizer.json, a SentencePiece model, or
/// vocab.txt.
public enum TokenizerFiles {
  /// Throws `ModelError` where there is none, and names every part that is not supported.
  public static func load(_ source: ModelSource) throws -> any Tokenizer {
    switch source {
    case .gguf(let file): return try load(file)
    case .folder(let folder): return try load(folder: folder)
    }
  }

  /// The tokenizer of what a translator writes: that of its source but for Marian, which may have two.
  public static func loadTarget(_ source: ModelSource) throws -> any Tokenizer {
    guard case .folder(let folder) = source else { return try load(source) }
    do {
      return try SentencePieceFiles.marian(folder, isTarget: true) ?? load(source)
    } catch let error as TokenizerError {
      throw ModelError("\(folder.path): \(error)")
    }
  }

  // MARK: GGUF

  private static func load(_ file: GGUF) throws -> any Tokenizer {
    func fail(_ problem: String) -> ModelError { ModelError("\(file.path): \(problem)") }
    guard let model = file["tokenizer.ggml.model"]?.string else { throw fail("the file has no tokenizer") }
    if model == "llama" || model == "t5" {
      do {
        return try sentencePiece(file, isBPE: model == "llama")
      } catch let error as TokenizerError {
        throw fail(error.description)
      }
    }
    guard model == "gpt2" else {
      throw fail("the tokenizer '\(model)' is not supported yet; known: gpt2, llama, t5")
    }
    guard let tokens = file["tokenizer.ggml.tokens"]?.array?.strings,
      let merges = file["tokenizer.ggml.merges"]?.array?.strings
    else { throw fail("tokenizer.ggml.tokens or tokenizer.ggml.merges is missing, or no list of strings") }
    let types = file["tokenizer.ggml.token_type"]?.array?.ints ?? []
    // llama.cpp's token types: 3 control, 4 user-defined; the rest is found by merging.
    let added = tokens.indices.compactMap { id -> AddedToken? in
      guard types.indices.contains(id), types[id] == 3 || types[id] == 4 else { return nil }
      return AddedToken(tokens[id].string, id: Int32(id), isSpecial: types[id] == 3)
    }
    let pre = file["tokenizer.ggml.pre"]?.string ?? "gpt-2"
    let isLlama3 = ["llama-bpe", "llama3", "llama-v3"].contains(pre)
    let special = try SpecialTokens(.gguf(file))
    func edge(_ name: String, _ id: Int32?, default fallback: Bool) -> [Int32] {
      file["tokenizer.ggml.add_\(name)_token"]?.bool ?? fallback ? id.map { [$0] } ?? [] : []
    }
    do {
      return try ByteLevelBPE(
        vocabulary: Vocabulary(tokens.map(\.string)), merges: merges.map { try .init(line: $0.string) },
        added: added, normalizers: pre == "qwen2" ? [.nfc] : [], preTokenizer: PreTokenizer(named: pre),
        ignoreMerges: isLlama3,
        template: Template(
          prefix: edge("bos", special.begin, default: isLlama3),
          suffix: edge(
            "eos", file["tokenizer.ggml.eos_token_id"]?.int.flatMap { Int32(exactly: $0) }, default: false)))
    } catch let error as TokenizerError {
      throw fail(error.description)
    }
  }

  /// GGUF's `llama` is SentencePiece's BPE, `t5` its Unigram.
  private static func sentencePiece(_ file: GGUF, isBPE: Bool) throws -> any Tokenizer {
    func value(_ name: String) -> GGUF.Value? { file["tokenizer.ggml.\(name)"] }
    guard let tokens = value("tokens")?.array?.strings, let scores = value("scores")?.array?.doubles,
      let types = value("token_type")?.array?.ints, tokens.count == scores.count, tokens.count == types.count
    else {
      throw TokenizerError.badVocabulary(
        "tokenizer.ggml.tokens, scores and token_type must be lists of one length")
    }
    let pieces = try tokens.indices.map { id in
      guard let kind = SentencePieceModel.Kind(rawValue: types[id]) else {
        throw TokenizerError.badVocabulary("the token \(id) has the type \(types[id])")
      }
      return SentencePieceModel.Piece(tokens[id].string, score: Float(scores[id]), kind: kind)
    }
    let map = try value("precompiled_charsmap")?.array?.ints.map { bytes in
      try Charsmap(bytes.map { UInt8(truncatingIfNeeded: $0) })
    }
    let model = SentencePieceModel(
      algorithm: isBPE ? .bpe : .unigram, pieces: pieces,
      byteFallback: pieces.contains { $0.kind == .byte },
      normalizer: SentencePieceNormalizer(
        charsmap: map, addsDummyPrefix: value("add_space_prefix")?.bool ?? true,
        removesExtraWhitespaces: value("remove_extra_whitespaces")?.bool ?? false))
    func edge(_ name: String, default fallback: Bool) -> [Int32] {
      guard value("add_\(name)_token")?.bool ?? fallback else { return [] }
      return value("\(name)_token_id")?.int.flatMap { Int32(exactly: $0) }.map { [$0] } ?? []
    }
    // llama.cpp finds user-defined tokens before anything else happens to the text.
    let added = pieces.enumerated().filter { $0.element.kind == .userDefined }.map {
      AddedToken($0.element.text, id: Int32($0.offset), isSpecial: false)
    }
    return try model.tokenizer(
      added: added,
      template: Template(prefix: edge("bos", default: isBPE), suffix: edge("eos", default: !isBPE)))
  }

  // MARK: Folders

  private static func load(folder: ModelFolder) throws -> any Tokenizer {
    do {
      if let json = try folder.json("tokenizer.json") { return try TokenizerJSON.load(json) }
      if let marian = try SentencePieceFiles.marian(folder, isTarget: false) { return marian }
      if let tokenizer = try SentencePieceFiles.load(folder) { return tokenizer }
      if let tokenizer = try ByteLevelFiles.load(folder) { return tokenizer }
      if let file = try folder.file("vocab.txt") {
        return try wordPiece(file, folder.json("tokenizer_config.json"))
      }
    } catch let error as TokenizerError {
      throw ModelError("\(folder.path): \(error)")
    }
    throw ModelError(
      "\(folder.path): there is no tokenizer.json, no SentencePiece model "
        + "(\(SentencePieceFiles.names.joined(separator: ", ")), source.spm), no vocab.json with merges.txt "
        + "and no vocab.txt")
  }

  /// BERT's old form: one piece a line, the rest in tokenizer_config.json.
  private static func wordPiece(_ file: MappedFile, _ config: JSON?) throws -> any Tokenizer {
    var lines = file.bytes.split(separator: 10, omittingEmptySubsequences: false).map {
      String(decoding: $0.last == 13 ? $0.dropLast() : $0, as: UTF8.self)
    }
    if lines.last == "" { lines.removeLast() }
    let vocabulary = try Vocabulary(lines)
    let added = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].compactMap { piece in
      lines.firstIndex(of: piece).map { AddedToken(piece, id: Int32($0), isSpecial: true) }
    }
    func id(_ piece: String) -> [Int32] { added.filter { $0.content == piece }.map(\.id) }
    let normalizer = BertNormalizer(
      handleChineseChars: config?["tokenize_chinese_chars"]?.bool ?? true,
      stripAccents: config?["strip_accents"]?.bool, lowercase: config?["do_lower_case"]?.bool ?? true)
    return try WordPiece(
      vocabulary: vocabulary, added: added, normalizers: [.bert(normalizer)],
      template: Template(prefix: id("[CLS]"), suffix: id("[SEP]")))
  }
}
