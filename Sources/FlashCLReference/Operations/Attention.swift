import FlashCL

extension Attention: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [try attend(precision)]
  }

  /// Σ p·(1 + |score − max| + scale·Σ|q||k|)·|v|: an error of a score, or of what e^x is taken of, is one of
  /// p in proportion. Each row takes the greatest of its elements that is finite.
  public func magnitude() throws -> [[Double]] {
    var y = try attend(Double.self, termSizes: true)
    let columns = self.y.columns
    for row in stride(from: 0, to: y.count, by: max(columns, 1)) {
      let greatest = y[row..<row + columns].reduce(0) { $1.isFinite ? max($0, $1) : $0 }
      for i in row..<row + columns { y[i] = greatest }
    }
    return [y]
  }

  /// Keys and values of one sequence.
  private struct Sequence {
    let keys: [Double]  // [Hkv, count, D]
    let values: [Double]  // [Hkv, count, Dv]
    let count: Int  // keys that exist: no more are read
    let length: Int  // Lk of the causal mask
  }

  private func sequence(_ b: Int) throws -> Sequence {
    switch source {
    case .dense(let keys, let values, let lengths):
      let length = keys.shape[2]
      let count = try max(0, min(length, lengths?.slice(0, b..<b + 1).integers()[0] ?? length))
      func existing(_ tensor: Tensor) throws -> [Double] {
        try tensor.slice(0, b..<b + 1).slice(2, 0..<count).load()
      }
      return Sequence(keys: try existing(keys), values: try existing(values), count: count, length: length)

    case .paged(let cache, let table, let lengths, let longest):
      let count = try max(0, lengths.slice(0, b..<b + 1).integers()[0])
      guard count <= longest else {
        throw FlashCLError.shape(
          "\(Self.name): sequence \(b) has \(count) keys, the longest is said to have \(longest)")
      }
      let blocks = try table.slice(0, b..<b + 1).integers().prefix(
        (count + cache.blockLength - 1) / cache.blockLength)
      guard blocks.allSatisfy({ $0 >= 0 && $0 < cache.blocks }) else {
        throw FlashCLError.shape(
          "\(Self.name): sequence \(b) has blocks \(blocks) of a cache of \(cache.blocks)")
      }
      let stored = try cache.reference()
      func gathered(_ tensor: Tensor) throws -> [Double] {
        var rows: [Double] = []  // [count, Hkv, D]
        for (i, block) in blocks.enumerated() {
          let first = block * cache.blockLength
          let tokens = min(cache.blockLength, count - i * cache.blockLength)
          rows += try tensor.slice(0, first..<first + tokens).load()
        }
        let size = tensor.columns
        var heads = rows
        for j in 0..<count {
          for h in 0..<cache.heads {
            let (from, to) = ((j * cache.heads + h) * size, (h * count + j) * size)
            for i in 0..<size { heads[to + i] = rows[from + i] }
          }
        }
        return heads
      }
      return Sequence(
        keys: try gathered(stored.keys), values: try gathered(stored.values), count: count, length: count)
    }
  }

  /// The rows Σ p·v, or the sizes of their terms.
  private func attend<S: ReferenceScalar>(_ precision: S.Type, termSizes: Bool = false) throws -> [S] {
    let (heads, queries, size, valueSize) = (q.shape[1], q.shape[2], q.columns, y.columns)
    let q = try q.load()
    var y = [S](repeating: 0, count: y.count)
    for b in 0..<self.q.shape[0] {
      let sequence = try sequence(b)
      let values = termSizes ? sequence.values.map { abs($0) } : sequence.values
      q.withUnsafeBufferPointer { q in
        sequence.keys.withUnsafeBufferPointer { keys in
          values.withUnsafeBufferPointer { values in
            y.withUnsafeMutableBufferPointer { y in
              guard let q = q.baseAddress, let keys = keys.baseAddress, let values = values.baseAddress,
                let y = y.baseAddress
              else { return }
              parallel(heads * queries, grain: 4) { rows in
                for row in rows {
                  let query = b * heads * queries + row
                  let head = row / queries / (heads / keyHeads) * sequence.count
                  attendRow(
                    q + query * size, keys + head * size, values + head * valueSize,
                    count: visible(row % queries, sequence), termSizes: termSizes, y + query * valueSize)
                }
              }
            }
          }
        }
      }
    }
    return y
  }

  /// How many keys take part in row i: always the first ones.
  private func visible(_ i: Int, _ sequence: Sequence) -> Int {
    switch causal {
    case .none: sequence.count
    case .upperLeft: min(sequence.count, i + 1)
    case .lowerRight: max(0, min(sequence.count, i + 1 + sequence.length - q.shape[2]))
    }
  }

  private func attendRow<S: ReferenceScalar>(
    _ q: UnsafePointer<Double>, _ keys: UnsafePointer<Double>, _ values: UnsafePointer<Double>, count: Int,
    termSizes: Bool, _ y: UnsafeMutablePointer<S>
  ) {
    let (size, valueSize) = (self.q.columns, self.y.columns)
    var scores = [S](repeating: 0, count: count)
    for j in 0..<count { scores[j] = S(scale) * S.dot(q, keys + j * size, size) }
    let greatest = scores.reduce(-S.infinity) { $0 < $1 ? $1 : $0 }
    let exponentials = scores.map { S.exp($0 - greatest) }
    let sum = exponentials.total()
    for j in 0..<count {
      var p = exponentials[j] / sum
      if termSizes && p != 0 {
        p *= 1 + abs(scores[j] - greatest) + S(abs(Double(scale)) * termSize(q, keys + j * size, size))
      }
      S.add(p, values + j * valueSize, to: y, valueSize)
    }
  }
}

/// Σ |a[i] · b[i]|
private func termSize(_ a: UnsafePointer<Double>, _ b: UnsafePointer<Double>, _ count: Int) -> Double {
  var sum = 0.0
  var i = 0
  while i < count {
    sum += abs(a[i] * b[i])
    i &+= 1
  }
  return sum
}
