import FlashCL
import FlashCLFiles

/// Gemma, Gemma 2 and Gemma 3 (text): Llama's layers with scaled embeddings, gains stored as their distance from 1, and a GELU
/// gate.
///
/// Gemma 2 norms what each half gives too, bounds the scores and the logits, and lets every other layer see a window only.
/// Gemma 3 norms each head's q and k in place of the bounds; five of six layers see a window, and turn by a base of their own.
/// Of Gemma 3's models of text and images the decoder is loaded. Sources: Gemma Team 2024a, 2024b, 2025.
enum Gemma {
  static let names = [
    "GemmaForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Gemma3ForConditionalGeneration",
  ]

  static let gguf = {
    var names = Llama.gguf
    names.arrangements = arranged(["input_layernorm", "post_attention_layernorm"])
    names.classes = ["GemmaForCausalLM"]
    names.fixed = activation
    names.facts = { ["attention.key_length": $0.given("head_dim") ?? 256] }
    names.members = { _ in ["architectures": ["GemmaForCausalLM"], "model_type": "gemma"] }
    return names
  }()

  static let gguf2 = {
    let parts = [
      "input_layernorm": "attn_norm", "post_attention_layernorm": "post_attention_norm",
      "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
    ]
    var names = gguf.merging(
      settings: [
        "attn_logit_softcapping": "attn_logit_softcapping",
        "final_logit_softcapping": "final_logit_softcapping",
      ], tensors: Dictionary(uniqueKeysWithValues: parts.map { ("model.layers.{}.\($0)", "blk.{}.\($1)") }))
    names.arrangements = arranged(parts.keys.sorted())
    names.classes = ["Gemma2ForCausalLM"]
    names.facts = { config in
      let size = config["head_dim"]?.int ?? 256
      let (layers, heads) = (config["num_hidden_layers"]?.int ?? 0, config["num_attention_heads"]?.int ?? 1)
      let scalar = scalar(layers: layers, width: config["hidden_size"]?.int ?? 0, heads: heads, size: size)
      if let found = config["query_pre_attn_scalar"]?.double, found != Double(scalar) {
        throw ModelError("GGUF cannot tell query_pre_attn_scalar \(found): it takes \(scalar) for granted")
      }
      for name in ["attn_logit_softcapping", "final_logit_softcapping"] where config[name]?.isNull == true {
        throw ModelError("GGUF cannot tell that \(name) is null: it takes a bound for granted")
      }
      for (place, kind) in (config["layer_types"]?.array ?? []).enumerated()
      where kind.string != (place % 2 == 0 ? "sliding_attention" : "full_attention") {
        throw ModelError("GGUF cannot tell layer_types: it takes a window in every other layer for granted")
      }
      return [
        "attention.key_length": JSON(size),
        "attention.sliding_window": config.given("sliding_window") ?? 4096,
      ]
    }
    names.members = { file in
      func count(_ name: String) -> Int { file["gemma2.\(name)"]?.int ?? 0 }
      let scalar = scalar(
        layers: count("block_count"), width: count("embedding_length"), heads: count("attention.head_count"),
        size: count("attention.key_length"))
      return [
        "architectures": ["Gemma2ForCausalLM"], "model_type": "gemma2", "query_pre_attn_scalar": JSON(scalar),
      ]
    }
    return names
  }()

  static let gguf3 = {
    let headNorms = ["self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"]
    var names = gguf2.merging(
      settings: [
        "rope_local_base_freq": "rope.freq_base_swa",
        "sliding_window_pattern": "attention.sliding_window_pattern",
      ],
      tensors: Dictionary(
        uniqueKeysWithValues: headNorms.map { ("model.layers.{}.\($0)", "blk.{}.\($1)") }))
    names.settings["attn_logit_softcapping"] = nil
    names.arrangements.merge(arranged(headNorms.keys.sorted())) { $1 }
    names.classes = ["Gemma3ForCausalLM"]
    names.facts = { config in
      let size = config["head_dim"]?.int ?? 256
      let scalar = scalar(
        layers: config["num_hidden_layers"]?.int ?? 0, width: config["hidden_size"]?.int ?? 0,
        heads: config["num_attention_heads"]?.int ?? 8, size: size, largest: 62)
      let found = config["query_pre_attn_scalar"]?.double ?? 256
      guard found == Double(scalar) else {
        throw ModelError("GGUF cannot tell query_pre_attn_scalar \(found): it takes \(scalar) for granted")
      }
      for (place, kind) in (config["layer_types"]?.array ?? []).enumerated()
      where kind.string != (place % 6 == 5 ? "full_attention" : "sliding_attention") {
        throw ModelError("GGUF cannot tell layer_types: it takes a window in five of six for granted")
      }
      return [
        "attention.key_length": JSON(size), "rope.freq_base": config.given("rope_theta") ?? 1_000_000,
        "rope.freq_base_swa": config.given("rope_local_base_freq") ?? 10000,
        "attention.sliding_window": config.given("sliding_window") ?? 4096,
      ]
    }
    names.members = { file in
      func count(_ name: String) -> Int { file["gemma3.\(name)"]?.int ?? 0 }
      let scalar = scalar(
        layers: count("block_count"), width: count("embedding_length"), heads: count("attention.head_count"),
        size: count("attention.key_length"), largest: 62)
      return [
        "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text",
        "query_pre_attn_scalar": JSON(scalar),
      ]
    }
    return names
  }()

  private static let activation: [(name: String, values: [JSON])] = [
    ("hidden_activation", ["gelu_pytorch_tanh"]), ("hidden_act", ["gelu_pytorch_tanh", "gelu"]),
  ]

  /// The norms of a layer, and the last one.
  private static func arranged(_ norms: [String]) -> [String: GGUFNames.Arrangement] {
    let names = ["model.norm"] + norms.map { "model.layers.{}.\($0)" }
    return Dictionary(uniqueKeysWithValues: names.map { ($0, .fromOne) })
  }

  /// What scores are divided by the root of, for which GGUF has no field: the size of a head, but for the models of 27 billion,
  /// whose layers tell, 46 of Gemma 2 and 62 of Gemma 3.
  private static func scalar(layers: Int, width: Int, heads: Int, size: Int, largest: Int = 46) -> Int {
    layers == largest ? width / max(heads, 1) : size
  }

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let isSecond = c.architecture.lowercased().hasPrefix("gemma2")
    let isThird = c.architecture.lowercased().hasPrefix("gemma3")
    let isSandwich = isSecond || isThird
    let width = try c.size("hidden_size")
    // The published files of Gemma 3 leave out what is transformers' default.
    let isSparse = isThird && c.format == .huggingFace
    let heads = try c.size("num_attention_heads", default: isSparse ? 8 : nil)
    let keyHeads = try c.keyHeads(of: heads, default: isSparse ? 4 : nil)
    let size = try c.size("head_dim", default: 256)
    let layerCount = try c.size("num_hidden_layers")
    let inner = try c.size("intermediate_size")
    let context = try c.size("max_position_embeddings", default: isSparse ? 131_072 : nil)
    let epsilon = try c.number("rms_norm_eps", default: isSparse ? 1e-6 : nil)
    // Files before the correction of April 2024 say "gelu" in hidden_act, and mean the form by tanh.
    try c.require("hidden_activation", ["gelu_pytorch_tanh"])
    if !c.isSet("hidden_activation") { try c.require("hidden_act", ["gelu_pytorch_tanh", "gelu"]) }
    let vocabulary = try c.rows("model.embed_tokens.weight", columns: width)
    let tokens = try c.weight("model.embed_tokens.weight", [vocabulary, width])
    let rotary = try RotaryPositions(
      c, on: backend, rotary: size, context: context,
      base: Double(try c.number("rope_theta", default: isThird ? 1_000_000 : 10000)), pairing: .halves)
    let windowRotary =
      isThird
      ? try RotaryPositions(
        c, on: backend, rotary: size, context: context,
        base: Double(try c.number("rope_local_base_freq", default: 10000)), pairing: .halves, isScaled: false)
      : nil
    // llama.cpp adds the 1 when it writes the file.
    let offset: Float = c.format == .gguf ? 0 : 1
    func norm(_ name: String, _ count: Int? = nil) throws -> Norm {
      try c.rmsNorm(name, count ?? width, epsilon, offset: offset)
    }

    var options = AttentionOptions()
    var windows = [Int?](repeating: nil, count: layerCount)
    if isSandwich {
      let fallback =
        c.format == .gguf
        ? scalar(
          layers: layerCount, width: width, heads: heads, size: size, largest: isSecond ? 46 : 62) : 256
      let scalar = try c.number("query_pre_attn_scalar", default: Float(fallback))
      guard scalar > 0 else { throw c.error("query_pre_attn_scalar is \(scalar), expected a number above 0") }
      options.scale = 1 / scalar.squareRoot()
      options.softcap = try c.cap("attn_logit_softcapping", default: isSecond ? 50 : nil)
      // transformers reads the first in Gemma 2 alone, and the second makes no decoder.
      if isThird, options.softcap != nil { throw c.error("attn_logit_softcapping is not supported") }
      if try isThird && c.flag("use_bidirectional_attention", default: false) {
        throw c.error("use_bidirectional_attention is not supported")
      }
      let period = isSecond ? 2 : try c.size("sliding_window_pattern", default: 6)
      // Files of Gemma 3 without a window see all keys.
      let window = try c.window("sliding_window", default: isThird && c.format == .gguf ? nil : 4096)
      windows = try c.layerKinds(layerCount) { ($0 + 1) % period != 0 }.map { $0 ? window : nil }
    }
    let shape = DecoderStack.AttentionShape(
      heads: heads, keyHeads: keyHeads, size: size, rotary: rotary, windowRotary: windowRotary,
      options: options)

    let layers = try c.layers(layerCount) { n in
      let name = "model.layers.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try norm("\(name).input_layernorm"),
        qkv: try c.queryKeyValue(
          "\(name).self_attn", shape, width: width,
          norms: isThird
            ? (try norm("\(name).self_attn.q_norm", size), try norm("\(name).self_attn.k_norm", size)) : nil),
        out: try c.projection("\(name).self_attn.o_proj", [width, heads * size]),
        feedForwardNorm: try norm(
          "\(name).\(isSandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm")"),
        feedForward: try c.gatedFeedForward("\(name).mlp", width: width, inner: inner, .geluTanh),
        attentionPostNorm: isSandwich ? try norm("\(name).post_attention_layernorm") : nil,
        feedForwardPostNorm: isSandwich ? try norm("\(name).post_feedforward_layernorm") : nil,
        window: windows[n])
    }
    return try DecoderStack(
      on: backend, context: context, isSandwich ? .sandwich : .preNorm,
      .init(tokens: tokens, scale: Float(width).squareRoot()), shape, layers,
      .init(
        norm: try norm("model.norm"),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens,
        softcap: isSandwich ? try c.cap("final_logit_softcapping", default: isSecond ? 30 : nil) : nil))
  }
}

extension Checkpoint {
  /// A bound of scores; nil where config.json says null, `fallback` where the file says nothing.
  func cap(_ name: String, default fallback: Float?) throws -> Float? {
    if self[name]?.isNull == true { return nil }
    let cap = try number(name, default: fallback ?? .infinity)
    if cap == .infinity { return nil }
    guard cap > 0 else { throw error("the setting \(name) is \(cap), expected a number above 0") }
    return cap
  }
}
