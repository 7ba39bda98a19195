import FlashCL

/// OPT: learned positions that begin with the table's third row, ReLU, layer norms before each half or, in one of its sizes,
/// after it.
///
///     x = x + out(attention(q, k, v)),  x = x + down(relu(up(layerNorm(x))))
///
/// Embeddings narrower than the stack are widened on the way in and narrowed on the way out. Loads `OPTForCausalLM`;
/// llama.cpp has no such files. Source: Zhang et al. 2022.
enum OPT {
  static let names = ["OPTForCausalLM"]

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let inner = try c.size("ffn_dim")
    let context = try c.size("max_position_embeddings")
    let isPreNorm = try c.flag("do_layer_norm_before", default: true)
    let activation = try c.activation("activation_function")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    guard try c.flag("layer_norm_elementwise_affine", default: true) else {
      throw c.error("layer norms without gains (layer_norm_elementwise_affine) are not supported")
    }
    let embedded = try c.size("word_embed_proj_dim", default: width)
    // The first published files leave a part of the prefix out.
    let name = c.has("decoder.embed_tokens.weight") ? "decoder" : "model.decoder"
    let vocabulary = try c.rows("\(name).embed_tokens.weight", columns: embedded)
    let tokens = try c.weight("\(name).embed_tokens.weight", [vocabulary, embedded])
    // torch's own.
    let epsilon: Float = 1e-5
    func projection(_ side: String, _ shape: [Int]) throws -> Weight? {
      embedded == width ? nil : try c.weight("\(name).project_\(side).weight", shape)
    }

    let layers = try c.layers(c.size("num_hidden_layers")) { n in
      let layer = "\(name).layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(layer).self_attn_layer_norm", width, epsilon),
        qkv: try c.projection(
          ["q_proj", "k_proj", "v_proj"].map { ("\(layer).self_attn.\($0)", width) }, inputs: width),
        out: try c.projection("\(layer).self_attn.out_proj", [width, width]),
        feedForwardNorm: try c.layerNorm("\(layer).final_layer_norm", width, epsilon),
        feedForward: .plain(
          up: try c.projection("\(layer).fc1", [inner, width]),
          down: try c.projection("\(layer).fc2", [width, inner]), activation))
    }
    let hasNorm = try isPreNorm && !c.flag("_remove_final_layer_norm", default: false)
    return try DecoderStack(
      on: backend, context: context, isPreNorm ? .preNorm : .postNorm,
      .init(
        tokens: tokens,
        positions: try c.table("\(name).embed_positions.weight", from: 2, [context, width]),
        projection: try projection("in", [width, embedded])),
      .init(heads: heads, keyHeads: heads, size: width / heads), layers,
      .init(
        norm: hasNorm ? try c.layerNorm("\(name).final_layer_norm", width, epsilon) : nil,
        projection: try projection("out", [embedded, width]),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, embedded]) ?? tokens))
  }
}
