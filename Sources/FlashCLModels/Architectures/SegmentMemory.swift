import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What Transformer-XL and XLNet keep of earlier segments: the input of each layer, which later segments attend to.
public struct SegmentMemory {
  /// Of each layer, sequence after sequence; empty where nothing is kept.
  let states: [Tensor]  // [sum of lengths, width]
  /// Tokens that are kept of each sequence.
  public let lengths: [Int]
}

/// Where the rows of memories and of a new segment go.
struct SegmentPlan {
  /// Keys of each sequence, memory and segment.
  let keyLengths: [Int]
  private let memory: SegmentMemory?
  /// Rows of all memories followed by all segments: the keys, sequence after sequence.
  private let joined: Tensor
  /// The same: what the next memory holds; nil where that is nothing.
  private let kept: Tensor?
  private let keptLengths: [Int]

  /// Of each segment the first `reuse` tokens are remembered, and of memory and these together the last `limit`; nil: all.
  init(
    _ memory: SegmentMemory?, lengths: [Int], layers: Int, reuse: Int? = nil, limit: Int?,
    on backend: any Backend
  ) throws {
    let memory = memory?.states.isEmpty == true ? nil : memory
    if let memory, memory.lengths.count != lengths.count || memory.states.count != layers {
      throw ModelError(
        "a memory of \(memory.lengths.count) sequences in \(memory.states.count) layers does not belong to "
          + "\(lengths.count) sequences in \(layers)")
    }
    self.memory = memory
    let before = memory?.lengths ?? lengths.map { _ in 0 }
    keyLengths = zip(before, lengths).map { $0 + $1 }
    var (joined, kept, keptLengths): ([Int], [Int], [Int]) = ([], [], [])
    var (old, new) = (0, before.reduce(0, +))
    for (count, length) in zip(before, lengths) {
      let remembered = [Int](old..<old + count)
      joined += remembered + (new..<new + length)
      let all = remembered + (new..<new + min(length, reuse ?? length))
      kept += all.suffix(limit ?? all.count)
      keptLengths.append(min(all.count, limit ?? all.count))
      old += count
      new += length
    }
    self.keptLengths = keptLengths
    self.joined = try backend.tensor(joined.map { Int32($0) }, [joined.count])
    self.kept = kept.isEmpty ? nil : try backend.tensor(kept.map { Int32($0) }, [kept.count])
  }

  /// What keys and values of a layer are made of, `[sum of keyLengths, width]`, and what its next memory holds.
  func join(_ x: Tensor, layer: Int, on backend: any Backend) throws -> (keys: Tensor, kept: Tensor?) {
    let all = try memory.map { try backend.stacked($0.states[layer], x) } ?? x
    return (
      memory == nil ? x : try backend.gather(all, rows: joined),
      try kept.map { try backend.gather(all, rows: $0) }
    )
  }

  /// The memory that a segment leaves, of what `join` kept of each layer.
  func next(_ kept: [Tensor?]) -> SegmentMemory {
    SegmentMemory(states: kept.compactMap { $0 }, lengths: keptLengths)
  }
}

/// Keys of distances: W_r · e(p − j), with e(n) = sin(n · f_0), sin(n · f_1), …, cos(n · f_0), cos(n · f_1), …,
/// f_m = 10000^(−2m / width). Source: Dai et al. 2019.
struct DistanceKeys {
  private let sines: Tensor  // [2 · longest − 1, width]
  private let rows: Tensor  // [heads · (2 · longest − 1)] i32
  private let heads: Int

  /// `longest`: the most keys of a sequence; `clamp`: the greatest distance that is told apart.
  init(longest: Int, width: Int, heads: Int, clamp: Int?, on backend: any Backend) throws {
    let count = 2 * longest - 1
    var values: [Float] = []
    values.reserveCapacity(count * width)
    let frequencies = (0..<width / 2).map { pow(10000, -2 * Double($0) / Double(width)) }
    for row in 0..<count {
      let distance = longest - 1 - row
      let clamped = clamp.map { min(max(distance, -$0), $0) } ?? distance
      values += frequencies.map { Float(sin(Double(clamped) * $0)) }
      values += frequencies.map { Float(cos(Double(clamped) * $0)) }
    }
    sines = try backend.tensor(values, [count, width])
    rows = try backend.tensor(
      (0..<heads).flatMap { head in (0..<count).map { Int32($0 * heads + head) } }, [heads * count])
    self.heads = heads
  }

  /// The table `[heads, 2 · longest − 1, size]` of a layer's projection `[heads · size, width]`.
  func callAsFunction(_ projection: Weight, on backend: any Backend) throws -> Tensor {
    let keys = try backend.linear(sines, projection, phase: .prefill)
    let size = keys.columns / heads
    return try backend.gather(keys.reshaped([rows.count, size]), rows: rows)
      .reshaped([heads, rows.count / heads, size])
  }
}

extension Backend {
  /// The rows of a, then those of b.
  func stacked(_ a: Tensor, _ b: Tensor) throws -> Tensor {
    let y = try allocate([a.rows + b.rows, a.columns], a.type)
    for (x, start) in [(a, 0), (b, a.rows)] where x.rows > 0 {
      let rows = try tensor((0..<x.rows).map { Int32($0) }, [x.rows])
      try run(Gather(x: x, rows: rows, y: y.slice(0, start..<start + x.rows)))
    }
    return y
  }
}
