import FlashCLFiles
import FlashCLModels
import FlashCLTokenizers

extension GGUF.Metadata {
  /// A folder's tokenizer under GGUF's names: SentencePiece's model as `llama`, byte-level BPE as `gpt2`, and the chat
  /// template. Nothing where the folder has no tokenizer.
  ///
  /// - Throws: `ModelError` for a tokenizer that GGUF has no words for.
  mutating func addTokenizer(of folder: ModelFolder) throws {
    let config = try folder.json("tokenizer_config.json")
    do {
      if let file = try folder.file("tokenizer.model") {
        try addPieces(SentencePieceModel(Array(file.bytes)), folder)
      } else if let json = try folder.json("tokenizer.json") {
        if let prefixes = Self.prefixesOfPieces(json) {
          try addRankedPieces(json, prefixes, folder)
        } else {
          try addMerges(json, folder)
        }
      } else {
        return
      }
    } catch let error as TokenizerError {
      throw ModelError("\(folder.path): \(error)")
    }
    let generation = try folder.json("generation_config.json")
    for name in ["bos", "eos", "pad", "unk"] {
      let values = [generation, folder.config].compactMap { $0?["\(name)_token_id"] }.filter { !$0.isNull }
      // Of several ends the first; `eot` is the second.
      let ids = values.first.map { $0.array ?? [$0] }?.compactMap(\.int) ?? []
      if let id = ids.first { add("tokenizer.ggml.\(Self.names[name] ?? name)_token_id", id) }
      if name == "eos", ids.count > 1 { add("tokenizer.ggml.eot_token_id", ids[1]) }
    }
    if let template = try folder.file("chat_template.jinja") {
      add("tokenizer.chat_template", String(decoding: template.bytes, as: UTF8.self))
    } else if let template = config?["chat_template"]?.string {
      add("tokenizer.chat_template", template)
    }
    // Which tokens stand around a text is asked of the tokenizer itself.
    let tokenizer = try TokenizerFiles.load(.folder(folder))
    let (whole, bare) = (try tokenizer.encode("a", special: true), try tokenizer.encode("a", special: false))
    add("tokenizer.ggml.add_bos_token", whole.first != bare.first)
    add("tokenizer.ggml.add_eos_token", whole.last != bare.last)
  }

  private static let names = ["pad": "padding", "unk": "unknown"]

  private mutating func addPieces(_ model: SentencePieceModel, _ folder: ModelFolder) throws {
    var tokens = model.pieces.map { ByteString($0.text) }
    var scores = model.pieces.map(\.score)
    var types = model.pieces.map { Int32($0.kind.rawValue) }
    let added = try folder.json("tokenizer.json")?["added_tokens"]?.array ?? []
    for token in added.sorted(by: { ($0["id"]?.int ?? 0) < ($1["id"]?.int ?? 0) })
    where token["id"]?.int == tokens.count {
      tokens.append(token["content"]?.bytes ?? "")
      scores.append(-1000)
      types.append(token["special"]?.bool == true ? 3 : 4)
    }
    try fill(&tokens, &types, folder)
    scores += [Float](repeating: -1000, count: tokens.count - scores.count)
    add("tokenizer.ggml.model", "llama")
    add("tokenizer.ggml.tokens", tokens)
    add("tokenizer.ggml.scores", scores)
    add("tokenizer.ggml.token_type", types)
    add("tokenizer.ggml.add_space_prefix", model.normalizer.addsDummyPrefix)
  }

  private mutating func addMerges(_ json: JSON, _ folder: ModelFolder) throws {
    guard let name = try GGUFTokenizer.preTokenizerName(json) else {
      throw ModelError(
        "\(folder.path): tokenizer.json is no byte-level BPE whose way of cutting text has a name in GGUF "
          + "(\(PreTokenizer.names.joined(separator: ", "))), and there is no tokenizer.model")
    }
    var (tokens, types) = try Self.vocabulary(json, folder)
    try fill(&tokens, &types, folder)
    let merges = (json["model"]?["merges"]?.array ?? []).map {
      ByteString(Array(Self.halves($0).joined(separator: [32])))
    }
    add("tokenizer.ggml.model", "gpt2")
    add("tokenizer.ggml.pre", name)
    add("tokenizer.ggml.tokens", tokens)
    add("tokenizer.ggml.token_type", types)
    add("tokenizer.ggml.merges", merges)
  }

  /// The two halves of a merge, which is a pair or a line.
  private static func halves(_ merge: JSON) -> [[UInt8]] {
    if let line = merge.bytes { return line.bytes.split(separator: 32, maxSplits: 1).map(Array.init) }
    return (merge.array ?? []).map { $0.bytes?.bytes ?? [] }
  }

  /// Whether a space is put before a text, for a tokenizer.json that is SentencePiece's BPE with bytes for what is unknown; nil
  /// for any other.
  private static func prefixesOfPieces(_ json: JSON) -> Bool? {
    guard json["model"]?["type"]?.string == "BPE", json["model"]?["byte_fallback"]?.bool == true else {
      return nil
    }
    let normalizer = json["normalizer"]
    var steps = (normalizer?["normalizers"]?.array ?? [normalizer].compactMap { $0 }).filter { !$0.isNull }
    let mark = "\u{2581}"
    var prefixes = false
    steps.removeAll { step in
      let isPrefix = step["type"]?.string == "Prepend" && step["prepend"]?.string == mark
      prefixes = prefixes || isPrefix
      let isSpace = step["pattern"]?["String"]?.string == " " && step["content"]?.string == mark
      return isPrefix || step["type"]?.string == "Replace" && isSpace
    }
    guard steps.isEmpty else { return nil }
    guard let cut = json["pre_tokenizer"], !cut.isNull else { return prefixes }
    switch cut["type"]?.string {
    case "Metaspace":
      let scheme =
        cut["prepend_scheme"]?.string ?? (cut["add_prefix_space"]?.bool ?? true ? "always" : "never")
      return prefixes || scheme != "never"
    // Pieces of words alone are found within words.
    case "Split" where [" ", mark].contains(cut["pattern"]?["String"]?.string): return prefixes
    default: return nil
    }
  }

  /// What SentencePiece's own file would hold: a piece's score is minus the place of the merge that makes it.
  private mutating func addRankedPieces(_ json: JSON, _ prefixes: Bool, _ folder: ModelFolder) throws {
    var (tokens, types) = try Self.vocabulary(json, folder)
    try fill(&tokens, &types, folder)
    var ranks: [ByteString: Int] = [:]
    for (rank, merge) in (json["model"]?["merges"]?.array ?? []).enumerated() {
      let piece = ByteString(Array(Self.halves(merge).joined()))
      if ranks[piece] == nil { ranks[piece] = rank }
    }
    let unknown = json["model"]?["unk_token"]?.bytes
    for (id, token) in tokens.enumerated() where types[id] == 1 || token == unknown {
      let text = token.string
      let isByte = text.utf8.count == 6 && text.hasPrefix("<0x") && text.hasSuffix(">")
      types[id] = token == unknown ? 2 : isByte ? 6 : 1
    }
    add("tokenizer.ggml.model", "llama")
    add("tokenizer.ggml.tokens", tokens)
    add(
      "tokenizer.ggml.scores",
      zip(tokens, types).map { token, type in type == 1 ? -Float(ranks[token] ?? ranks.count) : 0 })
    add("tokenizer.ggml.token_type", types)
    add("tokenizer.ggml.add_space_prefix", prefixes)
  }

  /// The tokens by their ids, and their types.
  private static func vocabulary(_ json: JSON, _ folder: ModelFolder) throws -> ([ByteString], [Int32]) {
    var tokens: [ByteString] = []
    var types: [Int32] = []
    func put(_ text: ByteString, _ id: Int?, _ type: Int32) throws {
      guard let id, (0...1 << 24).contains(id) else {
        throw ModelError(
          "\(folder.path): tokenizer.json: the token \(text.string) has no id from 0 to \(1 << 24)")
      }
      while tokens.count <= id {
        tokens.append(ByteString("[PAD\(tokens.count)]"))
        types.append(5)
      }
      (tokens[id], types[id]) = (text, type)
    }
    for member in json["model"]?["vocab"]?.object ?? [] { try put(member.key, member.value.int, 1) }
    for token in json["added_tokens"]?.array ?? [] {
      try put(token["content"]?.bytes ?? "", token["id"]?.int, token["special"]?.bool == true ? 3 : 4)
    }
    return (tokens, types)
  }

  /// Names for the rows that the model has and the tokenizer has not.
  private func fill(_ tokens: inout [ByteString], _ types: inout [Int32], _ folder: ModelFolder) throws {
    let rows = min(folder.config["vocab_size"]?.int ?? 0, 1 << 24)
    while tokens.count < rows {
      tokens.append(ByteString("[PAD\(tokens.count)]"))
      types.append(5)
    }
  }
}
