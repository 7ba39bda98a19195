import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How much of each tile of queries × keys takes part, counted pair by pair, for the first sequence of a call.
struct AttentionTiles {
  enum Part: Int, CaseIterable {
    case skipped, partial, whole
  }

  let queries: Int
  let keys: Int
  /// Queries and keys of one tile: 16 and 32, doubled until no side has more than 128 tiles.
  let height: Int
  let width: Int
  /// Tiles row by row, of head 0 alone where all heads are equal, else of the first heads.
  let heads: [[Part]]
  /// Pairs that take part, of all that `heads` have.
  let pairs: Int
  let sequences: Int
  let headCount: Int

  var rows: Int { (queries + height - 1) / height }
  var columns: Int { (keys + width - 1) / width }

  /// The most heads that are told apart.
  private static let mostHeads = 8

  /// Counts with attention itself: where all scores are 0 and the value of key j is 1 in the column of its tile, y is the
  /// share of each tile among the keys of a row, and e^logSumExp how many these are. So what is counted is what the
  /// backend computes, whatever the mask, in memory linear in queries and keys.
  init(of attention: Attention, on backend: any Backend) throws {
    (sequences, headCount) = (attention.batch, attention.heads)
    let sizes = try attention.firstSequence(on: backend)
    func tile(_ size: Int, _ first: Int) -> Int {
      var tile = first
      while tile * 128 < size { tile *= 2 }
      return tile
    }
    let (queries, keys) = (sizes.queries, sizes.keys)
    let (height, width) = (tile(queries, 16), tile(keys, 32))
    (self.queries, self.keys, self.height, self.width) = (queries, keys, height, width)
    guard queries > 0, keys > 0 else {
      (heads, pairs) = ([[]], 0)
      return
    }
    let shown = attention.options.mayDifferByHead ? min(headCount, Self.mostHeads) : 1
    let columns = (keys + width - 1) / width
    var columnOf = [Float](repeating: 0, count: keys * columns)
    for j in 0..<keys { columnOf[j * columns + j / width] = 1 }
    func zeros(_ shape: [Int]) throws -> Tensor {
      try backend.tensor([Float](repeating: 0, count: shape.reduce(1, *)), shape)
    }
    let y = try backend.allocate([1, shown, queries, columns], .f32)
    let logSumExp = try backend.allocate([1, shown, queries], .f32)
    try backend.run(
      Attention(
        q: try zeros([1, shown, queries, 1]),
        source: .dense(
          keys: try zeros([1, 1, keys, 1]), values: try backend.tensor(columnOf, [1, 1, keys, columns]),
          lengths: sizes.lengths),
        options: try attention.options.pattern(queries: queries, keys: keys, heads: shown), y: y,
        logSumExp: logSumExp))
    let (shares, logs) = (try backend.floats(y), try backend.floats(logSumExp))

    var found: [[Int]] = []
    for head in 0..<shown {
      var counts = [Int](repeating: 0, count: (queries + height - 1) / height * columns)
      for i in 0..<queries {
        let row = head * queries + i
        let total = exp(Double(logs[row]))
        for column in 0..<columns {
          let count = Double(shares[row * columns + column]) * total
          if count > 0 && count.isFinite { counts[i / height * columns + column] += Int(count.rounded()) }
        }
      }
      found.append(counts)
    }
    if found.allSatisfy({ $0 == found[0] }) { found = [found[0]] }
    pairs = found.joined().reduce(0, +)
    heads = found.map { counts in
      counts.enumerated().map { place, count in
        let (row, column) = (place / columns, place % columns)
        let size = min(height, queries - row * height) * min(width, keys - column * width)
        return count == 0 ? .skipped : count == size ? .whole : .partial
      }
    }
  }
}

extension Attention {
  /// The sizes of the first sequence, and its length as a tensor `[1]` where keys past it are masked.
  fileprivate func firstSequence(on backend: any Backend) throws -> (
    queries: Int, keys: Int, lengths: Tensor?
  ) {
    guard batch > 0 else { return (0, 0, nil) }
    func first(_ starts: Tensor) throws -> Int { Int(try backend.integers(starts)[1]) }
    var queries = queryCount
    if case .ragged(let starts, _) = rows { queries = try first(starts) }
    switch source {
    case .dense(_, _, let lengths): return (queries, keyCount, lengths?.slice(0, 0..<1))
    case .ragged(_, _, let starts, _): return (queries, try first(starts), nil)
    case .paged(_, _, let lengths, _): return (queries, Int(try backend.integers(lengths)[0]), nil)
    }
  }
}

extension AttentionOptions {
  /// False where every head surely keeps the same pairs.
  fileprivate var mayDifferByHead: Bool {
    maskMod != nil || scoreMod != nil || relative != nil
      || (mask.tensors + [bias].compactMap { $0 })
        .contains { $0.shape[1] > 1 }
  }

  /// What decides which pairs take part, for the first sequence and heads: a score is then 0, or −∞.
  fileprivate func pattern(queries: Int, keys: Int, heads: Int) throws -> AttentionOptions {
    var pattern = AttentionOptions(
      mask: try mask.first(queries: queries, keys: keys, heads: heads), kind: .dot)
    pattern.maskMod = maskMod
    pattern.bias = bias?.first(queries: queries, keys: keys, heads: heads)
    pattern.relative = relative.map { $0.slice(0, 0..<min($0.shape[0], heads)) }
    if scoreMod != nil || bias != nil || relative != nil {
      let score = scoreMod.map { "(\($0.text))" } ?? "score"
      pattern.scoreMod = ScoreExpression(
        "\(score) < -3.0e38f ? \(score) : 0.0f", constants: scoreMod?.constants ?? [:])
    }
    return pattern
  }
}

extension Tensor {
  /// The part of a tensor `[B, H, Lq, Lk]`, or 1 in any axis, that the first sequence and heads read.
  fileprivate func first(queries: Int, keys: Int, heads: Int) -> Tensor {
    zip(0..<4, [1, heads, queries, keys]).reduce(self) { part, next in
      part.slice(next.0, 0..<min(part.shape[next.0], next.1))
    }
  }
}

extension AttentionMask {
  /// The mask of the first sequence and heads, each pair kept once or not at all.
  fileprivate func first(queries: Int, keys: Int, heads: Int) throws -> AttentionMask {
    func narrowed(_ mask: AttentionMask) throws -> AttentionMask {
      try mask.first(queries: queries, keys: keys, heads: heads)
    }
    switch self {
    case .tensor(let tensor): return .tensor(tensor.first(queries: queries, keys: keys, heads: heads))
    case .blocks(let map):
      let (rows, columns) = ((queries + map.size - 1) / map.size, (keys + map.size - 1) / map.size)
      let counts = (0..<rows * columns).map { min(map.counts[$0 / columns * map.columns + $0 % columns], 1) }
      return .blocks(try BlockMask(size: map.size, rows: rows, columns: columns, counts: counts))
    case .both(let a, let b): return .both(try narrowed(a), try narrowed(b))
    case .either(let a, let b): return .either(try narrowed(a), try narrowed(b))
    default: return self
    }
  }
}
