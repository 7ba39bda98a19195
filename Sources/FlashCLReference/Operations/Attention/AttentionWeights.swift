import FlashCL

extension AttentionWeights: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [try weights(precision, measured: false)]
  }

  public func truth() throws -> [[Double]] { try compute(Double.self) }
  public func naive() throws -> [[Double]] { try compute(Float.self).map { $0.map { Double($0) } } }

  /// p·(1 + |score − max| + size of the score), as in `Attention`.
  public func magnitude() throws -> [[Double]] { [try weights(Double.self, measured: true)] }

  private func weights<S: ReferenceScalar>(_ precision: S.Type, measured: Bool) throws -> [S] {
    let (queries, keys) = (attention.queryCount, attention.keyCount)
    var weights = [S](repeating: 0, count: self.weights.count)
    try weights.withUnsafeMutableBufferPointer { weights in
      try attention.forEachRow(precision, heads: heads, measured: measured) { row in
        let first = ((row.b * heads.count + row.head) * queries + row.i) * keys
        for (j, weight) in row.weights { weights[first + j] = weight }
      }
    }
    return weights
  }
}
