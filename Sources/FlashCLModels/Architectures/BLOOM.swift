import FlashCL
import FlashCLFiles

/// BLOOM: no positions but linear biases by distance, a layer norm behind the embeddings, q, k and v of a head side by side in
/// one matrix.
///
///     x = x + out(attention(q, k, v) with ALiBi),  x = x + down(gelu_tanh(up(layerNorm(x))))
///
/// With `apply_residual_connection_post_layernorm` each half is added to what its norm gives; GGUF has no field for that.
///
/// Source: Le Scao et al. 2022.
enum BLOOM {
  static let names = ["BloomForCausalLM"]

  static let gguf = GGUFNames(
    settings: [
      "hidden_size": "embedding_length", "n_layer": "block_count", "n_head": "attention.head_count",
      "seq_length": "context_length", "layer_norm_epsilon": "attention.layer_norm_epsilon",
    ],
    tensors: [
      "transformer.word_embeddings": "token_embd",
      "transformer.word_embeddings_layernorm": "token_embd_norm", "transformer.ln_f": "output_norm",
      "lm_head": "output", "transformer.h.{}.input_layernorm": "blk.{}.attn_norm",
      "transformer.h.{}.self_attention.query_key_value": "blk.{}.attn_qkv",
      "transformer.h.{}.self_attention.dense": "blk.{}.attn_output",
      "transformer.h.{}.post_attention_layernorm": "blk.{}.ffn_norm",
      "transformer.h.{}.mlp.dense_h_to_4h": "blk.{}.ffn_up",
      "transformer.h.{}.mlp.dense_4h_to_h": "blk.{}.ffn_down",
    ],
    arrangements: ["transformer.h.{}.self_attention.query_key_value": .grouped],
    classes: ["BloomForCausalLM"],
    fixed: [("apply_residual_connection_post_layernorm", [false])],
    facts: { config in
      var facts: [String: JSON] = ["context_length": config.given("seq_length") ?? 2048]
      facts["embedding_length"] = config.given("hidden_size") ?? config.given("n_embed")
      return facts
    },
    members: { _ in ["architectures": ["BloomForCausalLM"], "model_type": "bloom"] })

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    // transformers' older files call the width n_embed.
    let width = try c.size("hidden_size", default: try c.size("n_embed", default: 64))
    let heads = try c.size("n_head")
    let size = width / heads
    let epsilon = try c.number("layer_norm_epsilon")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    // The published files leave the prefix out.
    let prefix = c.format == .gguf || c.has("transformer.word_embeddings.weight") ? "transformer." : ""
    let vocabulary = try c.rows("\(prefix)word_embeddings.weight", columns: width)
    let tokens = try c.weight("\(prefix)word_embeddings.weight", [vocabulary, width])

    let layers = try c.layers(c.size("n_layer")) { n in
      let name = "\(prefix)h.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).input_layernorm", width, epsilon),
        qkv: try c.groupedProjection(
          "\(name).self_attention.query_key_value", heads: heads, keyHeads: heads, size: size, inputs: width),
        out: try c.projection("\(name).self_attention.dense", [width, width]),
        feedForwardNorm: try c.layerNorm("\(name).post_attention_layernorm", width, epsilon),
        feedForward: .plain(
          up: try c.projection("\(name).mlp.dense_h_to_4h", [4 * width, width]),
          down: try c.projection("\(name).mlp.dense_4h_to_h", [width, 4 * width]), .geluTanh))
    }
    return try DecoderStack(
      on: backend, context: try c.size("seq_length", default: 2048),
      try c.flag("apply_residual_connection_post_layernorm", default: false) ? .normedResidual : .preNorm,
      .init(
        tokens: tokens, norm: try c.layerNorm("\(prefix)word_embeddings_layernorm", width, epsilon)),
      .init(heads: heads, keyHeads: heads, size: size, options: AttentionOptions(alibi: .standard)), layers,
      .init(
        norm: try c.layerNorm("\(prefix)ln_f", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }
}
