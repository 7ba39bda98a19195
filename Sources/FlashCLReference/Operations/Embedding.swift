import FlashCL

extension Embedding: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [try rows { S(scale) * S($0) + S($1) }]
  }

  /// |scale · element|, and what y held where it is added to.
  public func magnitude() throws -> [[Double]] { [try rows { abs(Double(scale) * $0) + abs($1) }] }

  private func rows<T>(_ function: (_ element: Double, _ old: Double) -> T) throws -> [T] {
    let (ids, weight) = (try ids.integers(), try table.reference())
    let old = accumulate ? try y.load() : [Double](repeating: 0, count: y.count)
    var result: [T] = []
    result.reserveCapacity(y.count)
    var row = [Double](repeating: 0, count: table.inputs)
    for (token, id) in ids.enumerated() {
      if id >= 0 && id < table.outputs {
        weight.row(id, into: &row)
      } else {
        for i in row.indices { row[i] = .nan }
      }
      for (i, element) in row.enumerated() { result.append(function(element, old[token * row.count + i])) }
    }
    return result
  }
}
