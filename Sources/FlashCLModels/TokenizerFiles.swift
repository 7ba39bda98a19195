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

/// Reads the tokenizer that belongs to a model: GGUF's metadata, tokenizer.json, or vocab.txt.
public enum TokenizerFiles {
  /// Throws `ModelError` where there is none, and names every part that is not supported.
  public static func load(_ source: ModelSource) throws -> any Tokenizer {
    switch source {
    case .gguf(let file): return try load(file)
    case .folder(let folder): return try load(folder: folder)
    }
  }

  // MARK: GGUF

  private static func load(_ file: GGUF) throws -> any Tokenizer {
    func fail(_ problem: String) -> ModelError { ModelError("\(file.path): \(problem)") }
    guard let model = file["tokenizer.ggml.model"]?.string else { throw fail("the file has no tokenizer") }
    guard model == "gpt2" else { throw fail("the tokenizer '\(model)' is not supported yet; known: gpt2") }
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
        ignoreMerges: isLlama3, prefix: edge("bos", special.begin, default: isLlama3),
        suffix: edge(
          "eos", file["tokenizer.ggml.eos_token_id"]?.int.flatMap { Int32(exactly: $0) }, default: false))
    } catch let error as TokenizerError {
      throw fail(error.description)
    }
  }

  // MARK: Folders

  private static func load(folder: ModelFolder) throws -> any Tokenizer {
    do {
      if let json = try folder.json("tokenizer.json") { return try load(json) }
      if let file = try folder.file("vocab.txt") {
        return try wordPiece(file, folder.json("tokenizer_config.json"))
      }
    } catch let error as TokenizerError {
      throw ModelError("\(folder.path): \(error)")
    }
    throw ModelError("\(folder.path): there is no tokenizer.json and no vocab.txt")
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
      vocabulary: vocabulary, added: added, normalizers: [.bert(normalizer)], prefix: id("[CLS]"),
      suffix: id("[SEP]"))
  }

  /// tokenizer.json of the `tokenizers` package.
  static func load(_ json: JSON) throws -> any Tokenizer {
    let model = json["model"]
    let kind = model?["type"]?.string ?? (model?["merges"] == nil ? "WordPiece" : "BPE")
    let vocabulary = try Vocabulary(
      (model?["vocab"]?.object ?? []).map { member in
        guard let id = member.value.int.flatMap({ Int32(exactly: $0) }) else {
          throw TokenizerError.badVocabulary("the piece '\(member.key)' has no id")
        }
        return (piece: member.key.string, id: id)
      })
    let added = try (json["added_tokens"]?.array ?? []).map { token in
      guard let content = token["content"]?.string, let id = token["id"]?.int.flatMap({ Int32(exactly: $0) })
      else {
        throw TokenizerError.badVocabulary("an added token has no content or no id")
      }
      func flag(_ name: String) -> Bool { token[name]?.bool ?? false }
      return AddedToken(
        content, id: id, isSpecial: flag("special"), stripsLeft: flag("lstrip"), stripsRight: flag("rstrip"),
        isNormalized: flag("normalized"), isSingleWord: flag("single_word"))
    }
    let normalizers = try normalizers(json["normalizer"])
    let (prefix, suffix) = try edges(json["post_processor"])
    switch kind {
    case "BPE":
      guard hasByteLevel(json["pre_tokenizer"]), model?["byte_fallback"]?.bool != true else {
        throw TokenizerError.unsupported(
          part: "model", value: "BPE that is not byte-level", known: ["byte-level BPE"])
      }
      let merges = try (model?["merges"]?.array ?? []).map { merge in
        if let line = merge.string { return try ByteLevelBPE.Merge(line: line) }
        guard let left = merge[0]?.string, let right = merge[1]?.string else {
          throw TokenizerError.badVocabulary("a merge is neither a line nor a pair")
        }
        return ByteLevelBPE.Merge(left, right)
      }
      return try ByteLevelBPE(
        vocabulary: vocabulary, merges: merges, added: added, normalizers: normalizers,
        preTokenizer: PreTokenizer(steps(json["pre_tokenizer"])),
        ignoreMerges: model?["ignore_merges"]?.bool ?? false, prefix: prefix, suffix: suffix)
    case "WordPiece":
      return try WordPiece(
        vocabulary: vocabulary, added: added, unknown: model?["unk_token"]?.string ?? "[UNK]",
        continuation: model?["continuing_subword_prefix"]?.string ?? "##",
        maxCharactersPerWord: model?["max_input_chars_per_word"]?.int ?? 100, normalizers: normalizers,
        preTokenizer: PreTokenizer(steps(json["pre_tokenizer"])), prefix: prefix, suffix: suffix,
        cleanup: json["decoder"]?["cleanup"]?.bool ?? true)
    default:
      throw TokenizerError.unsupported(part: "model", value: kind, known: ["BPE", "WordPiece"])
    }
  }

  private static func normalizers(_ json: JSON?) throws -> [Normalizer] {
    guard let json, !json.isNull else { return [] }
    switch json["type"]?.string ?? "" {
    case "Sequence": return try (json["normalizers"]?.array ?? []).flatMap { try normalizers($0) }
    case "NFC": return [.nfc]
    case "BertNormalizer":
      return [
        .bert(
          BertNormalizer(
            cleanText: json["clean_text"]?.bool ?? true,
            handleChineseChars: json["handle_chinese_chars"]?.bool ?? true,
            stripAccents: json["strip_accents"]?.bool, lowercase: json["lowercase"]?.bool ?? true))
      ]
    case let other:
      throw TokenizerError.unsupported(
        part: "normalizer", value: other, known: ["NFC", "BertNormalizer", "Sequence"])
    }
  }

  private static func hasByteLevel(_ json: JSON?) -> Bool {
    json?["type"]?.string == "ByteLevel"
      || (json?["pretokenizers"]?.array ?? []).contains(where: hasByteLevel)
  }

  private static func steps(_ json: JSON?) throws -> [PreTokenizer.Step] {
    guard let json, !json.isNull else { return [] }
    switch json["type"]?.string ?? "" {
    case "Sequence": return try (json["pretokenizers"]?.array ?? []).flatMap { try steps($0) }
    case "ByteLevel":
      return PreTokenizer.Step.byteLevel(
        addPrefixSpace: json["add_prefix_space"]?.bool ?? true, useRegex: json["use_regex"]?.bool ?? true)
    case "Digits": return [.digits(individual: json["individual_digits"]?.bool ?? false)]
    case "Split":
      guard let regex = json["pattern"]?["Regex"]?.string else {
        throw TokenizerError.unsupported(part: "Split pattern", value: "a plain string", known: ["a Regex"])
      }
      return [
        try .split(
          regex: regex, behavior: json["behavior"]?.string ?? "Isolated",
          invert: json["invert"]?.bool ?? false)
      ]
    case "BertPreTokenizer": return [.bert]
    case let other:
      throw TokenizerError.unsupported(
        part: "pre-tokeniser", value: other,
        known: ["Sequence", "ByteLevel", "Digits", "Split", "BertPreTokenizer"])
    }
  }

  /// Ids that the post-processor puts before and after a single text.
  private static func edges(_ json: JSON?) throws -> (prefix: [Int32], suffix: [Int32]) {
    guard let json, !json.isNull else { return ([], []) }
    switch json["type"]?.string ?? "" {
    case "ByteLevel": return ([], [])
    case "Sequence":
      return try (json["processors"]?.array ?? []).reduce(into: ([], [])) { all, one in
        let edges = try edges(one)
        all = (all.0 + edges.prefix, all.1 + edges.suffix)
      }
    case "BertProcessing", "RobertaProcessing":
      func id(_ name: String) -> [Int32] {
        json[name]?[1]?.int.flatMap { Int32(exactly: $0) }.map { [$0] } ?? []
      }
      return (id("cls"), id("sep"))
    case "TemplateProcessing":
      var (prefix, suffix, isAfter) = ([Int32](), [Int32](), false)
      for item in json["single"]?.array ?? [] {
        if item["Sequence"] != nil {
          isAfter = true
        } else if let name = item["SpecialToken"]?["id"]?.string {
          let ids = (json["special_tokens"]?[name]?["ids"]?.array ?? []).compactMap {
            $0.int.flatMap { Int32(exactly: $0) }
          }
          if isAfter { suffix += ids } else { prefix += ids }
        }
      }
      return (prefix, suffix)
    case let other:
      throw TokenizerError.unsupported(
        part: "post-processor", value: other,
        known: ["ByteLevel", "Sequence", "BertProcessing", "RobertaProcessing", "TemplateProcessing"])
    }
  }
}
