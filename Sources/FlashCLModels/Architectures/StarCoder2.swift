import FlashCL
import FlashCLFiles

/// StarCoder2: layer norms, rotary positions, grouped heads, biases, a plain feed-forward layer and a window.
///
///     x = x + out(attention(rope(q), rope(k), v)),  x = x + down(gelu_tanh(up(layerNorm(x))))
///
/// Loads `Starcoder2ForCausalLM`. Source: Lozhkov et al. 2024.
enum StarCoder2 {
  static let names = ["Starcoder2ForCausalLM"]

  static let gguf = Llama.gguf.family(
    "Starcoder2ForCausalLM", "starcoder2", settings: ["norm_epsilon": "attention.layer_norm_epsilon"],
    tensors: [
      "model.layers.{}.mlp.c_fc": "blk.{}.ffn_up", "model.layers.{}.mlp.c_proj": "blk.{}.ffn_down",
    ],
    leaving: ["rms_norm_eps", "expert", "block_sparse_moe", "gate_proj", "up_proj", "down_proj"],
    biases: ["use_bias": "attn_q"], fixed: [("hidden_act", ["gelu_pytorch_tanh"])])

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = try c.size("head_dim", default: width / heads)
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("norm_epsilon")
    let activation = try c.activation("hidden_act", gguf: .geluTanh)
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size), context: context,
      base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)
    let window = try c.window("sliding_window")
    let shape = DecoderStack.AttentionShape(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary)

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "model.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.queryKeyValue("\(name).self_attn", shape, width: width),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try c.layerNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: .plain(
          up: try c.projection("\(name).mlp.c_fc", [inner, width]),
          down: try c.projection("\(name).mlp.c_proj", [width, inner]), activation),
        window: window)
    }
    return try DecoderStack(
      on: backend, context: context, .preNorm, .init(tokens: tokens), shape, layers,
      .init(
        norm: try c.layerNorm("model.norm", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }
}
