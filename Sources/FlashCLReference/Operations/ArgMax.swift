import FlashCL

extension ArgMax: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let values = try x.load()
    return [
      (0..<x.rows).map { row in
        let row = values[row * x.columns..<(row + 1) * x.columns]
        var best: Int?
        for i in row.indices where !row[i].isNaN {
          if let b = best, row[b] >= row[i] { continue }
          best = i
        }
        return S((best ?? row.startIndex) - row.startIndex)
      }
    ]
  }

  /// Nothing is rounded.
  public func magnitude() throws -> [[Double]] { [[Double](repeating: 0, count: x.rows)] }
}
