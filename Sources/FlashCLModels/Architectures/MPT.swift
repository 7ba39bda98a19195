import FlashCL
import FlashCLFiles

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// MPT: linear biases by distance, layer norms and linear layers without biases.
///
///     x = x + out(attention(q, k, v) with ALiBi),  x = x + down(gelu(up(layerNorm(x))))
///
/// With `clip_qkv` q, k and v are bounded. Source: MosaicML 2023.
enum MPT {
  static let names = ["MptForCausalLM", "MPTForCausalLM"]

  static let gguf = GGUFNames(
    settings: [
      "d_model": "embedding_length", "n_layers": "block_count", "n_heads": "attention.head_count",
      "max_seq_len": "context_length", "layer_norm_epsilon": "attention.layer_norm_epsilon",
      "alibi_bias_max": "attention.max_alibi_bias", "clip_qkv": "attention.clamp_kqv",
    ],
    tensors: [
      "transformer.wte": "token_embd", "transformer.norm_f": "output_norm", "lm_head": "output",
      "transformer.blocks.{}.norm_1": "blk.{}.attn_norm",
      "transformer.blocks.{}.attn.Wqkv": "blk.{}.attn_qkv",
      "transformer.blocks.{}.attn.out_proj": "blk.{}.attn_output",
      "transformer.blocks.{}.norm_2": "blk.{}.ffn_norm",
      "transformer.blocks.{}.ffn.up_proj": "blk.{}.ffn_up",
      "transformer.blocks.{}.ffn.down_proj": "blk.{}.ffn_down",
    ],
    classes: ["MptForCausalLM", "MPTForCausalLM"],
    facts: { config in
      let attention = config["attn_config"]
      if attention?["alibi"]?.bool == false { throw ModelError("GGUF cannot tell learned positions") }
      var facts: [String: JSON] = [
        "attention.layer_norm_epsilon": config.given("layer_norm_epsilon") ?? 1e-5,
        "attention.max_alibi_bias": attention?.given("alibi_bias_max") ?? 8,
      ]
      facts["attention.clamp_kqv"] = attention?.given("clip_qkv")
      if let scale = attention?.given("softmax_scale") {
        throw ModelError("GGUF cannot tell softmax_scale \(scale.text.dropLast())")
      }
      return facts
    },
    members: { file in
      func number(_ name: String) -> JSON? { file["mpt.\(name)"]?.double.map { JSON(Float($0)) } }
      let inner = file["mpt.feed_forward_length"]?.int ?? 4
      return [
        "architectures": ["MptForCausalLM"], "model_type": "mpt",
        "expansion_ratio": JSON(inner / max(file["mpt.embedding_length"]?.int ?? 1, 1)),
        "attn_config": [
          "alibi": true, "alibi_bias_max": number("attention.max_alibi_bias") ?? 8,
          "clip_qkv": number("attention.clamp_kqv") ?? .null,
        ],
      ]
    })

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("d_model")
    let heads = try c.size("n_heads")
    let size = width / heads
    let inner = width * (try c.size("expansion_ratio", default: 4))
    let context = try c.size("max_seq_len")
    let epsilon = try c.number("layer_norm_epsilon", default: 1e-5)
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    let attention = c["attn_config"]
    let clip = try attention?["clip_qkv"]?.double ?? Double(try c.number("clip_qkv", default: 0))
    guard clip.isFinite, clip >= 0 else {
      throw c.error("clip_qkv is \(clip), expected a number from 0 on")
    }
    for name in ["qk_ln", "prefix_lm"] where attention?[name]?.bool == true {
      throw c.error("attn_config.\(name) is not supported")
    }
    for name in ["position_embd.weight", "blk.0.attn_q_norm.weight"] where c.has(name) {
      throw c.error("the tensor \(name) belongs to a kind of MPT that is not supported")
    }
    let greatest =
      try attention?["alibi_bias_max"]?.double ?? Double(try c.number("alibi_bias_max", default: 8))
    guard attention?["alibi"]?.bool != false, greatest > 0 else {
      throw c.error("learned positions (alibi false, or alibi_bias_max 0) are not supported")
    }
    let slopes = slopes(heads: heads, greatest: greatest)
    let prefix = "transformer"
    let vocabulary = try c.rows("\(prefix).wte.weight", columns: width)
    let tokens = try c.weight("\(prefix).wte.weight", [vocabulary, width])

    var options = AttentionOptions(alibi: .slopes(try backend.tensor(slopes, [heads])))
    options.scale = attention?["softmax_scale"]?.double.map { Float($0) }
    let shape = DecoderStack.AttentionShape(heads: heads, keyHeads: heads, size: size, options: options)

    let layers = try c.layers(c.size("n_layers")) { n in
      let name = "\(prefix).blocks.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).norm_1", width, epsilon),
        qkv: clip == 0
          ? try c.projection("\(name).attn.Wqkv", [3 * width, width])
          : try BoundedQueryKeyValue(c, "\(name).attn.Wqkv", shape, width: width, bound: Float(clip)),
        out: try c.projection("\(name).attn.out_proj", [width, width]),
        feedForwardNorm: try c.layerNorm("\(name).norm_2", width, epsilon),
        feedForward: .plain(
          up: try c.projection("\(name).ffn.up_proj", [inner, width]),
          down: try c.projection("\(name).ffn.down_proj", [width, inner]), .gelu))
    }
    return try DecoderStack(
      on: backend, context: context, .preNorm, .init(tokens: tokens), shape, layers,
      .init(
        norm: try c.layerNorm("\(prefix).norm_f", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }

  /// 2^(−greatest · h / n), h = 1 … n, with n the heads' next power of two; where they are fewer, first every other one from
  /// the second on, then the rest.
  static func slopes(heads: Int, greatest: Double) -> [Float] {
    var n = 1
    while n < heads { n *= 2 }
    let all = (1...n).map { Float(exp2(-greatest * Double($0) / Double(n))) }
    guard n != heads else { return all }
    let odd = stride(from: 1, to: n, by: 2).map { all[$0] }
    let even = stride(from: 0, to: n, by: 2).map { all[$0] }
    return Array((odd + even).prefix(heads))
  }
}
