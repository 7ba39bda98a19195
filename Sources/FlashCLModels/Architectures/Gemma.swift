import FlashCL

/// Gemma and Gemma 2: Llama's layers with scaled embeddings, gains stored as their distance from 1, and a GELU gate.
///
/// Gemma 2 norms what each half gives too, bounds the scores and the logits, and lets every other layer see a window only.
/// Sources: Gemma Team 2024a, 2024b.
enum Gemma {
  static let names = ["GemmaForCausalLM", "Gemma2ForCausalLM"]

  static let gguf = Llama.gguf.merging(
    settings: [
      "attn_logit_softcapping": "attn_logit_softcapping",
      "final_logit_softcapping": "final_logit_softcapping",
    ],
    tensors: [
      "model.layers.{}.pre_feedforward_layernorm": "blk.{}.ffn_norm",
      "model.layers.{}.post_feedforward_layernorm": "blk.{}.post_ffw_norm",
    ])
  /// In Gemma 2 that name is what follows attention, in Gemma what comes before the feed-forward layer.
  static let gguf2 = gguf.merging(
    tensors: ["model.layers.{}.post_attention_layernorm": "blk.{}.post_attention_norm"])

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let isSecond = c.architecture.lowercased().hasPrefix("gemma2")
    let width = try c.size("hidden_size")
    let heads = try c.size("num_attention_heads")
    let keyHeads = try c.keyHeads(of: heads)
    let size = try c.size("head_dim", default: 256)
    let layerCount = try c.size("num_hidden_layers")
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings")
    let epsilon = try c.number("rms_norm_eps")
    // Files before the correction of April 2024 say "gelu" in hidden_act, and mean the form by tanh.
    try c.require("hidden_activation", ["gelu_pytorch_tanh"])
    if !c.isSet("hidden_activation") { try c.require("hidden_act", ["gelu_pytorch_tanh", "gelu"]) }
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: size, context: context,
      base: Double(try c.number("rope_theta", default: 10000)), pairing: .halves)
    // llama.cpp adds the 1 when it writes the file.
    let offset: Float = c.format == .gguf ? 0 : 1
    func norm(_ name: String) throws -> Norm { try c.rmsNorm(name, width, epsilon, offset: offset) }

    var options = AttentionOptions()
    var windows = [Int?](repeating: nil, count: layerCount)
    if isSecond {
      // GGUF has no field for it: the size of a head, but for the model of 27 billion, whose 46 layers tell.
      let scalar = Float(layerCount == 46 ? width / heads : size)
      options.scale = 1 / (try c.number("query_pre_attn_scalar", default: scalar)).squareRoot()
      options.softcap = try c.cap("attn_logit_softcapping", default: 50)
      let window = try c.size("sliding_window", default: 4096)
      windows = try c.layerKinds(layerCount) { $0 % 2 == 0 }.map { $0 ? window : nil }
    }

    let layers = try c.layers(layerCount) { n in
      let name = "model.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try norm("\(name).input_layernorm"),
        qkv: try c.projection(
          [
            ("\(name).self_attn.q_proj", heads * size), ("\(name).self_attn.k_proj", keyHeads * size),
            ("\(name).self_attn.v_proj", keyHeads * size),
          ], inputs: width),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try norm(
          "\(name).\(isSecond ? "pre_feedforward_layernorm" : "post_attention_layernorm")"),
        feedForward: try c.gatedFeedForward("\(name).mlp", width: width, inner: inner, .gelu),
        attentionPostNorm: isSecond ? try norm("\(name).post_attention_layernorm") : nil,
        feedForwardPostNorm: isSecond ? try norm("\(name).post_feedforward_layernorm") : nil,
        window: windows[n])
    }
    return try DecoderStack(
      on: backend, context: context, isSecond ? .sandwich : .preNorm,
      .init(tokens: tokens, scale: Float(width).squareRoot()),
      .init(heads: heads, keyHeads: keyHeads, size: size, rotary: rotary, options: options), layers,
      .init(
        norm: try norm("model.norm"),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens,
        softcap: isSecond ? try c.cap("final_logit_softcapping", default: 30) : nil))
  }
}

extension Checkpoint {
  /// A bound of scores; nil where config.json says null, `fallback` where the file says nothing.
  func cap(_ name: String, default fallback: Float) throws -> Float? {
    if self[name]?.isNull == true { return nil }
    let cap = try number(name, default: fallback)
    guard cap > 0 else { throw error("the setting \(name) is \(cap), expected a number above 0") }
    return cap
  }
}
