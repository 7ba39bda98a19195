import FlashCL

/// The stack that decoder-only architectures share: pre-, post- or sandwiched norms, attention over a key-value cache, and a
/// feed-forward layer after it or beside it. An architecture's file says which parts its models have.
///
///     preNorm         x = x + a(n₁(x)),      x = x + f(n₂(x))
///     normedResidual  x = n₁(x) + a(n₁(x)),  x = n₂(x) + f(n₂(x))
///     parallel        x = x + a(n₁(x)) + f(n₂(x)), where n₂ may be n₁
///     postNorm        x = n₁(x + a(x)),      x = n₂(x + f(x))
///     sandwich        x = x + m₁(a(n₁(x))),  x = x + m₂(f(n₂(x)))
///     normedHalves    x = x + n₁(a(x)),      x = x + n₂(f(x))
public final class DecoderStack: Decoder {
  /// Token ids to the residual stream.
  struct Input {
    let tokens: Weight  // [vocabulary, embedding width]
    /// Multiplies the tokens' rows.
    var scale: Float = 1
    /// Added by position.
    var positions: Weight?  // [places, width]
    /// From the embeddings' width to the stack's, where they differ.
    var projection: Weight?  // [width, embedding width]
    var norm: Norm?
  }

  /// The residual stream to logits.
  struct Output {
    var norm: Norm?
    /// Back to the embeddings' width.
    var projection: Weight?  // [embedding width, width]
    let head: Weight  // [vocabulary, width]
    var bias: Tensor?  // [vocabulary]
    /// Bounds logits: c · tanh(logit / c).
    var softcap: Float?
  }

  /// What all layers' attention has in common.
  struct AttentionShape {
    let heads: Int
    let keyHeads: Int
    let size: Int
    var rotary: RotaryPositions?
    /// Of layers with a window, where theirs turn otherwise.
    var windowRotary: RotaryPositions?
    var options = AttentionOptions()
  }

  enum Arrangement { case preNorm, normedResidual, parallel, postNorm, sandwich, normedHalves }

  struct Layer {
    let attentionNorm: Norm
    let qkv: any QueryKeyValue
    let out: Projection  // [width, heads · size]
    /// Nil: what the attention reads feeds this half too.
    let feedForwardNorm: Norm?
    let feedForward: FeedForwardLayer
    /// Of a sandwich: after each half.
    var attentionPostNorm: Norm?
    var feedForwardPostNorm: Norm?
    /// Keys that a token sees, its own counted; nil: all before it.
    var window: Int?
    /// False where queries and keys stay as they are: the layer tells tokens apart by what others made of their positions.
    var turns = true
  }

  public let backend: any Backend
  public var vocabularySize: Int { input.tokens.outputs }
  public let contextLength: Int
  public let unstretchedLength: Int
  public let cacheShape: CacheShape
  private let arrangement: Arrangement
  private let input: Input
  private let attention: AttentionShape
  private let layers: [Layer]
  private let output: Output
  /// A norm that is asked for the sum alone.
  private let adder: Norm

  init(
    on backend: any Backend, context: Int, _ arrangement: Arrangement, _ input: Input,
    _ attention: AttentionShape, _ layers: [Layer], _ output: Output
  ) throws {
    self.backend = backend
    contextLength = attention.rotary?.reach(context) ?? context
    unstretchedLength = attention.rotary?.unstretched(context) ?? context
    cacheShape = CacheShape(
      layers: layers.count, heads: attention.keyHeads, keySize: attention.size, valueSize: attention.size)
    (self.arrangement, self.input, self.attention) = (arrangement, input, attention)
    (self.layers, self.output) = (layers, output)
    let width = input.projection?.outputs ?? input.tokens.inputs
    adder = .rms(
      gain: try backend.tensor([Float](repeating: 1, count: width), [width]), epsilon: 1)
  }

  public func hidden(_ step: Step, _ caches: [KeyValueCache], observe: Observer?) throws -> Tensor {
    var x = try embedded(step)  // [tokens, width]
    try observe?("embedding", x)
    let (tokens, capacity) = (step.longest, step.capacity)
    let rope = try attention.rotary?.table(tokens: tokens, capacity: capacity)
    let windowRope = try attention.windowRotary?.table(tokens: tokens, capacity: capacity) ?? rope
    // Of a sandwich: what the next norm adds to x.
    var pending: Tensor?
    for (n, layer) in layers.enumerated() {
      func attend(_ rows: NormedRows, plus residual: Tensor?) throws -> Tensor {
        try attended(
          rows, plus: residual, layer, caches[n], step,
          !layer.turns ? nil : layer.window == nil ? rope : windowRope)
      }
      func feed(_ rows: NormedRows, plus residual: Tensor?) throws -> Tensor {
        try layer.feedForward(rows, plus: residual, on: backend, phase: step.linearPhase)
      }
      switch arrangement {
      case .preNorm:
        x = try attend(.init(x: x, norm: layer.attentionNorm), plus: x)
        x = try feed(.init(x: x, norm: layer.feedForwardNorm), plus: x)
      case .normedResidual:
        let normed = try layer.attentionNorm(x, on: backend)
        let half = try attend(.init(x: normed), plus: normed)
        let other = try layer.feedForwardNorm?(half, on: backend) ?? half
        x = try feed(.init(x: other), plus: other)
      case .parallel:
        let rows = NormedRows(x: x, norm: layer.attentionNorm)
        let other = layer.feedForwardNorm.map { NormedRows(x: x, norm: $0) }
        x = try feed(other ?? rows, plus: attend(rows, plus: x))
      case .postNorm:
        x = try layer.attentionNorm(attend(.init(x: x), plus: x), on: backend)
        let fed = try feed(.init(x: x), plus: x)
        x = try layer.feedForwardNorm?(fed, on: backend) ?? fed
      case .normedHalves:
        x = try added(x, layer.attentionNorm(attend(.init(x: x), plus: nil), on: backend))
        let fed = try feed(.init(x: x), plus: nil)
        x = try added(x, layer.feedForwardNorm?(fed, on: backend) ?? fed)
      case .sandwich:
        let (sum, normed) = try layer.attentionNorm(x, plus: pending, on: backend)
        let half = try attend(.init(x: normed), plus: nil)
        let joined = try layer.attentionPostNorm?(half, on: backend) ?? half
        let (next, other) = try (layer.feedForwardNorm ?? layer.attentionNorm)(sum, plus: joined, on: backend)
        let fed = try feed(.init(x: other), plus: nil)
        (x, pending) = (next, try layer.feedForwardPostNorm?(fed, on: backend) ?? fed)
      }
      // The sum that the next norm makes, made for whoever looks.
      if let observe { try observe("layer \(n)", pending.map { try added(x, $0) } ?? x) }
    }
    guard let norm = output.norm else { return try pending.map { try added(x, $0) } ?? x }
    return try norm(x, plus: pending, on: backend).normed
  }

  public func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    let states = try output.projection.map { try backend.linear(hidden, $0, phase: phase) } ?? hidden
    let logits = try backend.linear(states, output.head, bias: output.bias, phase: phase)
    return try output.softcap.map { try backend.softcap(logits, $0) } ?? logits
  }

  public func greatest(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    // A bound makes equals of logits that were none.
    guard output.projection == nil, output.softcap == nil else {
      return try backend.argmax(logits(hidden, phase: phase))
    }
    return try backend.linearArgmax(hidden, output.head, bias: output.bias, phase: phase)
  }

  /// x + y, by the norm that adds before it norms.
  private func added(_ x: Tensor, _ y: Tensor) throws -> Tensor { try adder(x, plus: y, on: backend).sum }

  private func embedded(_ step: Step) throws -> Tensor {
    var x = try backend.embedding(step.ids, table: input.tokens, scale: input.scale)
    if let projection = input.projection {
      x = try backend.linear(x, projection, phase: step.linearPhase)
    }
    if let positions = input.positions { try backend.addEmbedding(step.positions, table: positions, to: x) }
    return try input.norm?(x, on: backend) ?? x
  }

  private func attended(
    _ rows: NormedRows, plus residual: Tensor?, _ layer: Layer, _ cache: KeyValueCache, _ step: Step,
    _ rope: RopeTable?
  ) throws -> Tensor {
    let (q, k, v) = try layer.qkv.heads(of: rows, attention, on: backend, phase: step.linearPhase)
    var options = attention.options
    options.mask = layer.window.map { .window(left: $0 - 1, right: 0) } ?? .causal(.lowerRight)
    let mixed = try backend.attention(
      q, k, v, heads: attention.heads, rope: rope, over: cache, step, options)
    return try layer.out(mixed, on: backend, plus: residual, phase: step.linearPhase)
  }
}
