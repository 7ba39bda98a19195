import FlashCL

/// The caches of sequences that are continued side by side: which blocks hold whose tokens, and how many there are.
///
/// Blocks are taken as tokens come, and memory for as many again where none is left. A block that is full may belong to
/// several sequences with a common beginning; one that is not belongs to one, which writes into it.
final class SequenceCaches {
  static let blockLength = 16
  /// Up to so many sequences linear layers of quantised weights sum in decode's order. From five on prefill's tiles are
  /// faster: a step of eight took 28 ms where two of four took 34 ms (SmolLM2 Q4_1, two cores).
  static let decodedTogether = 4

  /// Blocks that a decode step's table is a multiple of, so that the steps of so many tokens are alike and can be repeated: as many
  /// as a split of attention's keys has, 8 · 16 = 128 tokens.
  private static let tableBlocks = 8

  /// One for each layer.
  private(set) var caches: [KeyValueCache]
  /// The most tokens of each sequence.
  let capacity: Int
  /// Tokens that each sequence has.
  private(set) var counts: [Int]
  private let backend: any Backend
  private let decodedTogether: Int
  /// Blocks that there is memory for, on the average over the sequences.
  private var blocksEach: Int
  private var tables: [[Int32]]  // the blocks of each sequence, in the order of its tokens
  private var owners: [Int]  // how many sequences have each block

  /// Memory is taken for `reserve` tokens of each sequence, and for more when they come.
  init(
    _ shape: CacheShape, capacity: Int, reserve: Int, sequences: Int, type: ElementType,
    decodedTogether: Int = SequenceCaches.decodedTogether, on backend: any Backend
  ) throws {
    guard sequences > 0 else { throw ModelError("at least 1 sequence must be asked for, not \(sequences)") }
    self.backend = backend
    self.capacity = capacity
    self.decodedTogether = decodedTogether
    blocksEach = Self.blocks(max(1, min(reserve, capacity)))
    counts = [Int](repeating: 0, count: sequences)
    tables = [[Int32]](repeating: [], count: sequences)
    owners = [Int](repeating: 0, count: sequences * blocksEach)
    caches = try (0..<shape.layers).map { [blocks = owners.count] _ in
      try backend.makeCache(
        blocks: blocks, blockLength: Self.blockLength, heads: shape.heads, keySize: shape.keySize,
        valueSize: shape.valueSize, type: type)
    }
  }

  private static func blocks(_ tokens: Int) -> Int { (tokens + blockLength - 1) / blockLength }

  /// Follows from the number of sequences that there is room for, so that a sequence's bits stay what they are when others rest.
  func linearPhase(_ phase: Phase) -> Phase { counts.count <= decodedTogether ? phase : .prefill }

  /// Takes room for tokens of each sequence, none of some, and says what is to be done with them.
  func plan(_ ids: [[Int32]], vocabulary: Int, _ phase: Phase) throws -> StepPlan {
    guard ids.count == counts.count else {
      throw ModelError("tokens for \(ids.count) sequences, where there are \(counts.count)")
    }
    guard let first = ids.firstIndex(where: { !$0.isEmpty }), let last = ids.lastIndex(where: { !$0.isEmpty })
    else { throw ModelError("there are no tokens to feed") }
    for index in first...last {
      guard counts[index] + ids[index].count <= capacity else {
        throw ModelError(
          "\(counts[index] + ids[index].count) tokens do not fit in the \(capacity) that the sequence has room for"
        )
      }
      for id in ids[index] where id < 0 || id >= vocabulary {
        throw ModelError("token id \(id) is outside the model's vocabulary of \(vocabulary)")
      }
    }
    try reserve(
      (first...last).reduce(0) { $0 + Self.blocks(counts[$1] + ids[$1].count) - tables[$1].count })
    var (places, slots, starts, lengths): ([Int32], [Int32], [Int32], [Int32]) = ([], [], [0], [])
    for index in first...last {
      let new = counts[index]..<counts[index] + ids[index].count
      while tables[index].count * Self.blockLength < new.upperBound {
        tables[index].append(take(index, tables[index].count))
      }
      places += new.map { Int32($0) }
      slots += new.map {
        tables[index][$0 / Self.blockLength] * Int32(Self.blockLength) + Int32($0 % Self.blockLength)
      }
      starts.append(Int32(places.count))
      lengths.append(Int32(new.upperBound))
      counts[index] = new.upperBound
    }
    let active = ids[first...last]
    let isEqual = active.allSatisfy { $0.count == active[first].count }
    var blocks = tables[first...last].map(\.count).max() ?? 0
    if phase == .decode { blocks = (blocks + Self.tableBlocks - 1) / Self.tableBlocks * Self.tableBlocks }

    // What is past a sequence's blocks is not read.
    let table = tables[first...last].flatMap { $0 + [Int32](repeating: 0, count: blocks - $0.count) }
    let packed = active.joined() + places + slots + lengths + (isEqual ? [] : starts) + table
    let longest = phase == .decode ? blocks * Self.blockLength : Int(lengths.max() ?? 0)
    return StepPlan(
      numbers: packed,
      shape: .init(
        tokens: places.count, sequences: active.count, isEqual: isEqual,
        longestRows: active.map(\.count).max() ?? 0, blocks: blocks, longest: min(longest, capacity),
        capacity: capacity, phase: phase, linearPhase: linearPhase(phase)))
  }

  /// Makes sequence i go on from what sequence `parents[i]` is, or from nothing where that is nil.
  ///
  /// Full blocks are shared; of a sequence that goes on several times the last, partly filled block is copied.
  func reorder(_ parents: [Int?]) throws {
    guard parents.count == counts.count, parents.allSatisfy({ $0.map(counts.indices.contains) ?? true })
    else {
      throw ModelError("\(parents.count) parents for \(counts.count) sequences")
    }
    (tables, counts) = (
      parents.map { $0.map { tables[$0] } ?? [] }, parents.map { $0.map { counts[$0] } ?? 0 }
    )
    owners = [Int](repeating: 0, count: owners.count)
    for block in tables.joined() { owners[Int(block)] += 1 }
    try reserve(tables.count)
    var (from, to): ([Int32], [Int32]) = ([], [])
    for index in tables.indices where counts[index] % Self.blockLength != 0 {
      let place = tables[index].count - 1
      let block = tables[index][place]
      guard owners[Int(block)] > 1 else { continue }
      owners[Int(block)] -= 1
      tables[index][place] = take(index, place)
      from.append(block)
      to.append(tables[index][place])
    }
    guard !from.isEmpty else { return }
    let pairs = try backend.tensor(from + to, [2 * from.count])
    for cache in caches {
      try backend.copyBlocks(
        from: pairs.slice(0, 0..<from.count), to: pairs.slice(0, from.count..<2 * from.count), of: cache)
    }
  }

  /// Forgets all but the first `count` tokens of a sequence, which has as many.
  func keep(_ count: Int, of sequence: Int) {
    let blocks = (count + Self.blockLength - 1) / Self.blockLength
    for block in tables[sequence].dropFirst(blocks) { owners[Int(block)] -= 1 }
    tables[sequence].removeSubrange(blocks...)
    counts[sequence] = count
  }

  /// Makes sure that `count` blocks are free.
  private func reserve(_ count: Int) throws {
    let free = owners.count { $0 == 0 }
    guard free < count else { return }
    var larger = blocksEach
    while (larger - blocksEach) * counts.count + free < count { larger *= 2 }
    larger = min(larger, max(blocksEach, Self.blocks(capacity)))
    // One after the other, so that no more than one is there twice; where one cannot grow, those that did serve as well.
    for layer in caches.indices {
      caches[layer] = try backend.grow(caches[layer], blocks: larger * counts.count)
    }
    owners += [Int](repeating: 0, count: (larger - blocksEach) * counts.count)
    blocksEach = larger
  }

  /// A block that no sequence has, where one is reserved: the one that lies after the sequence's others, or the first.
  private func take(_ sequence: Int, _ place: Int) -> Int32 {
    let preferred = min(sequence * blocksEach + place, owners.count - 1)
    let block = owners[preferred] == 0 ? preferred : owners.firstIndex(of: 0) ?? preferred
    owners[block] = 1
    return Int32(block)
  }
}
