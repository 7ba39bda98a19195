import FlashCL
import FlashCLFiles

/// OLMo 2: Llama's parts with norms behind each half in place of before it, and of all queries and all keys of a token.
///
///     x = x + rmsNorm(out(attention(rope(q), rope(k), v))),  q = rmsNorm(x · W_qᵀ), k = rmsNorm(x · W_kᵀ), v = x · W_vᵀ
///     x = x + rmsNorm(down(silu(gate) · up)),                [gate up] = x · Wᵀ
///
/// Loads `Olmo2ForCausalLM`. Source: OLMo Team 2025.
enum OLMo2 {
  static let names = ["Olmo2ForCausalLM"]

  static let gguf = Llama.gguf.family(
    "Olmo2ForCausalLM", "olmo2",
    tensors: [
      "model.layers.{}.self_attn.q_norm": "blk.{}.attn_q_norm",
      "model.layers.{}.self_attn.k_norm": "blk.{}.attn_k_norm",
      "model.layers.{}.post_attention_layernorm": "blk.{}.post_attention_norm",
      "model.layers.{}.post_feedforward_layernorm": "blk.{}.post_ffw_norm",
    ], leaving: ["expert", "block_sparse_moe"])

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = try c.size("head_dim", default: width / heads)
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("rms_norm_eps")
    try c.require("hidden_act", ["silu"])
    // llama.cpp has OLMo 3 under the same name.
    if c.format == .gguf, try c.window("sliding_window") != nil {
      throw c.error("windows of olmo2 (OLMo 3) are not supported")
    }
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size), context: context,
      base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)
    let shape = DecoderStack.AttentionShape(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary)

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "model.layers.\(n)"
      func norm(_ part: String, _ count: Int) throws -> Norm {
        try c.rmsNorm("\(name).\(part)", count, epsilon)
      }
      return DecoderStack.Layer(
        attentionNorm: try norm("post_attention_layernorm", width),
        qkv: try c.queryKeyValue(
          "\(name).self_attn", shape, width: width,
          norms: (try norm("self_attn.q_norm", heads * size), try norm("self_attn.k_norm", keyHeads * size))),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try norm("post_feedforward_layernorm", width),
        feedForward: try c.gatedFeedForward("\(name).mlp", width: width, inner: inner, .silu))
    }
    return try DecoderStack(
      on: backend, context: context, .normedHalves, .init(tokens: tokens), shape, layers,
      .init(
        norm: try c.rmsNorm("model.norm", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }
}
