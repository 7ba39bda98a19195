import FlashCL

/// GPT-J: attention and feed-forward layer side by side behind one layer norm, adjacent pairs of a part of each head turned by
/// their positions.
///
///     x = x + out(attention(rope(q), rope(k), v)) + down(gelu(up(n))),  n = layerNorm(x), [q k v] = n · Wᵀ
///
/// Loads `GPTJForCausalLM`; llama.cpp has no such files. Source: Wang, Komatsuzaki 2021.
enum GPTJ {
  static let names = ["GPTJForCausalLM"]

  static func load(_ c: Checkpoint, on backend: any Backend) throws -> DecoderStack {
    let width = try c.size("n_embd")
    let heads = try c.size("n_head")
    let size = width / heads
    let inner = c.isSet("n_inner") ? try c.size("n_inner") : 4 * width
    let context = try c.size("n_positions")
    let epsilon = try c.number("layer_norm_epsilon")
    let activation = try c.activation("activation_function")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    let vocabulary = try c.rows("transformer.wte.weight", columns: width)
    let rotary = try RotaryPositions(
      c, on: backend, rotary: try c.size("rotary_dim", default: size), context: context, base: 10000,
      pairing: .adjacent)

    let layers = try c.layers(c.size("n_layer")) { n in
      let name = "transformer.h.\(n)"
      return DecoderStack.Layer(
        attentionNorm: try c.layerNorm("\(name).ln_1", width, epsilon),
        qkv: try c.projection(
          ["q_proj", "k_proj", "v_proj"].map { ("\(name).attn.\($0)", width) }, inputs: width),
        out: try c.projection("\(name).attn.out_proj", [width, width]), feedForwardNorm: nil,
        feedForward: .plain(
          up: try c.projection("\(name).mlp.fc_in", [inner, width]),
          down: try c.projection("\(name).mlp.fc_out", [width, inner]), activation))
    }
    return try DecoderStack(
      on: backend, context: context, .parallel,
      .init(tokens: try c.weight("transformer.wte.weight", [vocabulary, width])),
      .init(heads: heads, keyHeads: heads, size: size, rotary: rotary), layers,
      .init(
        norm: try c.layerNorm("transformer.ln_f", width, epsilon),
        head: try c.weight("lm_head.weight", [vocabulary, width]),
        bias: c.has("lm_head.bias") ? try c.vector("lm_head.bias", vocabulary) : nil))
  }
}
