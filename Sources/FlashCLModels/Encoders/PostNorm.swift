import FlashCL

/// The parts that post-norm encoders share.

/// layerNorm(scale · tokens[id] + positions[p] + segments[s]), where the sum may be narrower than the stack.
struct InputEmbeddings {
  let tokens: Weight  // [vocabulary, embedding width]
  let positions: Weight?  // [places, embedding width]
  let segments: Weight?  // [kinds, embedding width]
  let projection: Weight?  // [width, embedding width], before the norm
  let norm: (gain: Tensor, bias: Tensor)  // [width]
  var scale: Float = 1

  /// `places`: nil where there is no table of positions.
  init(_ c: Checkpoint, _ prefix: String, width: Int, inner: Int? = nil, places: Int?, hasSegments: Bool)
    throws
  {
    let inner = inner ?? width
    let name = "\(prefix).word_embeddings.weight"
    tokens = try c.weight(name, [try c.rows(name, columns: inner), inner])
    positions = try places.map { try c.weight("\(prefix).position_embeddings.weight", [$0, inner]) }
    let kinds = "\(prefix).token_type_embeddings.weight"
    segments = hasSegments ? try c.weight(kinds, [try c.rows(kinds, columns: inner), inner]) : nil
    projection = inner == width ? nil : try c.weight("\(prefix).embed_proj.weight", [width, inner])
    norm = try c.norm("\(prefix).LayerNorm", width)
  }

  /// Kinds of segments.
  var kinds: Int { segments?.outputs ?? 1 }

  func callAsFunction(_ batch: PackedTokens, epsilon: Float, on backend: any Backend) throws -> Tensor {
    var sum = try backend.embedding(batch.ids, table: tokens, scale: scale)
    if let positions { try backend.addEmbedding(batch.positions, table: positions, to: sum) }
    if let segments { try backend.addEmbedding(batch.segments, table: segments, to: sum) }
    if let projection { sum = try backend.linear(sum, projection, phase: .prefill) }
    return try backend.layerNorm(sum, gain: norm.gain, bias: norm.bias, epsilon: epsilon)
  }
}

/// What ends each half of a layer: layerNorm(x + y · Wᵀ + b).
struct PostNorm {
  let weight: Weight  // [width, inputs]
  let bias: Tensor?  // [width]
  let norm: (gain: Tensor, bias: Tensor)  // [width]
  let epsilon: Float

  init(weight: Weight, bias: Tensor?, norm: (gain: Tensor, bias: Tensor), epsilon: Float) {
    (self.weight, self.bias, self.norm, self.epsilon) = (weight, bias, norm, epsilon)
  }

  init(_ c: Checkpoint, _ linear: String, norm: String, width: Int, inputs: Int, epsilon: Float) throws {
    self.init(
      weight: try c.weight("\(linear).weight", [width, inputs]), bias: try c.vector("\(linear).bias", width),
      norm: try c.norm(norm, width), epsilon: epsilon)
  }

  func callAsFunction(_ y: Tensor, plus x: Tensor, on backend: any Backend) throws -> Tensor {
    let out = try backend.linear(y, weight, bias: bias, phase: .prefill)
    return try backend.layerNorm(out, plus: x, gain: norm.gain, bias: norm.bias, epsilon: epsilon)
  }
}

/// layerNorm(x + down(activation(up(x)))).
struct FeedForward {
  let up: Weight  // [inner, width]
  let bias: Tensor  // [inner]
  let activation: Activation
  let down: PostNorm

  init(
    _ c: Checkpoint, up: String, down: String, norm: String, width: Int, inner: Int, activation: Activation,
    epsilon: Float
  ) throws {
    self.up = try c.weight("\(up).weight", [inner, width])
    bias = try c.vector("\(up).bias", inner)
    self.activation = activation
    self.down = try PostNorm(c, down, norm: norm, width: width, inputs: inner, epsilon: epsilon)
  }

  func callAsFunction(_ x: Tensor, on backend: any Backend) throws -> Tensor {
    let inner = try backend.linear(x, up, bias: bias, activation: activation, phase: .prefill)
    return try down(inner, plus: x, on: backend)
  }
}

/// A layer of BERT's family: one projection to queries, keys and values, an attention of the model's own, what ends it.
struct EncoderLayer {
  let qkv: Weight  // [3 · width, width]
  let qkvBias: Tensor?  // [3 · width]
  let out: PostNorm
  let feedForward: FeedForward

  /// The settings that a stack's layers share.
  struct Size {
    let width, inner, heads: Int
    let activation: Activation
    let epsilon: Float

    /// By the names of these settings.
    init(
      _ c: Checkpoint, width: String = "hidden_size", inner: String = "intermediate_size",
      heads: String = "num_attention_heads", activation: String = "hidden_act"
    ) throws {
      self.width = try c.size(width)
      self.inner = try c.size(inner)
      self.heads = try c.size(heads)
      self.activation = try c.activation(activation)
      epsilon = try c.number("layer_norm_eps", default: 1e-12)
      guard self.width % self.heads == 0 else {
        throw c.error("width \(self.width) is no multiple of \(self.heads) heads")
      }
    }
  }

  /// Names inside of a layer.
  struct Names {
    var query = "attention.self.query"
    var key = "attention.self.key"
    var value = "attention.self.value"
    var out = "attention.output.dense"
    var attentionNorm = "attention.output.LayerNorm"
    var up = "intermediate.dense"
    var down = "output.dense"
    var outputNorm = "output.LayerNorm"
  }

  /// `attended`: the width of queries, keys and values where it is not the stack's.
  init(_ c: Checkpoint, _ prefix: String, _ size: Size, _ names: Names = Names(), attended: Int? = nil) throws
  {
    let attended = attended ?? size.width
    let parts = [names.query, names.key, names.value].map {
      (name: "\(prefix).\($0)", outputs: attended)
    }
    qkv = try c.stacked(parts, inputs: size.width)
    qkvBias = try c.stackedBias(parts)
    out = try PostNorm(
      c, "\(prefix).\(names.out)", norm: "\(prefix).\(names.attentionNorm)", width: size.width,
      inputs: attended, epsilon: size.epsilon)
    feedForward = try FeedForward(
      c, up: "\(prefix).\(names.up)", down: "\(prefix).\(names.down)", norm: "\(prefix).\(names.outputNorm)",
      width: size.width, inner: size.inner, activation: size.activation, epsilon: size.epsilon)
  }

  func callAsFunction(
    _ x: Tensor, on backend: any Backend,
    attention: (_ q: Tensor, _ k: Tensor, _ v: Tensor) throws -> Tensor
  ) throws -> Tensor {
    let all = try backend.linear(x, qkv, bias: qkvBias, phase: .prefill)
    let width = all.columns / 3
    func part(_ index: Int) -> Tensor { all.slice(1, index * width..<(index + 1) * width) }
    let attended = try attention(part(0), part(1), part(2))
    return try feedForward(out(attended, plus: x, on: backend), on: backend)
  }
}
