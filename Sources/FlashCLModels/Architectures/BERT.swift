import FlashCL

/// BERT: post-norm bidirectional encoder with token, position and segment embeddings.
///
///     x = layerNorm(x + out(attention(q, k, v))),   [q k v] = x · Wᵀ + b
///     x = layerNorm(x + project(gelu(x · Wᵀ + b)))
///
/// Loads `BertModel` and `BertForMaskedLM` folders; the masked-token head is there in the latter only. Source: Devlin et
/// al. 2018.
public final class BERT {
  struct Layer {
    let qkv: Weight  // [3 · width, width]
    let qkvBias: Tensor?
    let out: Weight  // [width, width]
    let outBias: Tensor
    let norm1Gain, norm1Bias: Tensor  // [width]
    let up: Weight  // [feedForward, width]
    let upBias: Tensor
    let down: Weight  // [width, feedForward]
    let downBias: Tensor
    let norm2Gain, norm2Bias: Tensor  // [width]
  }

  /// x → gelu(x · Wᵀ + b) → layerNorm → · embeddingᵀ + bias
  struct MaskedTokenHead {
    let dense: Weight  // [width, width]
    let denseBias: Tensor
    let normGain, normBias: Tensor  // [width]
    let decoder: Weight  // [vocabulary, width]
    let decoderBias: Tensor
  }

  public let backend: any Backend
  public let vocabularySize: Int
  public let contextLength: Int
  public let width: Int
  private let heads: Int
  private let epsilon: Float
  private let activation: Activation
  private let tokens: Weight  // [vocabulary, width]
  private let positions: Weight  // [context, width]
  private let segments: Weight  // [segments, width]
  private let normGain, normBias: Tensor  // [width]
  private let layers: [Layer]
  private let maskedTokenHead: MaskedTokenHead?

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let width = try c.size("hidden_size")
    self.width = width
    heads = try c.size("num_attention_heads")
    let layerCount = try c.size("num_hidden_layers")
    let feedForward = try c.size("intermediate_size")
    contextLength = try c.size("max_position_embeddings")
    epsilon = try c.number("layer_norm_eps", default: 1e-12)
    activation = try c.activation("hidden_act")
    guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
    try c.require("position_embedding_type", ["absolute"])
    // BertForMaskedLM keeps the encoder under "bert."; sentence encoders keep it bare.
    let prefix = c.has("bert.embeddings.word_embeddings.weight") ? "bert." : ""
    let vocabulary = try c.rows("\(prefix)embeddings.word_embeddings.weight", columns: width)
    vocabularySize = vocabulary
    tokens = try c.weight("\(prefix)embeddings.word_embeddings.weight", [vocabulary, width])
    positions = try c.weight("\(prefix)embeddings.position_embeddings.weight", [contextLength, width])
    let segmentName = "\(prefix)embeddings.token_type_embeddings.weight"
    segments = try c.weight(segmentName, [try c.rows(segmentName, columns: width), width])

    func norm(_ name: String) throws -> (Tensor, Tensor) {
      (try c.vector("\(name).weight", width), try c.vector("\(name).bias", width))
    }
    (normGain, normBias) = try norm("\(prefix)embeddings.LayerNorm")
    layers = try (0..<layerCount).map { n in
      let hf = "\(prefix)encoder.layer.\(n)"
      func linear(_ name: String, _ shape: [Int]) throws -> (Weight, Tensor) {
        (try c.weight("\(hf).\(name).weight", shape), try c.vector("\(hf).\(name).bias", shape[0]))
      }
      let parts = ["query", "key", "value"].map {
        (hf: "\(hf).attention.self.\($0)", gguf: "", outputs: width)
      }
      let out = try linear("attention.output.dense", [width, width])
      let norm1 = try norm("\(hf).attention.output.LayerNorm")
      let up = try linear("intermediate.dense", [feedForward, width])
      let down = try linear("output.dense", [width, feedForward])
      let norm2 = try norm("\(hf).output.LayerNorm")
      c.progress?(Double(n + 1) / Double(layerCount))
      return Layer(
        qkv: try c.stacked(parts, inputs: width), qkvBias: try c.stackedBias(parts), out: out.0,
        outBias: out.1, norm1Gain: norm1.0, norm1Bias: norm1.1, up: up.0, upBias: up.1, down: down.0,
        downBias: down.1, norm2Gain: norm2.0, norm2Bias: norm2.1)
    }
    if c.has("cls.predictions.transform.dense.weight") {
      let head = "cls.predictions"
      let headNorm = try norm("\(head).transform.LayerNorm")
      maskedTokenHead = MaskedTokenHead(
        dense: try c.weight("\(head).transform.dense.weight", [width, width]),
        denseBias: try c.vector("\(head).transform.dense.bias", width), normGain: headNorm.0,
        normBias: headNorm.1,
        decoder: try c.optionalWeight("\(head).decoder.weight", [vocabulary, width]) ?? tokens,
        decoderBias: try c.vector(c.has("\(head).bias") ? "\(head).bias" : "\(head).decoder.bias", vocabulary)
      )
    } else {
      maskedTokenHead = nil
    }
  }

  /// Hidden states of a batch of token sequences, `[sequences · longest, width]`; rows past a sequence's end are padding.
  ///
  /// Keys past a sequence's length are masked, so that padding changes nothing. Segment ids are 0.
  public func hidden(_ batch: [[Int32]], observe: Observer? = nil) throws -> Tensor {
    let longest = batch.map(\.count).max() ?? 0
    guard longest > 0 else { throw ModelError("there are no tokens to encode") }
    guard longest <= contextLength else {
      throw ModelError("\(longest) tokens do not fit in the model's context of \(contextLength)")
    }
    for id in batch.joined() where id < 0 || id >= vocabularySize {
      throw ModelError("token id \(id) is outside the model's vocabulary of \(vocabularySize)")
    }
    let rows = batch.count * longest
    let ids = batch.flatMap { $0 + [Int32](repeating: 0, count: longest - $0.count) }
    let places = batch.flatMap { _ in (0..<longest).map { Int32($0) } }
    let packed = try backend.tensor(
      ids + places + [Int32](repeating: 0, count: rows) + batch.map { Int32($0.count) },
      [3 * rows + batch.count])
    let lengths = packed.slice(0, 3 * rows..<3 * rows + batch.count)

    let summed = try backend.embedding(packed.slice(0, 0..<rows), table: tokens)
    try backend.addEmbedding(packed.slice(0, rows..<2 * rows), table: positions, to: summed)
    try backend.addEmbedding(packed.slice(0, 2 * rows..<3 * rows), table: segments, to: summed)
    var x = try backend.layerNorm(summed, gain: normGain, bias: normBias, epsilon: epsilon)
    try observe?("embedding", x)
    for (n, layer) in layers.enumerated() {
      let qkv = try backend.linear(x, layer.qkv, bias: layer.qkvBias, phase: .prefill)
      func part(_ index: Int) -> Tensor {
        qkv.slice(1, index * width..<(index + 1) * width).heads(heads, batch: batch.count)
      }
      let attended = try backend.mergedAttention(
        part(0), .dense(keys: part(1), values: part(2), lengths: lengths), phase: .prefill)
      let out = try backend.linear(attended, layer.out, bias: layer.outBias, phase: .prefill)
      x = try backend.layerNorm(out, plus: x, gain: layer.norm1Gain, bias: layer.norm1Bias, epsilon: epsilon)
      let up = try backend.linear(x, layer.up, bias: layer.upBias, activation: activation, phase: .prefill)
      let down = try backend.linear(up, layer.down, bias: layer.downBias, phase: .prefill)
      x = try backend.layerNorm(down, plus: x, gain: layer.norm2Gain, bias: layer.norm2Bias, epsilon: epsilon)
      try observe?("layer \(n)", x)
    }
    return x
  }

  /// Scores of every vocabulary entry for each row of `hidden`, `[rows, vocabulary]`; throws where the file has no
  /// masked-token head.
  public func maskedTokenLogits(_ hidden: Tensor) throws -> Tensor {
    guard let head = maskedTokenHead else {
      throw ModelError("the model has no masked-token head (cls.predictions): it gives hidden states only")
    }
    let dense = try backend.linear(
      hidden, head.dense, bias: head.denseBias, activation: activation, phase: .prefill)
    let normed = try backend.layerNorm(dense, gain: head.normGain, bias: head.normBias, epsilon: epsilon)
    return try backend.linear(normed, head.decoder, bias: head.decoderBias, phase: .prefill)
  }
}
