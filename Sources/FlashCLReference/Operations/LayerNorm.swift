import FlashCL

extension LayerNorm: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let (s, gain) = (try summed(x, residual, precision), try gain.load())
    let bias = try bias?.load()
    var y = s
    for row in 0..<x.rows {
      let columns = row * x.columns..<(row + 1) * x.columns
      let (mean, scale) = moments(s[columns], epsilon)
      for (j, i) in columns.enumerated() { y[i] = (s[i] - mean) * scale * S(gain[j]) + S(bias?[j] ?? 0) }
    }
    return sum == nil ? [y] : [y, s]
  }

  /// (|s| + |mean|) / √(var + ε) · |gain| + |bias|, and |x| + |residual| for the sum.
  public func magnitude() throws -> [[Double]] {
    let (s, gain) = (try summed(x, residual, Double.self), try gain.load())
    let bias = try bias?.load()
    var y = s
    for row in 0..<x.rows {
      let columns = row * x.columns..<(row + 1) * x.columns
      let (mean, scale) = moments(s[columns], epsilon)
      for (j, i) in columns.enumerated() {
        y[i] = (abs(s[i]) + abs(mean)) * scale * abs(gain[j]) + abs(bias?[j] ?? 0)
      }
    }
    return sum == nil ? [y] : [y, try termSizes(x, residual)]
  }
}

/// The mean of a row, and 1 / √(variance + ε) with the biased variance.
private func moments<S: ReferenceScalar>(_ row: ArraySlice<S>, _ epsilon: Float) -> (mean: S, scale: S) {
  let mean = row.exactTotal() / S(row.count)
  let variance = row.map { ($0 - mean) * ($0 - mean) }.total() / S(row.count)
  return (mean, 1 / (variance + S(epsilon)).squareRoot())
}

/// s = x + residual, for RMSNorm too.
func summed<S: ReferenceScalar>(_ x: Tensor, _ residual: Tensor?, _: S.Type) throws -> [S] {
  let x = try x.load()
  guard let residual = try residual?.load() else { return x.map { S($0) } }
  return zip(x, residual).map { S($0) + S($1) }
}

/// |x| + |residual|
func termSizes(_ x: Tensor, _ residual: Tensor?) throws -> [Double] {
  let x = try x.load()
  guard let residual = try residual?.load() else { return x.map { abs($0) } }
  return zip(x, residual).map { abs($0) + abs($1) }
}
