import FlashCL

/// What makes queries, keys and values of the rows that a layer's attention reads.
protocol QueryKeyValue {
  /// Of rows `[tokens, width]`: q `[tokens, heads · size]`, k and v `[tokens, key heads · size]`.
  func heads(of rows: NormedRows, _ shape: DecoderStack.AttentionShape, on backend: any Backend, phase: Phase)
    throws
    -> (q: Tensor, k: Tensor, v: Tensor)
}

/// One linear layer for the three: `[(heads + 2 · key heads) · size, width]`.
extension Projection: QueryKeyValue {
  func heads(of rows: NormedRows, _ shape: DecoderStack.AttentionShape, on backend: any Backend, phase: Phase)
    throws
    -> (q: Tensor, k: Tensor, v: Tensor)
  {
    shape.parts(of: try self(rows, on: backend, phase: phase))
  }
}

extension DecoderStack.AttentionShape {
  /// Views of queries, keys and values that lie side by side.
  func parts(of all: Tensor) -> (q: Tensor, k: Tensor, v: Tensor) {
    let (queries, keys) = (heads * size, keyHeads * size)
    return (
      all.slice(1, 0..<queries), all.slice(1, queries..<queries + keys),
      all.slice(1, queries + keys..<queries + 2 * keys)
    )
  }
}

/// Queries and keys that are normed head by head before they turn: q = n_q(x · W_qᵀ), k = n_k(x · W_kᵀ), v = x · W_vᵀ.
///
/// Norms read rows without gaps, so each of the three has a linear layer of its own. Source: Henry et al. 2020.
struct NormedQueryKey: QueryKeyValue {
  let query, key, value: Projection
  /// Of rows as long as their gains.
  let queryNorm, keyNorm: Norm

  func heads(of rows: NormedRows, _ shape: DecoderStack.AttentionShape, on backend: any Backend, phase: Phase)
    throws
    -> (q: Tensor, k: Tensor, v: Tensor)
  {
    func normed(_ norm: Norm, _ heads: Tensor) throws -> Tensor {
      let pieces = heads.reshaped([heads.count / norm.width, norm.width])
      return try norm(pieces, on: backend).reshaped(heads.shape)
    }
    return (
      try normed(queryNorm, query(rows, on: backend, phase: phase)),
      try normed(keyNorm, key(rows, on: backend, phase: phase)), try value(rows, on: backend, phase: phase)
    )
  }
}

/// Queries, keys and values whose elements are bounded: min(max(x, −c), c) = c − relu(2c − relu(x + c)).
///
/// The outer steps are linear layers of −1 on the diagonal, as wide as one head: 1 / (heads + 2 · key heads) of what the three
/// themselves cost, twice.
struct BoundedQueryKeyValue: QueryKeyValue {
  private let raised: Projection  // x + c
  private let negative: Weight  // [size, size]
  private let once, twice: Tensor  // [size] of c, 2c

  /// Of one linear layer for the three, without its `.weight`.
  init(_ c: Checkpoint, _ name: String, _ shape: DecoderStack.AttentionShape, width: Int, bound: Float) throws
  {
    let (size, outputs) = (shape.size, (shape.heads + 2 * shape.keyHeads) * shape.size)
    let bias =
      c.has("\(name).bias")
      ? try c.floats("\(name).bias", [outputs]) : [Float](repeating: 0, count: outputs)
    raised = Projection(
      weight: try c.weight("\(name).weight", [outputs, width]),
      bias: try c.backend.tensor(bias.map { $0 + bound }, [outputs]))
    let diagonal = (0..<size * size).map { Float($0 % (size + 1) == 0 ? -1 : 0) }
    negative = try c.weight(diagonal, named: "bound", [size, size])
    once = try c.backend.tensor([Float](repeating: bound, count: size), [size])
    twice = try c.backend.tensor([Float](repeating: 2 * bound, count: size), [size])
  }

  func heads(of rows: NormedRows, _ shape: DecoderStack.AttentionShape, on backend: any Backend, phase: Phase)
    throws
    -> (q: Tensor, k: Tensor, v: Tensor)
  {
    let all = try raised(rows, on: backend, activation: .relu, phase: phase)
    let heads = all.reshaped([all.count / shape.size, shape.size])
    let left = try backend.linear(heads, negative, bias: twice, activation: .relu, phase: phase)
    let bounded = try backend.linear(left, negative, bias: once, phase: phase)
    return shape.parts(of: bounded.reshaped(all.shape))
  }
}

extension Checkpoint {
  /// Queries, keys and values of `q_proj`, `k_proj` and `v_proj`, and the norms of the first two where a model has them.
  func queryKeyValue(
    _ name: String, _ shape: DecoderStack.AttentionShape, width: Int, norms: (query: Norm, key: Norm)? = nil
  ) throws -> any QueryKeyValue {
    let keys = shape.keyHeads * shape.size
    let parts = [
      ("\(name).q_proj", shape.heads * shape.size), ("\(name).k_proj", keys), ("\(name).v_proj", keys),
    ]
    guard let norms else { return try projection(parts, inputs: width) }
    return NormedQueryKey(
      query: try projection([parts[0]], inputs: width), key: try projection([parts[1]], inputs: width),
      value: try projection([parts[2]], inputs: width), queryNorm: norms.query, keyNorm: norms.key)
  }
}
