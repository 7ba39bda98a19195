import FlashCL
import FlashCLFiles

/// Llama and its kin: pre-norm decoders with RMSNorm, rotary positions, grouped heads and a SwiGLU feed-forward layer.
///
///     x = x + out(attention(rope(q), rope(k), v)),  [q k v] = rmsNorm(x) · Wᵀ
///     x = x + down(silu(gate) · up),                [gate up] = rmsNorm(x) · Wᵀ
///
/// Mistral adds a sliding window, Qwen2 biases of q, k and v and windows in its upper layers, Mixtral puts a mixture of
/// experts in the place of the feed-forward layer. Sources: Touvron et al. 2023; Grattafiori et al. 2024; Jiang et al. 2023
/// and 2024; Yang et al. 2024.
enum Llama {
  static let names = ["LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "MixtralForCausalLM"]

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

  static let ggufQwen2 = {
    var names = gguf
    names.arrangements = [:]
    // Which layers have a window is told by none of GGUF's fields.
    names.settings["sliding_window"] = nil
    names.classes = ["Qwen2ForCausalLM"]
    names.fixed.append(("use_sliding_window", [false]))
    names.members = { _ in ["architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"] }
    return names
  }()

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = try c.size("head_dim", default: width / heads)
    let layerCount = try c.size("num_hidden_layers")
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("rms_norm_eps")
    try c.require("hidden_act", ["silu"])
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    // llama.cpp stores Llama's q and k with each head's halves interleaved, so that pairs are adjacent; Qwen2's it does not.
    let isPermuted = c.format == .gguf && c.architecture == "llama"
    let rotary = try RotaryPositions(
      c, on: backend, rotary: c.format == .gguf ? try c.size("rotary", default: size) : size,
      context: context, base: Double(try c.number("rope_theta", default: 10000)),
      pairing: isPermuted ? .adjacent : .halves)
    let windows = try windows(c, layers: layerCount)
    let experts = try c.experts()

    let layers = try c.layers(layerCount) { n in
      let name = "model.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.rmsNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.projection(
          [
            ("\(name).self_attn.q_proj", heads * size), ("\(name).self_attn.k_proj", keyHeads * size),
            ("\(name).self_attn.v_proj", keyHeads * size),
          ], inputs: width),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try c.rmsNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: try experts.map {
          .experts(try Experts(c, layer: n, width: width, inner: inner, $0))
        } ?? c.gatedFeedForward("\(name).mlp", width: width, inner: inner, .silu),
        window: windows[n])
    }
    return try DecoderStack(
      on: backend, context: context, .preNorm, .init(tokens: tokens),
      .init(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary), layers,
      .init(
        norm: try c.rmsNorm("model.norm", width, epsilon),
        // A tied head has no tensor of its own.
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }

  /// The window of each layer; nil where it has none.
  private static func windows(_ c: Checkpoint, layers: Int) throws -> [Int?] {
    if c.architecture.lowercased().hasPrefix("qwen2") {
      guard try c.flag("use_sliding_window", default: false), let window = try c.limit("sliding_window")
      else {
        return [Int?](repeating: nil, count: layers)
      }
      // Without a list of kinds the layers from max_window_layers on have the window.
      let first = try c.count("max_window_layers", default: layers)
      return try c.layerKinds(layers) { $0 >= first }.map { $0 ? window : nil }
    }
    return [Int?](repeating: try c.limit("sliding_window"), count: layers)
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
  func gatedFeedForward(_ name: String, width: Int, inner: Int, _ gate: FeedForwardLayer.Gate) throws
    -> FeedForwardLayer
  {
    .gated(
      both: try projection([("\(name).gate_proj", inner), ("\(name).up_proj", inner)], inputs: width),
      down: try projection("\(name).down_proj", [width, inner]), gate)
  }
}
