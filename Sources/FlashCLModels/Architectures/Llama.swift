import FlashCL
import FlashCLFiles

/// Llama and its kin: pre-norm decoders with RMSNorm, rotary positions, grouped heads and a SwiGLU feed-forward layer.
///
///     x = x + out(attention(rope(q), rope(k), v)),  [q k v] = rmsNorm(x) · Wᵀ
///     x = x + down(silu(gate) · up),                [gate up] = rmsNorm(x) · Wᵀ
///
/// Mistral adds a sliding window, Qwen2 biases of q, k and v and windows in its upper layers, Qwen3 norms of each head's q and k;
/// SmolLM3 leaves every fourth layer without positions; Mixtral, Qwen2-MoE and Qwen3-MoE put a mixture of experts in the place of
/// the feed-forward layer. Sources: Touvron et al. 2023; Grattafiori et al. 2024; Jiang et al. 2023 and 2024; Yang et al. 2024 and
/// 2025; Bakouch et al. 2025.
enum Llama {
  static let names = [
    "LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "Qwen2ForCausalLM", "Qwen2MoeForCausalLM",
    "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "SmolLM3ForCausalLM",
  ]

  static let gguf = GGUFNames(
    settings: [
      "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
      "intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count",
      "num_key_value_heads": "attention.head_count_kv", "head_dim": "attention.key_length",
      "max_position_embeddings": "context_length", "rms_norm_eps": "attention.layer_norm_rms_epsilon",
      "rope_theta": "rope.freq_base", "rotary": "rope.dimension_count",
      "sliding_window": "attention.sliding_window", "num_local_experts": "expert_count",
      "num_experts_per_tok": "expert_used_count",
    ],
    tensors: [
      "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
      "model.layers.{}.input_layernorm": "blk.{}.attn_norm",
      "model.layers.{}.self_attn.q_proj": "blk.{}.attn_q",
      "model.layers.{}.self_attn.k_proj": "blk.{}.attn_k",
      "model.layers.{}.self_attn.v_proj": "blk.{}.attn_v",
      "model.layers.{}.self_attn.o_proj": "blk.{}.attn_output",
      "model.layers.{}.post_attention_layernorm": "blk.{}.ffn_norm",
      "model.layers.{}.mlp.gate_proj": "blk.{}.ffn_gate", "model.layers.{}.mlp.up_proj": "blk.{}.ffn_up",
      "model.layers.{}.mlp.down_proj": "blk.{}.ffn_down",
      "model.layers.{}.block_sparse_moe.gate": "blk.{}.ffn_gate_inp",
      "model.layers.{}.block_sparse_moe.experts.{}.w1": "blk.{}.ffn_gate_exps",
      "model.layers.{}.block_sparse_moe.experts.{}.w2": "blk.{}.ffn_down_exps",
      "model.layers.{}.block_sparse_moe.experts.{}.w3": "blk.{}.ffn_up_exps",
    ],
    arrangements: [
      "model.layers.{}.self_attn.q_proj": .queryPairs, "model.layers.{}.self_attn.k_proj": .keyPairs,
    ],
    classes: ["LlamaForCausalLM", "MistralForCausalLM", "MixtralForCausalLM"],
    fixed: [("hidden_act", ["silu"])],
    members: { file in
      let name =
        file["llama.expert_count"] != nil
        ? "Mixtral" : file["llama.attention.sliding_window"] != nil ? "Mistral" : "Llama"
      var members: [String: JSON] = [
        "architectures": [JSON("\(name)ForCausalLM")], "model_type": JSON(name.lowercased()),
      ]
      // transformers' Llama reads biases where these say so, the others have none.
      members["attention_bias"] = .bool(file.entry(named: "blk.0.attn_q.bias") != nil)
      members["mlp_bias"] = .bool(file.entry(named: "blk.0.ffn_up.bias") != nil)
      if name != "Llama", file["llama.attention.sliding_window"] == nil { members["sliding_window"] = .null }
      return members
    })

  private static let headNorms = [
    "model.layers.{}.self_attn.q_norm": "blk.{}.attn_q_norm",
    "model.layers.{}.self_attn.k_norm": "blk.{}.attn_k_norm",
  ]

  /// Windows are told by none of GGUF's fields.
  private static let withoutWindows: [(name: String, values: [JSON])] = [
    ("hidden_act", ["silu"]), ("use_sliding_window", [false]),
  ]

  static let ggufQwen2 = gguf.family(
    "Qwen2ForCausalLM", "qwen2", leaving: ["sliding_window", "expert", "block_sparse_moe"], biases: [:],
    fixed: withoutWindows)

  static let ggufQwen3 = {
    var names = gguf.family(
      "Qwen3ForCausalLM", "qwen3", tensors: headNorms, leaving: ["sliding_window", "expert"],
      fixed: withoutWindows)
    names.facts = { ["attention.key_length": $0.given("head_dim") ?? 128] }
    return names
  }()

  private static let mixture = [
    "num_experts": "expert_count", "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
  ]

  static let ggufQwen3MoE = {
    var names = gguf.family(
      "Qwen3MoeForCausalLM", "qwen3_moe", settings: mixture,
      tensors: headNorms.merging([
        "model.layers.{}.mlp.gate": "blk.{}.ffn_gate_inp",
        "model.layers.{}.mlp.experts.{}.gate_proj": "blk.{}.ffn_gate_exps",
        "model.layers.{}.mlp.experts.{}.up_proj": "blk.{}.ffn_up_exps",
        "model.layers.{}.mlp.experts.{}.down_proj": "blk.{}.ffn_down_exps",
      ]) { $1 }, leaving: ["sliding_window", "local_experts", "shared_expert", "block_sparse_moe"],
      fixed: withoutWindows + [
        ("decoder_sparse_step", [1]), ("mlp_only_layers", [[]]), ("norm_topk_prob", [true]),
      ])
    names.facts = { config in
      guard config["norm_topk_prob"]?.bool == true else {
        throw ModelError("GGUF cannot tell norm_topk_prob false: it takes true for granted")
      }
      return [:]
    }
    return names
  }()

  static let ggufQwen2MoE = gguf.reading(
    settings: mixture,
    tensors: [
      "model.layers.{}.mlp.gate": "blk.{}.ffn_gate_inp",
      "model.layers.{}.mlp.shared_expert_gate": "blk.{}.ffn_gate_inp_shexp",
      "model.layers.{}.mlp.shared_expert.gate_proj": "blk.{}.ffn_gate_shexp",
      "model.layers.{}.mlp.shared_expert.up_proj": "blk.{}.ffn_up_shexp",
      "model.layers.{}.mlp.shared_expert.down_proj": "blk.{}.ffn_down_shexp",
    ])

  static let ggufSmolLM3 = {
    var names = gguf.family(
      "SmolLM3ForCausalLM", "smollm3", leaving: ["sliding_window", "expert", "block_sparse_moe"],
      biases: ["attention_bias": "attn_q", "mlp_bias": "ffn_up"],
      fixed: withoutWindows + [("no_rope_layer_interval", [4])])
    names.arrangements = gguf.arrangements
    names.facts = { config in
      for (place, turns) in (config["no_rope_layers"]?.array ?? []).enumerated()
      where (turns.int == 0) != (place % 4 == 3) {
        throw ModelError("GGUF cannot tell no_rope_layers: it takes every fourth layer for granted")
      }
      return [:]
    }
    return names
  }()

  static let ggufs = [
    "llama": gguf, "qwen2": ggufQwen2, "qwen2moe": ggufQwen2MoE, "qwen3": ggufQwen3, "qwen3moe": ggufQwen3MoE,
    "smollm3": ggufSmolLM3,
  ]

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let hasHeadNorms = c.architecture.lowercased().hasPrefix("qwen3")
    let isWide = c.architecture == "Qwen3ForCausalLM"
    let size = try c.size("head_dim", default: isWide ? 128 : width / heads)
    let layerCount = try c.size("num_hidden_layers")
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("rms_norm_eps")
    try c.require("hidden_act", ["silu"])
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    // llama.cpp stores Llama's q and k with each head's halves interleaved, so that pairs are adjacent; Qwen's it does not.
    let isPermuted = c.format == .gguf && ["llama", "smollm3"].contains(c.architecture)
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size), context: context,
      base: Double(try c.number("rope_theta", default: 10000)), pairing: isPermuted ? .adjacent : .halves)
    let turns = try turns(c, layers: layerCount)
    let windows = try windows(c, turns: turns)
    let experts = try c.experts()
    let shape = DecoderStack.AttentionShape(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary)

    let layers = try c.layers(layerCount) { n in
      let name = "model.layers.\(n)"
      func headNorm(_ part: String) throws -> Norm {
        try c.rmsNorm("\(name).self_attn.\(part)_norm", size, epsilon)
      }
      return DecoderStack.Layer(
        attentionNorm: try c.rmsNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.queryKeyValue(
          "\(name).self_attn", shape, width: width,
          norms: hasHeadNorms ? (try headNorm("q"), try headNorm("k")) : nil),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try c.rmsNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: try experts.flatMap {
          try $0.serve(n) ? .experts(Experts(c, layer: n, width: width, $0)) : nil
        } ?? c.gatedFeedForward("\(name).mlp", width: width, inner: inner, .silu),
        window: windows[n], turns: turns[n])
    }
    return try DecoderStack(
      on: backend, context: context, .preNorm, .init(tokens: tokens), shape, layers,
      .init(
        norm: try c.rmsNorm("model.norm", width, epsilon),
        // A tied head has no tensor of its own.
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }

  /// True for the layers with rotary positions: all but some of SmolLM3's.
  private static func turns(_ c: Checkpoint, layers: Int) throws -> [Bool] {
    guard c.architecture.lowercased().hasPrefix("smollm3") else {
      return [Bool](repeating: true, count: layers)
    }
    let interval = try c.size("no_rope_layer_interval", default: 4)
    guard let list = c["no_rope_layers"]?.array else { return (1...layers).map { $0 % interval != 0 } }
    guard list.count == layers else {
      throw c.error("no_rope_layers has \(list.count) entries for \(layers) layers")
    }
    return list.map { $0.int != 0 }
  }

  /// The window of each layer; nil where it has none. What config.json leaves out is transformers' default.
  private static func windows(_ c: Checkpoint, turns: [Bool]) throws -> [Int?] {
    let name = c.architecture.lowercased()
    let layers = turns.count
    var window: Int?
    if name.hasPrefix("smollm3") {
      let isUsed = try c.flag("use_sliding_window", default: false)
      window = isUsed ? try c.window("sliding_window") : nil
      return try c.layerKinds(layers) { !turns[$0] }.map { $0 ? window : nil }
    }
    if name.hasPrefix("qwen") {
      let isUsed = try c.flag("use_sliding_window", default: false)
      window = isUsed ? try c.window("sliding_window", default: 4096) : nil
      if !name.contains("moe") {
        // Without a list of kinds the layers from max_window_layers on have the window.
        let first = try c.count("max_window_layers", default: 28)
        return try c.layerKinds(layers) { $0 >= first }.map { $0 ? window : nil }
      }
    } else if !name.hasPrefix("llamafor") {
      // llama.cpp's converter leaves Mistral's window out of its files, and these see all keys.
      window = try c.window("sliding_window", default: name.hasPrefix("mistral") ? 4096 : nil)
    }
    return [Int?](repeating: window, count: layers)
  }
}

extension Checkpoint {
  /// Which layers see a sliding window: config.json's layer_types, or the rule where it has none.
  func layerKinds(_ count: Int, default rule: (Int) -> Bool) throws -> [Bool] {
    guard let kinds = self["layer_types"]?.array else { return (0..<count).map(rule) }
    guard kinds.count == count else {
      throw error("layer_types has \(kinds.count) entries for \(count) layers")
    }
    return try kinds.map { kind in
      switch kind.string {
      case "sliding_attention": return true
      case "full_attention": return false
      case let other:
        throw error(
          "layer_types has '\(other ?? "no text")'; known: full_attention, sliding_attention")
      }
    }
  }

  /// down(gate(g) · u) of `gate_proj`, `up_proj` and `down_proj`.
  func gatedFeedForward(_ name: String, width: Int, inner: Int, _ gate: Activation) throws
    -> FeedForwardLayer
  {
    .gated(
      both: try projection([("\(name).gate_proj", inner), ("\(name).up_proj", inner)], inputs: width),
      down: try projection("\(name).down_proj", [width, inner]), gate)
  }
}
