import FlashCL

extension Rope: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [
      try table.rotate(x, positions) { (a: Double, b: Double, cos: Double, sin: Double) in
        (S(a) * S(cos) - S(b) * S(sin), S(a) * S(sin) + S(b) * S(cos))
      } unrotated: {
        S($0)
      }
    ]
  }

  /// |a|·|cos| + |b|·|sin| and |a|·|sin| + |b|·|cos|
  public func magnitude() throws -> [[Double]] {
    [
      try table.rotate(x, positions) { a, b, cos, sin in
        (abs(a * cos) + abs(b * sin), abs(a * sin) + abs(b * cos))
      } unrotated: {
        abs($0)
      }
    ]
  }
}

extension RopeTable {
  /// x `[tokens, heads, size]` with `pair` of every rotated pair (a, b) and its cosine and sine, dense.
  func rotate<T>(
    _ x: Tensor, _ positions: Tensor, pair: (Double, Double, Double, Double) -> (T, T),
    unrotated: (Double) -> T
  ) throws -> [T] {
    let (values, positions) = (try x.load(), try positions.integers())
    let (cosines, sines) = (try cos.load(), try sin.load())
    let (heads, size, pairs) = (x.shape[1], x.shape[2], cos.columns)
    var result = values.map(unrotated)
    for head in 0..<x.shape[0] * heads {
      let position = positions[head / heads]
      let known = position >= 0 && position < cos.rows
      for i in 0..<pairs {
        let a = head * size + (pairing == .halves ? i : 2 * i)
        let b = a + (pairing == .halves ? pairs : 1)
        let entry = position * pairs + i
        (result[a], result[b]) = pair(
          values[a], values[b], known ? cosines[entry] : .nan, known ? sines[entry] : .nan)
      }
    }
    return result
  }
}
