import FlashCL
import FlashCLFiles

/// Falcon: one or few heads of keys and values, attention and feed-forward layer side by side, rotary positions or linear
/// biases.
///
///     x = x + out(attention(rope(q), rope(k), v)) + down(gelu(up(n₂))),  [q k v] = n₁ · Wᵀ
///
/// With one norm n₂ is n₁; the larger models have two. Biases by distance are divided by √D as the scores are. Source:
/// Almazrouei et al. 2023.
enum Falcon {
  static let names = ["FalconForCausalLM"]

  static let gguf = GGUFNames(
    settings: [
      "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
      "num_attention_heads": "attention.head_count", "num_kv_heads": "attention.head_count_kv",
      "max_position_embeddings": "context_length", "layer_norm_epsilon": "attention.layer_norm_epsilon",
      "ffn_hidden_size": "feed_forward_length", "rope_theta": "rope.freq_base",
    ],
    tensors: [
      "transformer.word_embeddings": "token_embd", "transformer.ln_f": "output_norm", "lm_head": "output",
      "transformer.h.{}.input_layernorm": "blk.{}.attn_norm",
      "transformer.h.{}.ln_mlp": "blk.{}.attn_norm", "transformer.h.{}.ln_attn": "blk.{}.attn_norm_2",
      "transformer.h.{}.self_attention.query_key_value": "blk.{}.attn_qkv",
      "transformer.h.{}.self_attention.dense": "blk.{}.attn_output",
      "transformer.h.{}.mlp.dense_h_to_4h": "blk.{}.ffn_up",
      "transformer.h.{}.mlp.dense_4h_to_h": "blk.{}.ffn_down",
    ],
    arrangements: ["transformer.h.{}.self_attention.query_key_value": .grouped],
    classes: ["FalconForCausalLM"],
    fixed: [("alibi", [false]), ("parallel_attn", [true]), ("activation", ["gelu"])],
    facts: { config in
      let isNew = config["new_decoder_architecture"]?.bool ?? false
      var facts: [String: JSON] = ["context_length": config.given("max_position_embeddings") ?? 2048]
      facts["attention.head_count_kv"] =
        isNew
        ? config.given("num_kv_heads")
        : config["multi_query"]?.bool ?? true ? 1 : config.given("num_attention_heads")
      return facts
    },
    members: { file in
      let hasTwoNorms = file.entry(named: "blk.0.attn_norm_2.weight") != nil
      let isNew = hasTwoNorms || file["falcon.attention.head_count_kv"]?.int ?? 1 > 1
      var members: [String: JSON] = [
        "architectures": ["FalconForCausalLM"], "model_type": "falcon",
        "new_decoder_architecture": .bool(isNew), "multi_query": .bool(!isNew),
        "bias": .bool(file.entry(named: "blk.0.attn_qkv.bias") != nil),
      ]
      if isNew { members["num_ln_in_parallel_attn"] = hasTwoNorms ? 2 : 1 }
      return members
    },
    others: { file in
      let hasTwoNorms = file.entry(named: "blk.0.attn_norm_2.weight") != nil
      return [hasTwoNorms ? "transformer.h.{}.input_layernorm" : "transformer.h.{}.ln_mlp"]
    })

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let size = width / heads
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    let isNew = try c.flag("new_decoder_architecture", default: false)
    let isParallel = try isNew || c.flag("parallel_attn", default: true)
    let hasFewKeys = try isNew || c.format == .gguf || !c.flag("multi_query", default: true)
    let keyHeads = hasFewKeys ? try c.size("num_kv_heads", default: heads) : 1
    guard heads % keyHeads == 0 else {
      throw c.error("\(heads) attention heads are no multiple of \(keyHeads) key-value heads")
    }
    let inner = try c.size("ffn_hidden_size", default: 4 * width)
    let context = try c.size("max_position_embeddings", default: 2048)
    let epsilon = try c.number("layer_norm_epsilon")
    let activation = try c.activation("activation")
    let hasBiases = try c.flag("alibi", default: false)
    let prefix = "transformer"
    let vocabulary = try c.rows("\(prefix).word_embeddings.weight", columns: width)
    let tokens = try c.weight("\(prefix).word_embeddings.weight", [vocabulary, width])
    var options = AttentionOptions()
    if hasBiases {
      let slopes = ALiBi.slopes(heads: heads).map { $0 / Float(size).squareRoot() }
      options.alibi = .slopes(try backend.tensor(slopes, [heads]))
    }
    let rotary =
      hasBiases
      ? nil
      : try RotaryPositions(
        c, on: backend, rotary: size, context: context,
        base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let name = "\(prefix).h.\(n)"
      let hasTwo = c.has("\(name).ln_attn.weight")
      let other: String? = !isParallel ? "post_attention_layernorm" : hasTwo ? "ln_mlp" : nil
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).\(hasTwo ? "ln_attn" : "input_layernorm")", width, epsilon),
        qkv: try c.groupedProjection(
          "\(name).self_attention.query_key_value", heads: heads, keyHeads: keyHeads, size: size,
          inputs: width),
        out: try c.projection("\(name).self_attention.dense", [width, width]),
        feedForwardNorm: try other.map { try c.layerNorm("\(name).\($0)", width, epsilon) },
        feedForward: .plain(
          up: try c.projection("\(name).mlp.dense_h_to_4h", [inner, width]),
          down: try c.projection("\(name).mlp.dense_4h_to_h", [width, inner]), activation))
    }
    return try DecoderStack(
      on: backend, context: context, isParallel ? .parallel : .preNorm, .init(tokens: tokens),
      .init(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary, options: options), layers,
      .init(
        norm: try c.layerNorm("\(prefix).ln_f", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }
}
