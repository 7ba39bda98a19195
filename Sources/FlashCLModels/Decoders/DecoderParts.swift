import FlashCL

/// The parts that decoder-only architectures are put together from.

extension Norm {
  func callAsFunction(_ x: Tensor, on backend: any Backend) throws -> Tensor { try backend.norm(x, self) }

  /// The norm of x + residual, and that sum.
  func callAsFunction(_ x: Tensor, plus residual: Tensor?, on backend: any Backend) throws -> (
    sum: Tensor, normed: Tensor
  ) {
    guard let residual else { return (x, try self(x, on: backend)) }
    let (sum, y) = (try backend.allocate(x.shape, x.type), try backend.allocate(x.shape, x.type))
    switch self {
    case .layer(let gain, let bias, let epsilon):
      try backend.run(
        LayerNorm(x: x, residual: residual, gain: gain, bias: bias, epsilon: epsilon, sum: sum, y: y))
    case .rms(let gain, let epsilon):
      try backend.run(RMSNorm(x: x, residual: residual, gain: gain, epsilon: epsilon, sum: sum, y: y))
    }
    return (sum, y)
  }
}

/// Rows that a linear layer reads, and the norm that comes first, if any: they go together into one operation.
struct NormedRows {
  let x: Tensor  // [tokens, width]
  var norm: Norm?

  /// The rows normed, for whoever needs them as a tensor.
  func normed(on backend: any Backend) throws -> Tensor { try norm.map { try backend.norm(x, $0) } ?? x }
}

/// A linear layer: x · Wᵀ + b.
struct Projection {
  let weight: Weight  // [outputs, inputs]
  let bias: Tensor?  // [outputs]

  func callAsFunction(
    _ x: Tensor, on backend: any Backend, activation: Activation = .none, plus residual: Tensor? = nil,
    phase: Phase
  ) throws -> Tensor {
    try self(NormedRows(x: x), on: backend, activation: activation, plus: residual, phase: phase)
  }

  /// Gated: activation(gates) ⊙ values, the weight's two halves.
  func callAsFunction(
    _ rows: NormedRows, on backend: any Backend, activation: Activation = .none, isGated: Bool = false,
    plus residual: Tensor? = nil, phase: Phase
  ) throws -> Tensor {
    try backend.linear(
      rows.x, norm: rows.norm, weight, bias: bias, activation: activation, isGated: isGated, plus: residual,
      phase: phase)
  }
}

/// What follows attention in a layer.
enum FeedForwardLayer {
  /// down(activation(up(x)))
  case plain(up: Projection, down: Projection, Activation)
  /// down(activation(gate(x)) · up(x)), [gate up] = both(x); silu or gelu_tanh
  case gated(both: Projection, down: Projection, Activation)
  case experts(Experts)

  func callAsFunction(_ rows: NormedRows, plus residual: Tensor?, on backend: any Backend, phase: Phase)
    throws
    -> Tensor
  {
    switch self {
    case .plain(let up, let down, let activation):
      try down(
        up(rows, on: backend, activation: activation, phase: phase), on: backend, plus: residual, phase: phase
      )
    case .gated(let both, let down, let activation):
      try down(
        both(rows, on: backend, activation: activation, isGated: true, phase: phase), on: backend,
        plus: residual, phase: phase)
    case .experts(let experts):
      try experts(rows.normed(on: backend), plus: residual, on: backend, phase: phase)
    }
  }
}

// MARK: - From a file

extension Checkpoint {
  /// A linear layer; the bias is read where the file has one, or must be there.
  func projection(
    _ name: String, _ shape: [Int], order: WeightSource.Order = .outputsByInputs, needsBias: Bool = false
  ) throws -> Projection {
    let bias = needsBias || has("\(name).bias") ? try vector("\(name).bias", shape[0]) : nil
    return Projection(weight: try weight("\(name).weight", shape, order: order), bias: bias)
  }

  /// Several linear layers of one input as one, stacked by outputs.
  func projection(_ parts: [(name: String, outputs: Int)], inputs: Int) throws -> Projection {
    Projection(weight: try stacked(parts, inputs: inputs), bias: try stackedBias(parts))
  }

  /// Queries, keys and values that the file holds as one matrix of `keyHeads` groups, each of its queries, a key and a value;
  /// GGUF has all queries, all keys, all values instead.
  func groupedProjection(_ name: String, heads: Int, keyHeads: Int, size: Int, inputs: Int) throws
    -> Projection
  {
    let stored = [(heads + 2 * keyHeads) * size, inputs]
    guard format == .huggingFace, keyHeads > 1 else {
      let rows = [Rows(name, stored)]
      return Projection(weight: try weight(rows, inputs: inputs), bias: try bias(rows))
    }
    let queries = heads / keyHeads * size
    func rows(_ first: Int, _ count: Int) -> [Rows] {
      (0..<keyHeads).map { group in
        let begin = group * (queries + 2 * size) + first
        return Rows(name, stored, begin..<begin + count)
      }
    }
    let all = rows(0, queries) + rows(queries, size) + rows(queries + size, size)
    return Projection(weight: try weight(all, inputs: inputs), bias: try bias(all))
  }

  /// A layer norm; without a bias where the file has none.
  func layerNorm(_ name: String, _ width: Int, _ epsilon: Float) throws -> Norm {
    .layer(
      gain: try vector("\(name).weight", width),
      bias: has("\(name).bias") ? try vector("\(name).bias", width) : nil, epsilon: epsilon)
  }

  /// A root-mean-square norm; `offset` is added to the file's gains.
  func rmsNorm(_ name: String, _ width: Int, _ epsilon: Float, offset: Float = 0) throws -> Norm {
    let gains = try floats("\(name).weight", [width]).map { $0 + offset }
    return .rms(gain: try backend.tensor(gains, [width]), epsilon: epsilon)
  }

  /// Heads of keys and values, each of which serves as many of the queries'.
  func keyHeads(of heads: Int, default fallback: Int? = nil) throws -> Int {
    let keyHeads = try size("num_key_value_heads", default: fallback ?? heads)
    guard heads % keyHeads == 0 else {
      throw error("num_attention_heads \(heads) is no multiple of num_key_value_heads \(keyHeads)")
    }
    return keyHeads
  }

  /// Loads layer after layer, and tells how far it is.
  func layers<Layer>(_ count: Int, _ load: (Int) throws -> Layer) throws -> [Layer] {
    try (0..<count).map { n in
      let layer = try load(n)
      progress?(Double(n + 1) / Double(count))
      return layer
    }
  }
}
