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
        try addMerges(json, folder)
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
    try fill(&tokens, &types, folder)
    let merges = (json["model"]?["merges"]?.array ?? []).map { merge -> ByteString in
      merge.bytes ?? ByteString((merge[0]?.bytes?.bytes ?? []) + [32] + (merge[1]?.bytes?.bytes ?? []))
    }
    add("tokenizer.ggml.model", "gpt2")
    add("tokenizer.ggml.pre", name)
    add("tokenizer.ggml.tokens", tokens)
    add("tokenizer.ggml.token_type", types)
    add("tokenizer.ggml.merges", merges)
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
