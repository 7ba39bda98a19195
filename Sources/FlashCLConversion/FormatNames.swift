import FlashCL
import FlashCLFiles
import FlashCLModels

/// What an architecture's tensors and settings are called in folders and in GGUF.
struct FormatNames {
  private let known: Known
  /// Heads of queries and of keys: their rows are in another order in GGUF where pairs are rotated.
  private let heads: Int
  private let keyHeads: Int

  private struct Known: Sendable {
    let architecture: String
    let classes: [String]  // transformers'
    let fixed: String  // of config.json, beside the settings
    /// Settings of whole numbers and of reals: folder's name, GGUF's name, what both mean when it is absent.
    let sizes: [(String, String)]
    let reals: [(String, String, Float?)]
    let (heads, keyHeads): (String, String?)
    let tables: [(String, String)]
    let layer: (String, String)
    let parts: [(String, String)]
    var prefix = ""
    /// Parts whose weight is `[inputs, outputs]` in folders.
    var transposed: Set<String> = []
    var rotated: Set<String> = []
    var dropped: [String] = []
  }

  private static let all = [
    Known(
      architecture: "llama", classes: ["LlamaForCausalLM"],
      fixed: "\"model_type\": \"llama\", \"hidden_act\": \"silu\"",
      sizes: [
        ("hidden_size", "embedding_length"), ("num_hidden_layers", "block_count"),
        ("intermediate_size", "feed_forward_length"), ("num_attention_heads", "attention.head_count"),
        ("num_key_value_heads", "attention.head_count_kv"), ("head_dim", "attention.key_length"),
        ("head_dim", "attention.value_length"), ("max_position_embeddings", "context_length"),
        ("vocab_size", "vocab_size"),
      ],
      reals: [
        ("rms_norm_eps", "attention.layer_norm_rms_epsilon", nil), ("rope_theta", "rope.freq_base", 10000),
      ],
      heads: "num_attention_heads", keyHeads: "num_key_value_heads",
      tables: [("model.embed_tokens", "token_embd"), ("model.norm", "output_norm"), ("lm_head", "output")],
      layer: ("model.layers.", "blk."),
      parts: [
        ("input_layernorm", "attn_norm"), ("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"), ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"), ("mlp.down_proj", "ffn_down"),
      ], rotated: ["attn_q", "attn_k"], dropped: [".rotary_emb.inv_freq"]),
    Known(
      architecture: "gpt2", classes: ["GPT2LMHeadModel", "GPT2Model"],
      fixed: "\"model_type\": \"gpt2\", \"activation_function\": \"gelu_new\"",
      sizes: [
        ("n_embd", "embedding_length"), ("n_layer", "block_count"), ("n_inner", "feed_forward_length"),
        ("n_head", "attention.head_count"), ("n_positions", "context_length"), ("vocab_size", "vocab_size"),
      ],
      reals: [("layer_norm_epsilon", "attention.layer_norm_epsilon", nil)], heads: "n_head", keyHeads: nil,
      tables: [
        ("wte", "token_embd"), ("wpe", "position_embd"), ("ln_f", "output_norm"), ("lm_head", "output"),
      ],
      layer: ("h.", "blk."),
      parts: [
        ("ln_1", "attn_norm"), ("attn.c_attn", "attn_qkv"), ("attn.c_proj", "attn_output"),
        ("ln_2", "ffn_norm"),
        ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down"),
      ], prefix: "transformer.", transposed: ["attn_qkv", "attn_output", "ffn_up", "ffn_down"],
      dropped: [".attn.bias", ".attn.masked_bias"]),
  ]

  private init(_ known: Known, _ path: String, _ setting: (String, String) -> Int?) throws {
    self.known = known
    guard let heads = setting(known.heads, "attention.head_count"), heads > 0 else {
      throw ModelError("\(path): the number of attention heads is missing")
    }
    self.heads = heads
    keyHeads = known.keyHeads.flatMap { setting($0, "attention.head_count_kv") } ?? heads
    guard keyHeads > 0 else { throw ModelError("\(path): the number of key-value heads is \(keyHeads)") }
  }

  private static func unknown(_ path: String, _ name: String) -> ModelError {
    ModelError(
      "\(path): the names of \(name) are known in its own format only; between folders and GGUF: "
        + all.flatMap(\.classes).joined(separator: ", ") + "; GGUF to GGUF and folder to folder work for all")
  }

  // MARK: Folder to GGUF

  init(of folder: ModelFolder) throws {
    let name = folder.config["architectures"]?[0]?.string ?? "an unnamed architecture"
    guard let known = Self.all.first(where: { $0.classes.contains(name) }) else {
      throw Self.unknown(folder.path, name)
    }
    if let scaling = folder.config["rope_scaling"], !scaling.isNull {
      let type = scaling["rope_type"]?.string ?? scaling["type"]?.string ?? "?"
      if type != "default" {
        throw ModelError("\(folder.path): rope scaling '\(type)' cannot be converted between formats")
      }
    }
    try self.init(known, folder.path) { name, _ in folder.config[name]?.int }
  }

  func toGGUF(_ tensors: [TensorEntry], _ rule: TypeRule) throws -> [PlannedTensor] {
    try tensors.compactMap { entry in
      if known.dropped.contains(where: entry.name.hasSuffix) { return nil }
      guard let (name, part) = translated(entry.name, known.tables, known.parts, known.layer) else {
        throw ModelError("the tensor \(entry.name) has no name in GGUF's architecture \(known.architecture)")
      }
      let isTransposed = known.transposed.contains(part) && entry.shape.count == 2
      let order: PlannedTensor.Order =
        isTransposed
        ? .transposed
        : known.rotated.contains(part) ? .adjacent(heads: part == "attn_k" ? keyHeads : heads) : .same
      return try PlannedTensor(
        entry, name: name, type: rule.type(of: name, entry.shape, transposed: isTransposed), order: order,
        in: "the folder")
    }
  }

  func metadata(of folder: ModelFolder) throws -> GGUF.Metadata {
    var metadata = GGUF.Metadata()
    let (prefix, config) = (known.architecture, folder.config)
    metadata.add("general.architecture", prefix)
    metadata.add("general.name", folder.path.split(separator: "/").last.map(String.init) ?? "model")
    for (name, gguf) in known.sizes {
      if let value = config[name]?.int { metadata.add("\(prefix).\(gguf)", value) }
    }
    if known.architecture == "gpt2", config["n_inner"]?.int == nil, let width = config["n_embd"]?.int {
      metadata.add("gpt2.feed_forward_length", 4 * width)
    }
    for (name, gguf, fallback) in known.reals {
      guard let value = config[name]?.double.map({ Float($0) }) ?? fallback else {
        throw ModelError("\(folder.path): config.json has no \(name)")
      }
      metadata.add("\(prefix).\(gguf)", value)
    }
    if !known.rotated.isEmpty, let width = config["hidden_size"]?.int {
      metadata.add("\(prefix).rope.dimension_count", config["head_dim"]?.int ?? width / heads)
    }
    return metadata
  }

  // MARK: GGUF to folder

  init(of file: GGUF) throws {
    let name = file["general.architecture"]?.string ?? "an unnamed architecture"
    guard let known = Self.all.first(where: { $0.architecture == name }) else {
      throw Self.unknown(file.path, name)
    }
    let scaling = file["\(name).rope.scaling.type"]?.string ?? "none"
    if scaling != "none" || file.entry(named: "rope_freqs.weight") != nil {
      throw ModelError("\(file.path): rope scaling cannot be converted between formats")
    }
    try self.init(known, file.path) { _, gguf in file["\(name).\(gguf)"]?.int }
  }

  func toFolder(_ tensors: [TensorEntry], _ rule: TypeRule) throws -> [PlannedTensor] {
    func turned(_ pairs: [(String, String)]) -> [(String, String)] { pairs.map { ($0.1, $0.0) } }
    return try tensors.map { entry in
      let layer = (known.layer.1, known.layer.0)
      guard let (name, part) = translated(entry.name, turned(known.tables), turned(known.parts), layer) else {
        throw ModelError("the tensor \(entry.name) has no name in a folder of \(known.classes[0])")
      }
      let gguf = known.parts.first { $0.0 == part }?.1 ?? ""
      let isTransposed = known.transposed.contains(gguf) && entry.shape.count == 2
      let order: PlannedTensor.Order =
        isTransposed
        ? .transposed
        : known.rotated.contains(gguf) ? .halves(heads: gguf == "attn_k" ? keyHeads : heads) : .same
      let hasPrefix = name != "lm_head.weight"
      return try PlannedTensor(
        entry, name: (hasPrefix ? known.prefix : "") + name, type: rule.type(of: entry.name, entry.shape),
        order: order,
        in: "the file")
    }
  }

  /// config.json, as far as the file tells.
  func config(of file: GGUF) throws -> String {
    var members = ["\"architectures\": [\"\(known.classes[0])\"]", known.fixed]
    var written: Set<String> = []
    for (name, gguf) in known.sizes {
      if let value = file["\(known.architecture).\(gguf)"]?.int, written.insert(name).inserted {
        members.append("\"\(name)\": \(value)")
      }
    }
    if !written.contains("vocab_size"), let rows = file.entry(named: "token_embd.weight")?.shape.first {
      members.append("\"vocab_size\": \(rows)")
    }
    for (name, gguf, fallback) in known.reals {
      guard let value = file["\(known.architecture).\(gguf)"]?.double ?? fallback.map({ Double($0) }) else {
        throw ModelError("\(file.path): the metadata has no \(known.architecture).\(gguf)")
      }
      members.append("\"\(name)\": \(value)")
    }
    for name in ["bos", "eos"] {
      if let id = file["tokenizer.ggml.\(name)_token_id"]?.int {
        members.append("\"\(name)_token_id\": \(id)")
      }
    }
    members.append("\"tie_word_embeddings\": \(file.entry(named: "output.weight") == nil)")
    return "{\n  " + members.joined(separator: ",\n  ") + "\n}\n"
  }

  // MARK: Both

  /// The other format's name of a tensor, and which part of a layer or table it is, as `parts` calls it.
  private func translated(
    _ name: String, _ tables: [(String, String)], _ parts: [(String, String)], _ layer: (String, String)
  ) -> (String, part: String)? {
    var rest = Substring(name)
    if !known.prefix.isEmpty, rest.hasPrefix(known.prefix) { rest.removeFirst(known.prefix.count) }
    guard let point = rest.lastIndex(of: ".") else { return nil }
    let ending = rest[point...]
    guard ending == ".weight" || ending == ".bias" else { return nil }
    rest = rest[..<point]
    if let table = tables.first(where: { $0.0 == rest }) { return (table.1 + ending, table.1) }
    guard rest.hasPrefix(layer.0) else { return nil }
    rest.removeFirst(layer.0.count)
    guard let next = rest.firstIndex(of: "."), let number = Int(rest[..<next]) else { return nil }
    let local = rest[rest.index(after: next)...]
    return parts.first { $0.0 == local }.map { ("\(layer.1)\(number).\($0.1)\(ending)", $0.1) }
  }
}
