import FlashCL

extension CacheAppend: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] { [] }
  public func magnitude() throws -> [[Double]] { [] }

  public func execute() throws {
    var rows = try keys.load()
    if let table, let positions {
      rows = try table.rotate(keys, positions) { a, b, cos, sin in
        (a * cos - b * sin, a * sin + b * cos)
      } unrotated: {
        $0
      }
    }
    let stored = try cache.reference()
    try scatter(rows, into: stored.keys)
    try scatter(try values.load(), into: stored.values)
  }

  private func scatter(_ rows: [Double], into tensor: Tensor) throws {
    let size = tensor.shape[1] * tensor.shape[2]
    for (token, slot) in try slots.integers().enumerated() where slot >= 0 && slot < tensor.shape[0] {
      try tensor.slice(0, slot..<slot + 1).store([Double](rows[token * size..<(token + 1) * size]))
    }
  }
}
