import FlashCL

/// T5: an encoder–decoder with RMS norms before its layers, no biases, and positions as distances in buckets alone.
///
///     x = x + out(softmax(q · kᵀ + bias[bucket(j − i)]) · v),   scores without 1/√size
///     x = x + down(relu(up(x))), or down(gelu(gate(x)) · up(x))
///
/// The biases by distance belong to a stack's first layer and serve all of them; attention to the source has none. A tied
/// head reads states that are multiplied by width^−½. Loads `T5ForConditionalGeneration` (Flan-T5 too) and
/// `MT5ForConditionalGeneration`. Sources: Raffel et al. 2020; Chung et al. 2022.
public final class T5: EncoderDecoder {
  struct AttentionLayer {
    /// Of self-attention q, k and v, `[3 · inner, width]`; of attention to the source q alone.
    let input: Weight
    let source: Weight?  // k and v, [2 · inner, width]
    let out: Weight  // [width, inner]
    let norm: Tensor  // [width]
  }

  struct Layer {
    let own: AttentionLayer
    let cross: AttentionLayer?
    let up: Weight  // [feedForward, width], or [2 · feedForward, width] with the gates first
    let down: Weight  // [width, feedForward]
    let norm: Tensor  // [width]
  }

  struct Stack {
    let layers: [Layer]
    let distances: Tensor  // [heads, 2 · distance + 1]
    let norm: Tensor  // [width]
  }

  enum FeedForward: String, CaseIterable {
    case relu
    case gelu = "gated-gelu"
    case silu = "gated-silu"
  }

  static let gguf = GGUFNames(
    settings: [
      "d_model": "embedding_length", "num_heads": "attention.head_count", "d_kv": "attention.key_length",
      "d_ff": "feed_forward_length", "num_layers": "block_count",
      "num_decoder_layers": "decoder_block_count",
      "layer_norm_epsilon": "attention.layer_norm_rms_epsilon",
      "relative_attention_num_buckets": "attention.relative_buckets_count",
    ],
    tensors: ggufTensors())

  private static func ggufTensors() -> [String: String] {
    var names = [
      "shared": "token_embd", "lm_head": "output", "encoder.final_layer_norm": "enc.output_norm",
      "decoder.final_layer_norm": "dec.output_norm",
    ]
    for (stack, short, last) in [("encoder", "enc", 1), ("decoder", "dec", 2)] {
      let (theirs, ours) = ("\(stack).block.{}.layer", "\(short).blk.{}")
      for name in ["q", "k", "v", "o"] {
        names["\(theirs).0.SelfAttention.\(name)"] = "\(ours).attn_\(name)"
        names["\(theirs).1.EncDecAttention.\(name)"] = "\(ours).cross_attn_\(name)"
      }
      names["\(theirs).0.SelfAttention.relative_attention_bias"] = "\(ours).attn_rel_b"
      names["\(theirs).0.layer_norm"] = "\(ours).attn_norm"
      names["\(theirs).1.layer_norm"] = "\(ours).cross_attn_norm"
      // The encoder's second half is the decoder's third.
      names["\(theirs).\(last).layer_norm"] = "\(ours).ffn_norm"
      for (name, other) in [("wi", "up"), ("wi_0", "gate"), ("wi_1", "up"), ("wo", "down")] {
        names["\(theirs).\(last).DenseReluDense.\(name)"] = "\(ours).ffn_\(other)"
      }
    }
    return names
  }

  public let backend: any Backend
  public let vocabularySize: Int
  public var sourceVocabularySize: Int { vocabularySize }
  /// Distances beyond the last bucket are alike: what attention serves is the only limit.
  public let sourceLength = 1 << 20
  public let targetLength = 1 << 20
  public let cacheShape: CacheShape
  private let heads: Int
  private let inner: Int
  private let epsilon: Float
  private let feedForward: FeedForward
  private let tokens: Weight  // [vocabulary, width]
  private let encoder, decoder: Stack
  private let head: Weight  // [vocabulary, width]

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let width = try c.size("d_model")
    let heads = try c.size("num_heads")
    self.heads = heads
    let size = try c.size("d_kv")
    let inner = heads * size
    self.inner = inner
    let hidden = try c.size("d_ff")
    epsilon = try c.number("layer_norm_epsilon", default: 1e-6)
    let kind = try c.choice("feed_forward_proj", FeedForward.allCases.map(\.rawValue))
    // GGUF has no setting for it: a gate is a gate of GELU.
    let isGated = c.format == .gguf && c.has("encoder.block.0.layer.1.DenseReluDense.wi_0.weight")
    let feedForward = isGated ? .gelu : FeedForward(rawValue: kind) ?? .relu
    self.feedForward = feedForward
    let buckets = try c.size("relative_attention_num_buckets", default: 32)
    let farthest = try c.size("relative_attention_max_distance", default: 128)
    let isTied =
      c.format == .gguf
      ? !c.has("lm_head.weight") : try c.flag("tie_word_embeddings", default: c.architecture.hasPrefix("T5"))
    let layerCounts = (
      encoder: try c.size("num_layers"),
      decoder: try c.size("num_decoder_layers", default: try c.size("num_layers"))
    )
    let table = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"]
    let name = table.first(where: c.has) ?? table[0]
    vocabularySize = try c.rows(name, columns: width)
    tokens = try c.weight(name, [vocabularySize, width])
    head = isTied ? tokens : try c.weight("lm_head.weight", [vocabularySize, width])
    var loaded = 0

    func stack(_ name: String, layers: Int) throws -> Stack {
      let isDecoder = name == "decoder"
      func attention(_ prefix: String, _ kind: String) throws -> AttentionLayer {
        func stacked(_ names: [String]) throws -> Weight {
          try c.stacked(
            names.map { (name: "\(prefix).\(kind).\($0)", outputs: inner) }, inputs: width)
        }
        let ofSource = kind == "EncDecAttention"
        return AttentionLayer(
          input: try stacked(ofSource ? ["q"] : ["q", "k", "v"]),
          source: ofSource ? try stacked(["k", "v"]) : nil,
          out: try c.weight("\(prefix).\(kind).o.weight", [width, inner]),
          norm: try c.vector("\(prefix).layer_norm.weight", width))
      }
      let biases = "\(name).block.0.layer.0.SelfAttention.relative_attention_bias.weight"
      let distances = try T5Bias.table(
        weights: c.floats(biases, [buckets, heads]), buckets: buckets, heads: heads,
        bidirectional: !isDecoder, maxDistance: farthest)
      // The head's factor goes into the last norm's gains.
      var gains = try c.floats("\(name).final_layer_norm.weight", [width])
      if isDecoder && isTied { gains = gains.map { $0 / Float(width).squareRoot() } }
      return Stack(
        layers: try (0..<layers).map { n in
          let prefix = "\(name).block.\(n).layer"
          let last = "\(prefix).\(isDecoder ? 2 : 1)"
          let ups = feedForward == .relu ? ["wi"] : ["wi_0", "wi_1"]
          let layer = Layer(
            own: try attention("\(prefix).0", "SelfAttention"),
            cross: isDecoder ? try attention("\(prefix).1", "EncDecAttention") : nil,
            up: try c.stacked(
              ups.map { (name: "\(last).DenseReluDense.\($0)", outputs: hidden) }, inputs: width),
            down: try c.weight("\(last).DenseReluDense.wo.weight", [width, hidden]),
            norm: try c.vector("\(last).layer_norm.weight", width))
          loaded += 1
          c.progress?(Double(loaded) / Double(layerCounts.encoder + layerCounts.decoder))
          return layer
        },
        distances: try backend.tensor(distances, [heads, distances.count / heads]),
        norm: try backend.tensor(gains, [width]))
    }
    encoder = try stack("encoder", layers: layerCounts.encoder)
    decoder = try stack("decoder", layers: layerCounts.decoder)
    cacheShape = CacheShape(layers: layerCounts.decoder, heads: heads, keySize: size, valueSize: size)
  }

  // MARK: - Encoder

  public func encode(_ sources: TokenBatch, observe: Observer?) throws -> Tensor {
    let packed = try sources.packed(on: backend, vocabulary: vocabularySize, context: sourceLength)
    let options = AttentionOptions(scale: 1, relative: encoder.distances)
    var x = try backend.embedding(packed.ids, table: tokens)
    try observe?("encoder embedding", x)
    for (n, layer) in encoder.layers.enumerated() {
      let qkv = try backend.linear(normalised(x, layer.own.norm), layer.own.input, phase: .prefill)
      let attended = try backend.attention(
        part(qkv, 0), part(qkv, 1), part(qkv, 2), heads: heads, packed, options)
      x = try backend.linear(attended, layer.own.out, plus: x, phase: .prefill)
      x = try fed(x, layer, .prefill)
      try observe?("encoder layer \(n)", x)
    }
    return try normalised(x, encoder.norm)
  }

  public func crossKeys(_ encoded: Tensor) throws -> [CrossKeys] {
    try decoder.layers.compactMap(\.cross?.source).map { source in
      let kv = try backend.linear(encoded, source, phase: .prefill)
      return CrossKeys(keys: part(kv, 0), values: part(kv, 1))
    }
  }

  // MARK: - Decoder

  public func hidden(_ step: Step, _ caches: [KeyValueCache], _ sources: CrossStep, observe: Observer?) throws
    -> Tensor
  {
    let phase = step.linearPhase
    let options = AttentionOptions(
      mask: .causal(.lowerRight), scale: 1, relative: decoder.distances, relativeAlignment: .lowerRight)
    var x = try backend.embedding(step.ids, table: tokens)
    try observe?("decoder embedding", x)
    for (n, layer) in decoder.layers.enumerated() {
      let qkv = try backend.linear(normalised(x, layer.own.norm), layer.own.input, phase: phase)
      let attended = try backend.attention(
        part(qkv, 0), part(qkv, 1), part(qkv, 2), heads: heads, over: caches[n], step, options)
      x = try backend.linear(attended, layer.own.out, plus: x, phase: phase)
      if let cross = layer.cross {
        let q = try backend.linear(normalised(x, cross.norm), cross.input, phase: phase)
        let attended = try backend.attention(
          q, heads: heads, to: n, of: sources, AttentionOptions(scale: 1))
        x = try backend.linear(attended, cross.out, plus: x, phase: phase)
      }
      x = try fed(x, layer, phase)
      try observe?("decoder layer \(n)", x)
    }
    return try normalised(x, decoder.norm)
  }

  public func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    try backend.linear(hidden, head, phase: phase)
  }

  // MARK: - What both have

  private func part(_ x: Tensor, _ index: Int) -> Tensor { x.slice(1, index * inner..<(index + 1) * inner) }

  private func normalised(_ x: Tensor, _ gain: Tensor) throws -> Tensor {
    try backend.rmsNorm(x, gain: gain, epsilon: epsilon)
  }

  /// x + down(activation(up(norm(x)))).
  private func fed(_ x: Tensor, _ layer: Layer, _ phase: Phase) throws -> Tensor {
    let up = try backend.linear(
      normalised(x, layer.norm), layer.up, activation: feedForward == .relu ? .relu : .none, phase: phase)
    let active =
      switch feedForward {
      case .relu: up
      case .gelu: try backend.geluMultiply(up)
      case .silu: try backend.siluMultiply(up)
      }
    return try backend.linear(active, layer.down, plus: x, phase: phase)
  }
}
