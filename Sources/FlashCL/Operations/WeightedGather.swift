/// Weighted sums of rows by their places: y[i] = residual[i] + Σ_j weights[i, j] · x[rows[i, j]].
///
/// Shapes: x `[n, width]`, rows `[count, k]` i32, weights `[count, k]`, residual (may be absent) and y `[count, width]`, all but
/// rows f32. y may be the residual itself. The sum runs over j in order. A place outside x gives a row of NaN. What mixes
/// the experts of a token; PyTorch has it as `embedding_bag` with `per_sample_weights`. Source: Shazeer et al. 2017.
public struct WeightedGather: Operation {
  public static let name = "weighted_gather"
  public let x: Tensor  // [n, width]
  public let rows: Tensor  // [count, k] i32
  public let weights: Tensor  // [count, k]
  public let residual: Tensor?  // [count, width]
  public let y: Tensor  // [count, width]

  public init(x: Tensor, rows: Tensor, weights: Tensor, residual: Tensor? = nil, y: Tensor) {
    self.x = x
    self.rows = rows
    self.weights = weights
    self.residual = residual
    self.y = y
  }

  public var inputs: [Tensor] { [x, rows, weights, residual].compactMap { $0 } }
  public var outputs: [Tensor] { [y] }
  /// Rows count as they are read, once for each use.
  public var cost: Cost {
    let uses = Double(rows.count * x.columns)
    let results = Double(y.count * (residual == nil ? 1 : 2))
    return Cost(flops: 2 * uses, bytes: 4 * (uses + results) + 8 * Double(rows.count))
  }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, nil])
    try rows.require(Self.name, "rows", [nil, nil], [.i32])
    try weights.require(Self.name, "weights", rows.shape.map { $0 })
    try residual?.require(Self.name, "residual", [rows.rows, x.columns])
    try y.require(Self.name, "y", [rows.rows, x.columns])
  }
}

extension Backend {
  /// residual + Σ weights · rows of x; see `WeightedGather`.
  public func weightedGather(_ x: Tensor, rows: Tensor, weights: Tensor, plus residual: Tensor? = nil) throws
    -> Tensor
  {
    let y = try allocate([rows.rows, x.columns], .f32)
    try run(WeightedGather(x: x, rows: rows, weights: weights, residual: residual, y: y))
    return y
  }
}
