import FlashCL
import FlashCLFiles

/// Phi: attention and feed-forward layer side by side behind one layer norm, rotary positions for a part of each head, biases
/// everywhere.
///
///     x = x + out(attention(rope(q), rope(k), v)) + down(gelu(up(n))),  n = layerNorm(x), [q k v] = n · Wᵀ + b
///
/// With `qk_layernorm` queries and keys are normed head by head. Loads `PhiForCausalLM` (phi-1 to phi-2). Source: Gunasekar et
/// al. 2023; Li et al. 2023.
enum Phi {
  static let names = ["PhiForCausalLM"]

  static let gguf = GGUFNames(
    settings: Llama.gguf.settings.merging(
      [
        "layer_norm_eps": "attention.layer_norm_epsilon", "rotary": "rope.dimension_count",
      ]) { $1 },
    tensors: [
      "model.embed_tokens": "token_embd", "model.final_layernorm": "output_norm", "lm_head": "output",
      "model.layers.{}.input_layernorm": "blk.{}.attn_norm",
      "model.layers.{}.self_attn.q_proj": "blk.{}.attn_q",
      "model.layers.{}.self_attn.k_proj": "blk.{}.attn_k",
      "model.layers.{}.self_attn.v_proj": "blk.{}.attn_v",
      "model.layers.{}.self_attn.qkv": "blk.{}.attn_qkv",
      "model.layers.{}.self_attn.dense": "blk.{}.attn_output",
      "model.layers.{}.mlp.fc1": "blk.{}.ffn_up", "model.layers.{}.mlp.fc2": "blk.{}.ffn_down",
    ],
    classes: ["PhiForCausalLM"],
    fixed: [("hidden_act", ["gelu_new", "gelu_pytorch_tanh"]), ("qk_layernorm", [false])],
    rotaryShare: ("partial_rotary_factor", 0.5),
    members: { _ in ["architectures": ["PhiForCausalLM"], "model_type": "phi"] },
    others: { _ in ["model.layers.{}.self_attn.qkv"] })

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = try c.size("head_dim", default: width / heads)
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("layer_norm_eps")
    let activation = try c.activation("hidden_act", gguf: .geluTanh)
    let normsHeads = try c.flag("qk_layernorm", default: false)
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size, factor: "partial_rotary_factor", default: 0.5),
      context: context, base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)
    let outputs = (heads + 2 * keyHeads) * size
    let shape = DecoderStack.AttentionShape(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary)

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "model.layers.\(n)"
      func headNorm(_ part: String) throws -> Norm {
        try c.layerNorm("\(name).self_attn.\(part)_layernorm", size, epsilon)
      }
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).input_layernorm", width, epsilon),
        // llama.cpp's older files hold the three as one.
        qkv: c.has("\(name).self_attn.qkv.weight")
          ? try c.projection("\(name).self_attn.qkv", [outputs, width])
          : try c.queryKeyValue(
            "\(name).self_attn", shape, width: width,
            norms: normsHeads ? (try headNorm("q"), try headNorm("k")) : nil),
        out: try c.projection("\(name).self_attn.dense", [width, heads * size]), feedForwardNorm: nil,
        feedForward: .plain(
          up: try c.projection("\(name).mlp.fc1", [inner, width]),
          down: try c.projection("\(name).mlp.fc2", [width, inner]), activation))
    }
    return try DecoderStack(
      on: backend, context: context, .parallel, .init(tokens: tokens), shape, layers,
      .init(
        norm: try c.layerNorm("model.final_layernorm", width, epsilon),
        head: try c.weight("lm_head.weight", [vocabulary, width]),
        bias: c.has("lm_head.bias") ? try c.vector("lm_head.bias", vocabulary) : nil))
  }
}

extension Checkpoint {
  /// Elements of a head that turn with the position: GGUF has their number, config.json their share, or no setting.
  func rotarySize(_ size: Int, factor: String? = nil, default fallback: Float = 1) throws -> Int {
    if format == .gguf {
      let rotary = try self.size("rotary", default: size)
      guard rotary <= size else {
        throw error("rope.dimension_count is \(rotary), expected at most the head's \(size)")
      }
      return rotary
    }
    guard let factor else { return size }
    let share = try number(factor, default: fallback)
    guard share > 0, share <= 1 else {
      throw error("the setting \(factor) is \(share), expected a number above 0, at most 1")
    }
    return Int(Float(size) * share)
  }
}
