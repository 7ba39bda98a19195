import FlashCL
import FlashCLFiles

/// StableLM: Llama's layers with layer norms and rotary positions for a part of each head; in one of its sizes attention and
/// feed-forward layer stand side by side behind one norm.
///
///     x = x + out(attention(rope(q), rope(k), v)),  [q k v] = layerNorm(x) · Wᵀ + b
///     x = x + down(silu(gate) · up),                [gate up] = layerNorm(x) · Wᵀ
///
/// Loads `StableLmForCausalLM` without `qk_layernorm`. Source: Bellagente et al. 2024.
enum StableLM {
  static let names = ["StableLmForCausalLM"]

  static let gguf = {
    var names = Llama.gguf.family(
      "StableLmForCausalLM", "stablelm",
      settings: [
        "layer_norm_eps": "attention.layer_norm_epsilon", "use_parallel_residual": "use_parallel_residual",
      ], leaving: ["rms_norm_eps", "sliding_window", "expert", "block_sparse_moe"],
      biases: ["use_qkv_bias": "attn_q"],
      fixed: [("hidden_act", ["silu"]), ("qk_layernorm", [false])])
    names.rotaryShare = ("partial_rotary_factor", 0.25)
    return names
  }()

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = width / heads
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("layer_norm_eps")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    try c.require("hidden_act", ["silu"])
    // Gains of their own for each head.
    if try c.flag("qk_layernorm", default: false) || c.has("blk.0.attn_q_norm.weight") {
      throw c.error("qk_layernorm is not supported")
    }
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size, factor: "partial_rotary_factor", default: 0.25),
      context: context, base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)
    let shape = DecoderStack.AttentionShape(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary)
    // GGUF says it by the norm that is not there.
    let isParallel =
      try c.format == .gguf
      ? !c.has("model.layers.0.post_attention_layernorm.weight")
      : c.flag("use_parallel_residual", default: false)

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "model.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.queryKeyValue("\(name).self_attn", shape, width: width),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: isParallel
          ? nil : try c.layerNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: try c.gatedFeedForward("\(name).mlp", width: width, inner: inner, .silu))
    }
    return try DecoderStack(
      on: backend, context: context, isParallel ? .parallel : .preNorm, .init(tokens: tokens), shape, layers,
      .init(
        norm: try c.layerNorm("model.norm", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }
}
