import FlashCL

extension CacheAppend: ReferenceOperation {
  /// The turned queries; what the cache holds is for whoever reads it.
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    try turning.map { try $0.compute(precision) } ?? []
  }
  public func magnitude() throws -> [[Double]] { try turning.map { try $0.magnitude() } ?? [] }

  /// The queries where they turn.
  var turning: Rope? {
    guard let queries, let positions, let table else { return nil }
    return Rope(x: queries, positions: positions, table: table, y: queries)
  }

  public func execute() throws {
    try turning?.execute()
    try write()
  }

  /// Keys and values into the cache, and no more.
  func write() throws {
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
      let row = [Double](rows[token * size..<(token + 1) * size])
      try tensor.slice(0, slot..<slot + 1).store(cache.type == .q8_0 ? roundedToQ8(row) : row)
    }
  }
}

/// What is left of these values in q8_0: of every 32, d·q with d = max|x| / 127 in f16 and q = x / (max|x| / 127),
/// rounded to nearest, ties away from 0. One that is not finite makes its 32 NaN.
func roundedToQ8(_ values: [Double]) -> [Double] {
  stride(from: 0, to: values.count, by: 32).flatMap { start -> [Double] in
    let block = values[start..<start + 32]
    let step = block.reduce(0) { max($0, abs($1)) } / 127
    guard block.allSatisfy(\.isFinite) else { return [Double](repeating: .nan, count: 32) }
    let d = ElementType.f16.rounded(step)
    return block.map { d == 0 ? 0 : d * ($0 / step).rounded(.toNearestOrAwayFromZero) }
  }
}
