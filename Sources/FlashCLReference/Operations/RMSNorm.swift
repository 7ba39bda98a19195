import FlashCL

extension RMSNorm: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let (s, gain) = (try summed(x, residual, precision), try gain.load())
    var y = s
    for row in 0..<x.rows {
      let columns = row * x.columns..<(row + 1) * x.columns
      let meanSquare = s[columns].map { $0 * $0 }.total() / S(x.columns)
      let scale = 1 / (meanSquare + S(epsilon)).squareRoot()
      for (j, i) in columns.enumerated() { y[i] = s[i] * scale * S(gain[j]) }
    }
    return sum == nil ? [y] : [y, s]
  }

  /// |y|: nothing is subtracted; and |x| + |residual| for the sum.
  public func magnitude() throws -> [[Double]] {
    let y = try compute(Double.self)[0].map { abs($0) }
    return sum == nil ? [y] : [y, try termSizes(x, residual)]
  }
}
