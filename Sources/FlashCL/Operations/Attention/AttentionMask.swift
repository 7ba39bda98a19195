/// Which keys take part in which query: the cases below, and any combination of them by `and` and `or`.
///
/// With i a query, j a key, both from 0, and p = i + Lk − Lq the query's own place among the keys (Lq, Lk are the
/// tensors' sizes; in ragged and paged calls each sequence's own lengths):
///
/// | mask | keeps | known from |
/// |---|---|---|
/// | `.all` | every key | |
/// | `.causal(.upperLeft)` | j ≤ i | PyTorch `is_causal` |
/// | `.causal(.lowerRight)` | j ≤ p | FlashAttention `causal`, MLX `"causal"`, every cache |
/// | `.window(left, right)` | p − left ≤ j ≤ p + right; −1 is unlimited | FlashAttention `window_size` |
/// | `.local(k)` | \|j − p\| ≤ k | Image Transformer |
/// | `.atrous(k)` | j − p a multiple of k | Sparse Transformer's second head |
/// | `.dilatedWindow(left, right, k)` | both: of the window's distances the multiples of k | Longformer |
/// | `.strided(k)` | local(k) or atrous(k) | Sparse Transformer |
/// | `.global(G)` | j ∈ G or p ∈ G | Longformer |
/// | `.blocks(map)` | blocks of queries and keys, each 0, 1 or more times | FlexAttention `BlockMask`, BigBird |
/// | `.segments([(w, r)])` | see `Segment` | LongNet |
/// | `.tensor(t)` | where `t` is true; `[B, H, Lq, Lk]`, any axis may be 1 | PyTorch `attn_mask` |
///
/// A key that is kept n times counts n times: its exponential enters numerator and denominator n-fold. `and` multiplies
/// counts, `or` takes the greater.
public indirect enum AttentionMask: Equatable {
  case all
  case causal(Alignment)
  case window(left: Int, right: Int)
  case atrous(Int)
  case global([Int])
  case blocks(BlockMask)
  case segments([Segment])
  case tensor(Tensor)
  case both(AttentionMask, AttentionMask)
  case either(AttentionMask, AttentionMask)

  /// Which corner of the score matrix the causal diagonal runs into; the two differ whenever Lq ≠ Lk.
  public enum Alignment: String, Sendable {
    case upperLeft = "upper_left"
    case lowerRight = "lower_right"
  }

  /// One pattern of LongNet's dilated attention: head h sees, within runs of `length` positions, those at
  /// (position mod length) mod dilation = h mod dilation, from queries at such places alone.
  ///
  /// Several patterns mixed by their softmax denominators are one softmax over all their keys, each counted as often
  /// as patterns list it; a query that no pattern takes is a row of 0. Source: Ding et al. 2023.
  public struct Segment: Equatable, Sendable {
    public let length: Int
    public let dilation: Int

    public init(length: Int, dilation: Int) {
      self.length = length
      self.dilation = dilation
    }
  }

  /// |j − p| ≤ k.
  public static func local(_ k: Int) -> AttentionMask { .window(left: k, right: k) }

  /// Distances p − left … p + right that are multiples of `dilation`.
  public static func dilatedWindow(left: Int, right: Int, dilation: Int) -> AttentionMask {
    .window(left: left, right: right).and(.atrous(dilation))
  }

  /// Distances up to k, and all multiples of k.
  public static func strided(_ k: Int) -> AttentionMask { .local(k).or(.atrous(k)) }

  /// Keeps what both keep.
  public func and(_ other: AttentionMask) -> AttentionMask {
    switch (self, other) {
    case (.all, _): other
    case (_, .all): self
    default: .both(self, other)
    }
  }

  /// Keeps what either keeps.
  public func or(_ other: AttentionMask) -> AttentionMask { .either(self, other) }
}

/// How often each block of queries sees each block of keys.
///
/// Block (r, c) is queries r·size … (r + 1)·size − 1 and keys c·size … (c + 1)·size − 1, counted from the upper left.
public struct BlockMask: Equatable, Sendable {
  public let size: Int  // from 1; tiles are skipped whole at 16, 32, 64 and 128
  public let rows: Int  // ⌈Lq / size⌉
  public let columns: Int  // ⌈Lk / size⌉
  public let counts: [UInt8]  // [rows, columns]

  /// Throws where `counts` does not have rows · columns elements or the size is below 1.
  public init(size: Int, rows: Int, columns: Int, counts: [UInt8]) throws {
    guard size >= 1 else { throw FlashCLError.shape("a block mask has blocks of 1 or more, not of \(size)") }
    guard rows >= 0, columns >= 0, counts.count == rows * columns else {
      throw FlashCLError.shape("a block mask of [\(rows), \(columns)] was given \(counts.count) counts")
    }
    self.size = size
    self.rows = rows
    self.columns = columns
    self.counts = counts
  }

  /// From lists: `keys[r]` names the key blocks that query block r sees; a block named twice counts twice.
  public init(size: Int, columns: Int, keys: [[Int]]) throws {
    var counts = [UInt8](repeating: 0, count: keys.count * columns)
    for (row, list) in keys.enumerated() {
      for column in list {
        guard (0..<columns).contains(column), counts[row * columns + column] < 255 else {
          throw FlashCLError.shape(
            "a block mask: query block \(row) names key block \(column) of \(columns), each at most 255 times"
          )
        }
        counts[row * columns + column] += 1
      }
    }
    try self.init(size: size, rows: keys.count, columns: columns, counts: counts)
  }

  /// BigBird's pattern (Zaheer et al. 2020) for `blocks` blocks: the first and last blocks see all and are seen by all
  /// (`global` at each end), a block sees `window` blocks on each side and itself, and `random` others that the seed
  /// draws from those it does not see yet.
  public static func bigBird(
    size: Int, blocks: Int, global: Int = 1, window: Int = 1, random: Int = 3, seed: UInt64
  ) throws -> BlockMask {
    var generator = SplitMix64(seed: seed)
    let keys = (0..<blocks).map { row -> [Int] in
      func isGlobal(_ block: Int) -> Bool { block < global || block >= blocks - global }
      if isGlobal(row) { return [Int](0..<blocks) }
      let seen = (0..<blocks).filter { isGlobal($0) || abs($0 - row) <= window }
      let others = (0..<blocks).filter { !isGlobal($0) && abs($0 - row) > window }
      return seen + others.shuffled(using: &generator).prefix(random)
    }
    return try BlockMask(size: size, columns: blocks, keys: keys)
  }

  /// True where some block counts more than once.
  public var hasCounts: Bool { counts.contains { $0 > 1 } }
}

// MARK: - What a device needs to know

extension AttentionMask {
  /// The part of a mask that leaves each query one run of keys, as three numbers: p − left … p + right, and j ≤ i.
  public struct Band: Equatable, Sendable {
    public var left = unlimited
    public var right = unlimited
    public var isUpperLeft = false
    /// Beyond every distance: 2^30, so that sums with positions stay within 32 bits.
    public static let unlimited = 1 << 30

    /// First and one past the last key of query i, before any key length.
    public func keys(_ i: Int, queries: Int, keys: Int) -> Range<Int> {
      let p = i + keys - queries
      let end = min(keys, p + right + 1, isUpperLeft ? i + 1 : keys)
      return min(max(0, p - left), max(0, end))..<max(0, end)
    }
  }

  /// The mask as a band and the rest: all terms that `and` joins at the top, causal ones and windows in the band.
  public var split: (band: Band, pattern: AttentionMask) {
    switch self {
    case .causal(.upperLeft): return (Band(isUpperLeft: true), .all)
    case .causal(.lowerRight): return (Band(right: 0), .all)
    case .window(let left, let right):
      func limit(_ n: Int) -> Int { n < 0 ? Band.unlimited : min(n, Band.unlimited) }
      return (Band(left: limit(left), right: limit(right)), .all)
    case .both(let a, let b):
      let ((first, rest1), (second, rest2)) = (a.split, b.split)
      let band = Band(
        left: min(first.left, second.left), right: min(first.right, second.right),
        isUpperLeft: first.isUpperLeft || second.isUpperLeft)
      return (band, rest1.and(rest2))
    default: return (Band(), self)
    }
  }

  /// True where a key may count more than once.
  public var hasCounts: Bool {
    switch self {
    case .blocks(let map): map.hasCounts
    case .segments(let list): list.count > 1
    case .both(let a, let b), .either(let a, let b): a.hasCounts || b.hasCounts
    default: false
    }
  }

  /// The tensors that the mask reads.
  public var tensors: [Tensor] {
    switch self {
    case .tensor(let tensor): [tensor]
    case .both(let a, let b), .either(let a, let b): a.tensors + b.tensors
    default: []
    }
  }

  /// How much of a tile takes part.
  public enum Coverage: Sendable {
    case none, some, all
  }

  /// How much of the tile `rows` × `columns` takes part in any batch and head; `.some` where that is not known.
  public func coverage(_ rows: ClosedRange<Int>, _ columns: ClosedRange<Int>, queries: Int, keys: Int)
    -> Coverage
  {
    let shift = keys - queries
    switch self {
    case .all: return .all
    case .causal, .window:
      let band = split.band
      let (first, last) = (
        band.keys(rows.lowerBound, queries: queries, keys: keys),
        band.keys(rows.upperBound, queries: queries, keys: keys)
      )
      if columns.lowerBound >= last.lowerBound && columns.upperBound < first.upperBound { return .all }
      return columns.upperBound < first.lowerBound || columns.lowerBound >= last.upperBound ? .none : .some
    case .atrous(let k):
      if k == 1 { return .all }
      // Some distance in low … high is a multiple of k: the greatest multiple up to high is not below low.
      let low = columns.lowerBound - rows.upperBound - shift
      let high = columns.upperBound - rows.lowerBound - shift
      let below = high >= 0 ? high / k * k : -((-high + k - 1) / k) * k
      return below >= low ? .some : .none
    case .global(let ids):
      func known(_ range: ClosedRange<Int>) -> Int { Set(ids.filter(range.contains)).count }
      let (inRows, inColumns) = (
        known(rows.lowerBound + shift...rows.upperBound + shift), known(columns)
      )
      if inRows == rows.count || inColumns == columns.count { return .all }
      return inRows + inColumns > 0 ? .some : .none
    case .blocks(let map):
      var (lowest, highest) = (UInt8.max, UInt8.min)
      for r in rows.lowerBound / map.size...min(rows.upperBound / map.size, map.rows - 1) {
        for c in columns.lowerBound / map.size...min(columns.upperBound / map.size, map.columns - 1) {
          let count = map.counts[r * map.columns + c]
          (lowest, highest) = (min(lowest, count), max(highest, count))
        }
      }
      return highest == 0 ? .none : lowest == 1 && highest == 1 ? .all : .some
    case .segments(let list):
      func meets(_ segment: Segment) -> Bool {
        let (first, last) = (
          (rows.lowerBound + shift) / segment.length, (rows.upperBound + shift) / segment.length
        )
        return columns.upperBound / segment.length >= first && columns.lowerBound / segment.length <= last
      }
      return list.contains(where: meets) ? .some : .none
    case .tensor: return .some
    case .both(let a, let b):
      let first = a.coverage(rows, columns, queries: queries, keys: keys)
      if first == .none { return .none }
      let second = b.coverage(rows, columns, queries: queries, keys: keys)
      return second == .none ? .none : first == .all && second == .all ? .all : .some
    case .either(let a, let b):
      let first = a.coverage(rows, columns, queries: queries, keys: keys)
      let second = b.coverage(rows, columns, queries: queries, keys: keys)
      // Counts of either are the greater one: where a block counts twice, the tile is not `.all`.
      if first == .all && second != .some || second == .all && first != .some { return .all }
      return first == .all && !b.hasCounts || second == .all && !a.hasCounts
        ? .all : first == .none && second == .none ? .none : .some
    }
  }

  /// Throws where a term has an impossible parameter or does not fit `queries` × `keys`.
  func validate(_ operation: String, scores shape: [Int]) throws {
    func refuse(_ text: String) -> FlashCLError { .shape("\(operation): \(text)") }
    switch self {
    case .all, .causal: break
    case .window(let left, let right):
      guard left >= -1, right >= -1 else {
        throw refuse("a window's sides are 0 or more, or -1 for no limit; they are \(left) and \(right)")
      }
    case .atrous(let k):
      guard k >= 1 else { throw refuse("distances are multiples of 1 or more, not of \(k)") }
    case .global(let ids):
      if let id = ids.first(where: { $0 < 0 }) { throw refuse("a global position is 0 or more, not \(id)") }
    case .blocks(let map):
      let (rows, columns) = ((shape[2] + map.size - 1) / map.size, (shape[3] + map.size - 1) / map.size)
      guard map.rows == rows, map.columns == columns else {
        throw refuse(
          "a block mask for \(shape[2]) queries and \(shape[3]) keys in blocks of \(map.size) is "
            + "[\(rows), \(columns)]; this one is [\(map.rows), \(map.columns)]")
      }
    case .segments(let list):
      guard !list.isEmpty, list.allSatisfy({ $0.length >= 1 && $0.dilation >= 1 }) else {
        throw refuse("segments need a length and a dilation of 1 or more")
      }
    case .tensor(let tensor):
      try tensor.requireBroadcast(operation, "mask", to: shape, .bool)
    case .both(let a, let b), .either(let a, let b):
      try a.validate(operation, scores: shape)
      try b.validate(operation, scores: shape)
    }
  }
}
