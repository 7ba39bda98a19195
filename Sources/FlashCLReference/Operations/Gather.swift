import FlashCL

extension Gather: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let (values, width) = (try x.load(), x.columns)
    return [
      try rows.integers().flatMap { row -> [S] in
        guard (0..<x.rows).contains(row) else { return [S](repeating: S(Double.nan), count: width) }
        return values[row * width..<(row + 1) * width].map { S($0) }
      }
    ]
  }

  /// Nothing is rounded.
  public func magnitude() throws -> [[Double]] { [[Double](repeating: 0, count: y.count)] }
}
