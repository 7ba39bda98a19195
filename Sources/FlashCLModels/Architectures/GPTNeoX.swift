import FlashCL
import FlashCLFiles

/// GPT-NeoX and Pythia: two layer norms beside each other, rotary positions for a part of each head, q, k and v of a head side by
/// side in one matrix.
///
///     x = x + out(attention(rope(q), rope(k), v)) + down(gelu(up(layerNorm₂(x)))),  [q k v] = layerNorm₁(x) · Wᵀ + b
///
/// Without `use_parallel_residual` the second half reads what the first one gives. Source: Black et al. 2022.
enum GPTNeoX {
  static let names = ["GPTNeoXForCausalLM"]

  static let gguf = GGUFNames(
    settings: [
      "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
      "intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count",
      "max_position_embeddings": "context_length", "layer_norm_eps": "attention.layer_norm_epsilon",
      "rotary": "rope.dimension_count", "rope_theta": "rope.freq_base",
      "use_parallel_residual": "use_parallel_residual",
    ],
    tensors: [
      "gpt_neox.embed_in": "token_embd", "gpt_neox.final_layer_norm": "output_norm", "embed_out": "output",
      "gpt_neox.layers.{}.input_layernorm": "blk.{}.attn_norm",
      "gpt_neox.layers.{}.post_attention_layernorm": "blk.{}.ffn_norm",
      "gpt_neox.layers.{}.attention.query_key_value": "blk.{}.attn_qkv",
      "gpt_neox.layers.{}.attention.dense": "blk.{}.attn_output",
      "gpt_neox.layers.{}.mlp.dense_h_to_4h": "blk.{}.ffn_up",
      "gpt_neox.layers.{}.mlp.dense_4h_to_h": "blk.{}.ffn_down",
    ],
    arrangements: ["gpt_neox.layers.{}.attention.query_key_value": .grouped],
    classes: ["GPTNeoXForCausalLM"],
    fixed: [("hidden_act", ["gelu"])],
    rotaryShare: ("rotary_pct", 0.25),
    facts: { config in
      [
        "rope.freq_base": config.given("rope_theta") ?? config.given("rotary_emb_base") ?? 10000,
        "use_parallel_residual": config.given("use_parallel_residual") ?? true,
      ]
    },
    members: { file in
      [
        "architectures": ["GPTNeoXForCausalLM"], "model_type": "gpt_neox",
        "rotary_emb_base": JSON(Float(file["gptneox.rope.freq_base"]?.double ?? 10000)),
      ]
    })

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let size = width / heads
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("layer_norm_eps")
    let activation = try c.activation("hidden_act")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    let vocabulary = try c.rows("gpt_neox.embed_in.weight", columns: width)
    // config.json names the base rotary_emb_base, and newer files rope_theta too.
    let base = try c.number("rope_theta", default: try c.number("rotary_emb_base", default: 10000))
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.rotarySize(size, factor: "rotary_pct", default: 0.25),
      context: context, base: Double(base), pairing: .halves)

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "gpt_neox.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.groupedProjection(
          "\(name).attention.query_key_value", heads: heads, keyHeads: heads, size: size, inputs: width),
        out: try c.projection("\(name).attention.dense", [width, width]),
        feedForwardNorm: try c.layerNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: .plain(
          up: try c.projection("\(name).mlp.dense_h_to_4h", [inner, width]),
          down: try c.projection("\(name).mlp.dense_4h_to_h", [width, inner]), activation))
    }
    return try DecoderStack(
      on: backend, context: context,
      try c.flag("use_parallel_residual", default: true) ? .parallel : .preNorm,
      .init(tokens: try c.weight("gpt_neox.embed_in.weight", [vocabulary, width])),
      .init(heads: heads, keyHeads: heads, size: size, rotary: rotary), layers,
      .init(
        norm: try c.layerNorm("gpt_neox.final_layer_norm", width, epsilon),
        head: try c.weight("embed_out.weight", [vocabulary, width])))
  }
}
