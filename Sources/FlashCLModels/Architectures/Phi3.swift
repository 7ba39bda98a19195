import FlashCL

/// Phi-3 and Phi-4 (mini): Llama's layers with q, k and v in one matrix, gate and up in another, rotary positions for a part of
/// each head, stretched by two lists of factors (`RopeScaling.longRope`), and windows.
///
///     x = x + out(attention(rope(q), rope(k), v)),  [q k v] = rmsNorm(x) · Wᵀ
///     x = x + down(silu(gate) · up),                [gate up] = rmsNorm(x) · Wᵀ
///
/// Loads `Phi3ForCausalLM`. Source: Abdin et al. 2024.
enum Phi3 {
  static let names = ["Phi3ForCausalLM"]

  static let gguf = Llama.gguf.reading(tensors: [
    "model.layers.{}.self_attn.qkv_proj": "blk.{}.attn_qkv",
    "model.layers.{}.mlp.gate_up_proj": "blk.{}.ffn_up",
  ])

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = try c.size("head_dim", default: width / heads)
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("rms_norm_eps")
    try c.require("hidden_act", ["silu"])
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size, factor: "partial_rotary_factor"), context: context,
      base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)
    let window = try c.window("sliding_window")

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "model.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.rmsNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.projection("\(name).self_attn.qkv_proj", [(heads + 2 * keyHeads) * size, width]),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try c.rmsNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: .gated(
          both: try c.projection("\(name).mlp.gate_up_proj", [2 * inner, width]),
          down: try c.projection("\(name).mlp.down_proj", [width, inner]), .silu),
        window: window)
    }
    return try DecoderStack(
      on: backend, context: context, .preNorm, .init(tokens: tokens),
      .init(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary), layers,
      .init(
        norm: try c.rmsNorm("model.norm", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }
}
