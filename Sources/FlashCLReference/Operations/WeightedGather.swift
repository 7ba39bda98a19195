import FlashCL

extension WeightedGather: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [try sums { S($0) }]
  }

  /// |residual| + Σ |weight| · |x|
  public func magnitude() throws -> [[Double]] { [try sums { abs($0) }] }

  private func sums<S: ReferenceScalar>(_ convert: (Double) -> S) throws -> [S] {
    let (values, places) = (try x.load(), try rows.integers())
    let (weights, starts) = (try weights.load(), try residual?.load())
    let (width, k) = (x.columns, rows.columns)
    return (0..<y.count).map { index in
      let (row, column) = (index / width, index % width)
      var sum = convert(starts?[index] ?? 0)
      for use in row * k..<(row + 1) * k {
        guard (0..<x.rows).contains(places[use]) else { return S(Double.nan) }
        sum += convert(weights[use]) * convert(values[places[use] * width + column])
      }
      return sum
    }
  }
}
