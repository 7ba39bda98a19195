import FlashCLFiles
import FlashCLModels
import FlashCLTokenizers

/// The files in a folder that tell what a GGUF file's metadata tells of its tokenizer: byte-level BPE as tokenizer.json,
/// SentencePiece's BPE as tokenizer.model, special tokens and the chat template in tokenizer_config.json, the tokens that end a
/// text in generation_config.json.
struct TokenizerFolder {
  private(set) var files: [(name: String, bytes: [UInt8])] = []
  private let file: GGUF
  private let tokens: [ByteString]
  private let types: [Int]

  private enum Kind { static let (unknown, control, userDefined, unused) = (2, 3, 4, 5) }

  /// - Throws: `ModelError` for a tokenizer that folders have no words for; nothing is written where the file has none.
  init(_ file: GGUF, modelType: String?) throws {
    self.file = file
    guard let model = file["tokenizer.ggml.model"]?.string else {
      (tokens, types) = ([], [])
      return
    }
    // Checked as for use: lists of one length, known kinds of tokens.
    _ = try TokenizerFiles.load(.gguf(file))
    tokens = file["tokenizer.ggml.tokens"]?.array?.strings ?? []
    types =
      file["tokenizer.ggml.token_type"]?.array?.ints ?? [Int](repeating: 1, count: tokens.count)
    let beginsByItself: Bool
    switch model {
    case "gpt2":
      let pre = file["tokenizer.ggml.pre"]?.string ?? "default"
      do {
        beginsByItself = try PreTokenizer.habits(named: pre).isWhole
        files.append(
          ("tokenizer.json", Array(try byteLevel(pre, addsBegin: adds("bos", beginsByItself)).text.utf8)))
      } catch let error as TokenizerError {
        throw ModelError("\(error)")
      }
    case "llama":
      beginsByItself = true
      files.append(("tokenizer.model", sentencePiece()))
    default:
      throw ModelError("a tokenizer of the kind '\(model)' cannot be written to a folder; known: gpt2, llama")
    }
    files.append(("tokenizer_config.json", config(model, modelType, addsBegin: adds("bos", beginsByItself))))
    files.append(("generation_config.json", generation()))
  }

  // MARK: Parts

  private func value(_ name: String) -> GGUF.Value? { file["tokenizer.ggml.\(name)"] }
  private func adds(_ name: String, _ fallback: Bool) -> Bool { value("add_\(name)_token")?.bool ?? fallback }

  private func id(_ name: String) -> Int? {
    value("\(name)_token_id")?.int.flatMap { tokens.indices.contains($0) ? $0 : nil }
  }

  private func generation() -> [UInt8] {
    var members: [(String, JSON)] = []
    if let begin = id("bos") { members.append(("bos_token_id", JSON(begin))) }
    let ends = ["eos", "eot", "eom"].compactMap(id).reduce(into: [Int]()) {
      if !$0.contains($1) { $0.append($1) }
    }
    if let first = ends.first {
      members.append(("eos_token_id", ends.count == 1 ? JSON(first) : .array(ends.map { JSON($0) })))
    }
    if let padding = id("padding") { members.append(("pad_token_id", JSON(padding))) }
    return Array(JSON.members(members).text.utf8)
  }

  private func config(_ model: String, _ modelType: String?, addsBegin: Bool) -> [UInt8] {
    let family = modelType?.hasPrefix("gemma") == true ? "GemmaTokenizer" : "LlamaTokenizer"
    var members: [(String, JSON)] = [
      ("tokenizer_class", model == "llama" ? JSON(family) : "PreTrainedTokenizerFast"),
      ("add_bos_token", .bool(addsBegin)), ("add_eos_token", .bool(adds("eos", false))),
      ("clean_up_tokenization_spaces", false), ("model_input_names", ["input_ids", "attention_mask"]),
    ]
    for (name, key) in [("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding")] {
      if let id = id(key) { members.append(("\(name)_token", .string(tokens[id]))) }
    }
    if let template = file["tokenizer.chat_template"]?.bytes {
      members.append(("chat_template", .string(template)))
    }
    return Array(JSON.members(members).text.utf8)
  }

  // MARK: Byte-level BPE

  private func byteLevel(_ pre: String, addsBegin: Bool) throws -> JSON {
    let habits = try PreTokenizer.habits(named: pre)
    let cuts: [JSON] = try PreTokenizer.expressions(named: pre).map { expression in
      expression.map {
        ["type": "Split", "pattern": ["Regex": JSON($0)], "behavior": "Isolated", "invert": false]
      } ?? ["type": "Digits", "individual_digits": true]
    }
    let bytes: JSON = [
      "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false,
    ]
    let vocabulary = tokens.indices.filter { types[$0] != Kind.unused }.map {
      JSON.Member(key: tokens[$0], value: JSON($0))
    }
    let merges = value("merges")?.array?.strings ?? []
    return [
      "version": "1.0", "truncation": .null, "padding": .null, "added_tokens": .array(added),
      "normalizer": habits.isNFC ? ["type": "NFC"] : .null,
      "pre_tokenizer": ["type": "Sequence", "pretokenizers": .array(cuts + [bytes])],
      "post_processor": template(bytes, addsBegin: addsBegin),
      "decoder": ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
      "model": [
        "type": "BPE", "dropout": .null, "unk_token": .null, "continuing_subword_prefix": .null,
        "end_of_word_suffix": .null, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": .bool(habits.isWhole), "vocab": .object(vocabulary),
        "merges": .array(merges.map { .string($0) }),
      ],
    ]
  }

  private var added: [JSON] {
    tokens.indices.filter { [Kind.control, Kind.userDefined].contains(types[$0]) }.map { id in
      [
        "id": JSON(id), "content": .string(tokens[id]), "single_word": false, "lstrip": false,
        "rstrip": false,
        "normalized": false, "special": .bool(types[id] == Kind.control),
      ]
    }
  }

  /// The tokens around a text; ByteLevel alone where there are none.
  private func template(_ bytes: JSON, addsBegin: Bool) -> JSON {
    let begin = addsBegin ? id("bos") : nil
    let end = adds("eos", false) ? id("eos") : nil
    let around = [begin, end].compactMap { $0 }
    guard !around.isEmpty else { return bytes }
    func edge(_ id: Int?, _ segment: Int) -> [JSON] {
      id.map { [["SpecialToken": ["id": .string(tokens[$0]), "type_id": JSON(segment)]]] } ?? []
    }
    func text(_ name: String, _ segment: Int) -> [JSON] {
      edge(begin, segment) + [["Sequence": ["id": JSON(name), "type_id": JSON(segment)]]] + edge(end, segment)
    }
    let special = Set(around).sorted().map { id in
      JSON.Member(
        key: tokens[id],
        value: ["id": .string(tokens[id]), "ids": [JSON(id)], "tokens": [.string(tokens[id])]])
    }
    return [
      "type": "Sequence",
      "processors": [
        bytes,
        [
          "type": "TemplateProcessing", "single": .array(text("A", 0)),
          "pair": .array(text("A", 0) + text("B", 1)),
          "special_tokens": .object(special),
        ],
      ],
    ]
  }

  // MARK: SentencePiece

  private func sentencePiece() -> [UInt8] {
    let scores = value("scores")?.array?.doubles ?? []
    let pieces = tokens.indices.map { id in
      SentencePieceModel.Piece(
        tokens[id].string, score: scores.indices.contains(id) ? Float(scores[id]) : 0,
        kind: SentencePieceModel.Kind(rawValue: types[id]) ?? .normal)
    }
    let map = (value("precompiled_charsmap")?.array?.ints ?? []).map { UInt8(truncatingIfNeeded: $0) }
    return SentencePieceModel.file(
      .bpe, pieces, charsmap: map, addsDummyPrefix: value("add_space_prefix")?.bool ?? true,
      removesExtraWhitespaces: value("remove_extra_whitespaces")?.bool ?? false,
      special: [id("unknown"), id("bos"), id("eos"), id("padding")])
  }
}
