import FlashCL

/// The decoder of 2017 alone, without attention to a source: the Transformer-Decoder of long documents, a decoder over
/// characters, and any other plain stack, by a config.json of our own.
///
///     post   x = layerNorm(x + out(attention(q, k, v))),  x = layerNorm(x + down(relu(up(x))))
///     pre    x = x + out(attention(layerNorm(x) …)),      x = x + down(relu(up(layerNorm(x))))
///
/// Settings and tensors are those of `Transformer`'s decoder: `d_model`, `decoder_layers`, `decoder_attention_heads`,
/// `decoder_ffn_dim`, `max_position_embeddings`, `norm` post or pre, `positions` sinusoidal, sinusoidal_split, learned or none,
/// `activation_function`, `scale_embedding`, `final_norm`, `tie_word_embeddings`. Sources: Liu et al. 2018; Al-Rfou et al. 2019.
enum TransformerDecoder {
  static let names = ["TransformerDecoder"]

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let dialect = try TransformerDialect(c)
    let width = try c.size("d_model")
    let heads = try c.size("decoder_attention_heads")
    let inner = try c.size("decoder_ffn_dim")
    let context = try c.size("max_position_embeddings")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    guard dialect.norms != .residual else {
      throw c.error("norm residual is for encoder–decoders; known: post, pre")
    }
    let vocabulary = try c.rows("decoder.embed_tokens.weight", columns: width)
    let tokens = try c.weight("decoder.embed_tokens.weight", [vocabulary, width])
    let positions: Weight? =
      switch dialect.positions {
      case .none: nil
      case .sinusoids(let layout): try backend.sinusoids(length: context, width: width, layout)
      case .learned(let unused):
        try c.table("decoder.embed_positions.weight", from: unused, [context, width])
      }

    let layers = try c.layers(c.size("decoder_layers")) { n in
      let name = "decoder.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).self_attn_layer_norm", width, dialect.epsilon),
        qkv: try c.projection(
          ["q_proj", "k_proj", "v_proj"].map { ("\(name).self_attn.\($0)", width) }, inputs: width),
        out: try c.projection("\(name).self_attn.out_proj", [width, width]),
        feedForwardNorm: try c.layerNorm("\(name).final_layer_norm", width, dialect.epsilon),
        feedForward: .plain(
          up: try c.projection("\(name).fc1", [inner, width]),
          down: try c.projection("\(name).fc2", [width, inner]), dialect.activation))
    }
    return try DecoderStack(
      on: backend, context: context, dialect.norms == .pre ? .preNorm : .postNorm,
      .init(
        tokens: tokens, scale: dialect.scalesEmbedding ? Float(width).squareRoot() : 1, positions: positions,
        norm: dialect.normalisesEmbedding
          ? try c.layerNorm("decoder.layernorm_embedding", width, dialect.epsilon) : nil),
      .init(heads: heads, keyHeads: heads, size: width / heads), layers,
      .init(
        norm: dialect.hasFinalNorm ? try c.layerNorm("decoder.layer_norm", width, dialect.epsilon) : nil,
        head: dialect.isTied ? tokens : try c.weight("lm_head.weight", [vocabulary, width]),
        bias: c.has("lm_head.bias") ? try c.vector("lm_head.bias", vocabulary) : nil))
  }
}
