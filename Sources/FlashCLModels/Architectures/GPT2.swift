import FlashCL
import FlashCLFiles

/// GPT-2, and GPT before it: decoders with learned positions, fused q, k, v and a GELU (tanh) feed-forward layer.
///
///     GPT-2   x = x + out(attention(q, k, v)),  [q k v] = layerNorm(x) · W + b;  x = x + project(gelu(layerNorm(x) · W + b))
///     GPT     x = layerNorm(x + out(attention(q, k, v))),  x = layerNorm(x + project(gelu(x · W + b)))
///
/// Folders keep `Conv1D` weights, which are `[inputs, outputs]`; GGUF files, of GPT-2 alone, do not. Sources: Radford et al.
/// 2018, 2019.
enum GPT2 {
  static let names = ["GPT2LMHeadModel", "GPT2Model"]
  static let firstNames = ["OpenAIGPTLMHeadModel", "OpenAIGPTModel"]

  static let gguf = GGUFNames(
    settings: [
      "n_embd": "embedding_length", "n_layer": "block_count", "n_head": "attention.head_count",
      "n_inner": "feed_forward_length", "n_positions": "context_length",
      "layer_norm_epsilon": "attention.layer_norm_epsilon",
    ],
    tensors: [
      "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output",
      "h.{}.ln_1": "blk.{}.attn_norm", "h.{}.attn.c_attn": "blk.{}.attn_qkv",
      "h.{}.attn.c_proj": "blk.{}.attn_output", "h.{}.ln_2": "blk.{}.ffn_norm",
      "h.{}.mlp.c_fc": "blk.{}.ffn_up", "h.{}.mlp.c_proj": "blk.{}.ffn_down",
    ],
    arrangements: [
      "h.{}.attn.c_attn": .transposed, "h.{}.attn.c_proj": .transposed, "h.{}.mlp.c_fc": .transposed,
      "h.{}.mlp.c_proj": .transposed,
    ],
    classes: names,
    fixed: [
      ("activation_function", ["gelu_new", "gelu_pytorch_tanh"]), ("scale_attn_weights", [true]),
      ("scale_attn_by_inverse_layer_idx", [false]),
    ],
    prefix: "transformer.",
    members: { _ in ["architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"] })

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let isFirst = firstNames.contains(c.architecture)
    let (table, places) = isFirst ? ("tokens_embed", "positions_embed") : ("wte", "wpe")
    let width = try c.size("n_embd")
    let heads = try c.size("n_head")
    let inner = try isFirst ? 4 * width : c.size("n_inner", default: 4 * width)
    let context = try c.size("n_positions")
    let epsilon = try c.number("layer_norm_epsilon")
    let activation =
      isFirst ? try firstActivation(c) : try c.activation("activation_function", gguf: .geluTanh)
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    // Folders hold the model with or without the language head's prefix.
    let prefix = c.has("transformer.\(table).weight") ? "transformer." : ""
    let vocabulary = try c.rows("\(prefix)\(table).weight", columns: width)
    let tokens = try c.weight("\(prefix)\(table).weight", [vocabulary, width])
    let order: WeightSource.Order = c.format == .gguf ? .outputsByInputs : .inputsByOutputs

    let layers = try c.layers(c.size("n_layer")) { n in
      let name = "\(prefix)h.\(n)"
      func linear(_ part: String, _ shape: [Int]) throws -> Projection {
        try c.projection("\(name).\(part)", shape, order: order, needsBias: true)
      }
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).ln_1", width, epsilon),
        qkv: try linear("attn.c_attn", [3 * width, width]), out: try linear("attn.c_proj", [width, width]),
        feedForwardNorm: try c.layerNorm("\(name).ln_2", width, epsilon),
        feedForward: .plain(
          up: try linear("mlp.c_fc", [inner, width]), down: try linear("mlp.c_proj", [width, inner]),
          activation))
    }
    return try DecoderStack(
      on: backend, context: context, isFirst ? .postNorm : .preNorm,
      .init(tokens: tokens, positions: try c.weight("\(prefix)\(places).weight", [context, width])),
      .init(heads: heads, keyHeads: heads, size: width / heads), layers,
      .init(
        norm: isFirst ? nil : try c.layerNorm("\(prefix)ln_f", width, epsilon),
        head: try c.optionalWeight("lm_head.weight", [vocabulary, width]) ?? tokens))
  }

  /// GPT's "gelu" is the form by tanh.
  private static func firstActivation(_ c: Checkpoint) throws -> Activation {
    switch try c.choice("afn", ["gelu", "relu", "silu", "swish"]) {
    case "relu": .relu
    case "gelu": .geluTanh
    default: .silu
    }
  }
}
