import FlashCL

extension TopK: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let x = try x.load().map { $0.isNaN ? -.infinity : $0 }
    var (values, indices): ([S], [S]) = ([], [])
    for row in 0..<self.x.rows {
      let start = row * self.x.columns
      let order = (0..<self.x.columns).sorted { a, b in
        x[start + a] == x[start + b] ? a < b : x[start + a] > x[start + b]
      }
      values += order.prefix(k).map { S(x[start + $0]) }
      indices += order.prefix(k).map { S($0) }
    }
    return [values, indices]
  }

  /// Nothing is rounded.
  public func magnitude() throws -> [[Double]] {
    [[Double](repeating: 0, count: values.count), [Double](repeating: 0, count: values.count)]
  }
}
