import FlashCL

extension Softmax: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [try rows(precision) { p, _ in p }]
  }

  /// (1 + |x − max|)·p: an error in the exponent counts as often as the exponent is large.
  public func magnitude() throws -> [[Double]] {
    [try rows(Double.self) { p, distance in p == 0 ? 0 : p * (1 + distance) }]
  }

  private func rows<S: ReferenceScalar>(_: S.Type, _ result: (_ p: S, _ distance: S) -> S) throws -> [S] {
    var y = try x.load().map { S($0) }
    for row in 0..<x.rows {
      let columns = row * x.columns..<(row + 1) * x.columns
      if y[columns].allSatisfy({ $0 == -.infinity }) {
        for i in columns { y[i] = 0 }
        continue
      }
      let greatest = y[columns].reduce(-S.infinity) { $0 < $1 ? $1 : $0 }
      let sum = y[columns].map { S.exp($0 - greatest) }.total()
      for i in columns { y[i] = result(S.exp(y[i] - greatest) / sum, abs(y[i] - greatest)) }
    }
    return y
  }
}
