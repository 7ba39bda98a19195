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
    case .gguf(let file): return try GGUFTokenizer.load(file)
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
