import FlashCL

/// What attention reads of one sequence: its queries, and of its keys and values those that exist.
struct AttentionSequence {
  let queries: Vectors  // [Hq, Lq, D]
  let keys: Vectors  // [Hkv, existing, D]
  let values: Vectors  // [Hkv, existing, Dv]
  /// Lq and Lk of the formulas.
  let queryCount: Int
  let keyCount: Int
  /// Keys 0 ..< existing may take part; no others are read.
  let existing: Int
  /// Where head 0 begins among the rows of y, and from there each next one.
  let firstRow: Int
  let rowsPerHead: Int

  func row(_ h: Int, _ i: Int) -> Int { firstRow + h * rowsPerHead + i }
}

extension Attention {
  /// Every sequence's place among ragged rows and keys; throws where starts fall, or leave what they divide.
  func ragged() throws -> (rows: [Range<Int>]?, keys: [Range<Int>]?) {
    var ranges: (rows: [Range<Int>]?, keys: [Range<Int>]?)
    if case .ragged(let starts, let longest) = rows {
      ranges.rows = try runs(starts, "query starts", total: q.shape[2], longest: longest)
    }
    if case .ragged(let keys, _, let starts, let longest) = source {
      ranges.keys = try runs(starts, "key starts", total: keys.shape[2], longest: longest)
    }
    return ranges
  }

  private func runs(_ starts: Tensor, _ name: String, total: Int, longest: Int) throws -> [Range<Int>] {
    let starts = try starts.integers()
    return try zip(starts, starts.dropFirst()).enumerated().map { b, run in
      guard 0 <= run.0, run.0 <= run.1, run.1 <= total else {
        throw FlashCLError.shape(
          "\(Self.name): \(name) of sequence \(b) are \(run.0) and \(run.1); they must not fall, nor pass \(total)"
        )
      }
      guard run.1 - run.0 <= longest else {
        throw FlashCLError.shape(
          "\(Self.name): \(name) give sequence \(b) a length of \(run.1 - run.0), the longest is said to have \(longest)"
        )
      }
      return run.0..<run.1
    }
  }

  /// Sequence b, with its own run of ragged rows and keys where they are.
  func sequence(_ b: Int, rows: Range<Int>?, keys: Range<Int>?, _ arena: Arena) throws -> AttentionSequence {
    let queries = rows ?? 0..<q.shape[2]
    let (keyVectors, valueVectors, length, existing) = try keysAndValues(b, keys, arena)
    return AttentionSequence(
      queries: try arena.vectors(q.slice(0, rows == nil ? b..<b + 1 : 0..<1).slice(2, queries)),
      keys: keyVectors, values: valueVectors, queryCount: queries.count, keyCount: length, existing: existing,
      firstRow: rows == nil ? b * heads * q.shape[2] : queries.lowerBound, rowsPerHead: q.shape[2])
  }

  private func keysAndValues(_ b: Int, _ run: Range<Int>?, _ arena: Arena) throws
    -> (keys: Vectors, values: Vectors, length: Int, existing: Int)
  {
    switch source {
    case .dense(let keys, let values, let lengths):
      let length = keys.shape[2]
      let existing = try max(0, min(length, lengths?.slice(0, b..<b + 1).integers()[0] ?? length))
      func vectors(_ tensor: Tensor) throws -> Vectors {
        try arena.vectors(tensor.slice(0, b..<b + 1).slice(2, 0..<existing))
      }
      return (try vectors(keys), try vectors(values), length, existing)

    case .ragged(let keys, let values, _, _):
      let run = run ?? 0..<0
      return (
        try arena.vectors(keys.slice(2, run)), try arena.vectors(values.slice(2, run)), run.count, run.count
      )

    case .paged(let cache, let table, let lengths, let longest):
      let length = try max(0, lengths.slice(0, b..<b + 1).integers()[0])
      guard length <= longest else {
        throw FlashCLError.shape(
          "\(Self.name): sequence \(b) has \(length) keys, the longest is said to have \(longest)")
      }
      let size = cache.blockLength
      let blocks = try table.slice(0, b..<b + 1).integers().prefix((length + size - 1) / size)
      guard blocks.allSatisfy({ $0 >= 0 && $0 < cache.blocks }) else {
        throw FlashCLError.shape(
          "\(Self.name): sequence \(b) has blocks \([Int](blocks)) of a cache of \(cache.blocks)")
      }
      let slots = (0..<length).map { blocks[$0 / size] * size + $0 % size }
      let stored = try cache.reference()
      func vectors(_ tensor: Tensor) throws -> Vectors {  // from [slots, Hkv, D]
        let columns = tensor.columns
        let tokens = try slots.map { try tensor.slice(0, $0..<$0 + 1).load() }
        let heads = (0..<cache.heads).flatMap { h in
          tokens.flatMap { $0[h * columns..<(h + 1) * columns] }
        }
        return arena.vectors(heads, columns: columns)
      }
      return (try vectors(stored.keys), try vectors(stored.values), length, length)
    }
  }
}

/// A tensor by indices, whose axes of size 1 answer to every index.
struct Grid {
  private let values: [Double]
  private let strides: (Int, Int, Int, Int)

  /// Of three or four axes; the fourth index of three is not read.
  init(_ tensor: Tensor) throws {
    values = try tensor.load()
    let dense = zip(tensor.shape, Tensor.denseStrides(tensor.shape)).map { $0 == 1 ? 0 : $1 } + [0]
    strides = (dense[0], dense[1], dense[2], dense[3])
  }

  subscript(b: Int, h: Int, i: Int, j: Int) -> Double {
    values[b * strides.0 + h * strides.1 + i * strides.2 + j * strides.3]
  }
}

/// Rows by head and distance, `[Hq or 1, 2R + 1, columns]`: distances beyond R are read as R.
struct DistanceTable {
  private let vectors: Vectors
  private let reach: Int
  private let isShared: Bool

  init(_ tensor: Tensor, columns: Int, _ arena: Arena) throws {
    vectors = arena.vectors(try tensor.load(), columns: columns)
    reach = tensor.shape[1] / 2
    isShared = tensor.shape[0] == 1
  }

  subscript(h: Int, distance: Int) -> Vector {
    vectors[(isShared ? 0 : h) * (2 * reach + 1) + min(max(distance, -reach), reach) + reach]
  }
}
