import FlashCL

/// GPT-2: pre-norm decoder with learned positions, fused qkv and a GELU (tanh) feed-forward layer.
///
///     x = x + out(attention(q, k, v)),          [q k v] = layerNorm(x) · W + b
///     x = x + project(gelu(layerNorm(x) · W + b))
///
/// Loads `GPT2LMHeadModel` folders, whose `Conv1D` weights are `[inputs, outputs]`, and GGUF files of architecture `gpt2`,
/// whose weights are not. Source: Radford et al. 2019.
public final class GPT2: Decoder {
  struct Layer {
    let norm1Gain, norm1Bias: Tensor  // [width]
    let qkv: Weight  // [3 · width, width]
    let qkvBias: Tensor
    let out: Weight  // [width, width]
    let outBias: Tensor
    let norm2Gain, norm2Bias: Tensor  // [width]
    let up: Weight  // [feedForward, width]
    let upBias: Tensor
    let down: Weight  // [width, feedForward]
    let downBias: Tensor
  }

  public let backend: any Backend
  public let vocabularySize: Int
  public let contextLength: Int
  public let cacheShape: CacheShape
  private let heads: Int
  private let epsilon: Float
  private let activation: Activation
  private let tokens: Weight  // [vocabulary, width]
  private let positions: Weight  // [context, width]
  private let layers: [Layer]
  private let normGain, normBias: Tensor  // [width]
  private let head: Weight  // [vocabulary, width]

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let width = try c.size("n_embd", gguf: "embedding_length")
    heads = try c.size("n_head", gguf: "attention.head_count")
    let layerCount = try c.size("n_layer", gguf: "block_count")
    let feedForward = try c.size("n_inner", gguf: "feed_forward_length", default: 4 * width)
    // Folders hold the model with or without the language head's prefix.
    let prefix = c.has("transformer.wte.weight") ? "transformer." : ""
    let vocabulary = try c.rows("\(prefix)wte.weight", gguf: "token_embd.weight", columns: width)
    vocabularySize = vocabulary
    contextLength = try c.size("n_positions", gguf: "context_length")
    epsilon = try c.number("layer_norm_epsilon", gguf: "attention.layer_norm_epsilon")
    activation = try c.activation("activation_function", gguf: .geluTanh)
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    tokens = try c.weight("\(prefix)wte.weight", gguf: "token_embd.weight", [vocabulary, width])
    positions = try c.weight("\(prefix)wpe.weight", gguf: "position_embd.weight", [contextLength, width])
    normGain = try c.vector("\(prefix)ln_f.weight", gguf: "output_norm.weight", width)
    normBias = try c.vector("\(prefix)ln_f.bias", gguf: "output_norm.bias", width)
    head = try c.optionalWeight("lm_head.weight", gguf: "output.weight", [vocabulary, width]) ?? tokens
    let order: WeightSource.Order = c.format == .gguf ? .outputsByInputs : .inputsByOutputs
    layers = try (0..<layerCount).map { n in
      let (hf, gguf) = ("\(prefix)h.\(n)", "blk.\(n)")
      func linear(_ name: String, _ ggufName: String, _ shape: [Int]) throws -> (Weight, Tensor) {
        (
          try c.weight("\(hf).\(name).weight", gguf: "\(gguf).\(ggufName).weight", shape, order: order),
          try c.vector("\(hf).\(name).bias", gguf: "\(gguf).\(ggufName).bias", shape[0])
        )
      }
      func norm(_ name: String, _ ggufName: String) throws -> (Tensor, Tensor) {
        (
          try c.vector("\(hf).\(name).weight", gguf: "\(gguf).\(ggufName).weight", width),
          try c.vector("\(hf).\(name).bias", gguf: "\(gguf).\(ggufName).bias", width)
        )
      }
      let (norm1, norm2) = (try norm("ln_1", "attn_norm"), try norm("ln_2", "ffn_norm"))
      let qkv = try linear("attn.c_attn", "attn_qkv", [3 * width, width])
      let out = try linear("attn.c_proj", "attn_output", [width, width])
      let up = try linear("mlp.c_fc", "ffn_up", [feedForward, width])
      let down = try linear("mlp.c_proj", "ffn_down", [width, feedForward])
      c.progress?(Double(n + 1) / Double(layerCount))
      return Layer(
        norm1Gain: norm1.0, norm1Bias: norm1.1, qkv: qkv.0, qkvBias: qkv.1, out: out.0, outBias: out.1,
        norm2Gain: norm2.0, norm2Bias: norm2.1, up: up.0, upBias: up.1, down: down.0, downBias: down.1)
    }
    cacheShape = CacheShape(
      layers: layerCount, heads: heads, keySize: width / heads, valueSize: width / heads)
  }

  public func hidden(_ step: Step, _ caches: [KeyValueCache], observe: Observer?) throws -> Tensor {
    var x = try backend.embedding(step.ids, table: tokens)  // [tokens, width]
    try backend.addEmbedding(step.positions, table: positions, to: x)
    try observe?("embedding", x)
    let width = x.columns
    for (n, layer) in layers.enumerated() {
      let normed = try backend.layerNorm(x, gain: layer.norm1Gain, bias: layer.norm1Bias, epsilon: epsilon)
      let qkv = try backend.linear(normed, layer.qkv, bias: layer.qkvBias, phase: step.linearPhase)
      try backend.append(
        keys: qkv.slice(1, width..<2 * width).split(heads),
        values: qkv.slice(1, 2 * width..<3 * width).split(heads), slots: step.slots, to: caches[n])
      let attended = try backend.attention(
        qkv.slice(1, 0..<width), heads: heads, over: caches[n], step,
        AttentionOptions(mask: .causal(.lowerRight)))
      x = try backend.linear(attended, layer.out, bias: layer.outBias, plus: x, phase: step.linearPhase)

      let normed2 = try backend.layerNorm(x, gain: layer.norm2Gain, bias: layer.norm2Bias, epsilon: epsilon)
      let up = try backend.linear(
        normed2, layer.up, bias: layer.upBias, activation: activation, phase: step.linearPhase)
      x = try backend.linear(up, layer.down, bias: layer.downBias, plus: x, phase: step.linearPhase)
      try observe?("layer \(n)", x)
    }
    return try backend.layerNorm(x, gain: normGain, bias: normBias, epsilon: epsilon)
  }

  public func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    try backend.linear(hidden, head, phase: phase)
  }
}
