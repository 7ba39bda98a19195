/// The ranked pairs of a byte-pair encoding, and the merging of one word.
struct MergeTable: Sendable {
  private var merges: [UInt64: (rank: UInt32, id: Int32)]

  init(minimumCapacity: Int) {
    merges = Dictionary(minimumCapacity: minimumCapacity)
  }

  /// The merges of a vocabulary, from the first to the last rank.
  ///
  /// Throws `TokenizerError.badVocabulary` for a merge whose parts or result are no pieces.
  init(_ list: [ByteLevelBPE.Merge], of vocabulary: Vocabulary) throws {
    self.init(minimumCapacity: list.count)
    for (rank, merge) in list.enumerated() {
      func id(_ piece: String) throws -> Int32 {
        guard let id = vocabulary.id(of: piece) else {
          throw TokenizerError.badVocabulary(
            "merge \(rank), '\(merge.left) \(merge.right)', needs the piece '\(piece)', which is not there")
        }
        return id
      }
      insert(try id(merge.left), try id(merge.right), rank: rank, into: try id(merge.left + merge.right))
    }
  }

  /// Ranks follow the order of insertion; a pair that comes twice keeps its later rank, as a map read in
  /// order would.
  mutating func insert(_ left: Int32, _ right: Int32, rank: Int, into id: Int32) {
    merges[Self.key(left, right)] = (UInt32(rank), id)
  }

  private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
  }

  /// Merges neighbours, the lowest rank first and the leftmost of equals, until no pair has a rank.
  ///
  /// The symbols are a linked list and the candidates a heap: O(n log n) for a word of n symbols.
  func merge(_ symbols: [WordToken]) -> [WordToken] {
    guard symbols.count > 1 else { return symbols }
    var ids = symbols.map(\.id)
    let end = ids.count
    var next = Array(1...end)
    var previous = Array(-1..<end - 1)
    var isGone = [Bool](repeating: false, count: end)
    var candidates = MinHeap()

    func consider(_ left: Int, _ right: Int) {
      if let merge = merges[Self.key(ids[left], ids[right])] {
        candidates.push(UInt64(merge.rank) << 32 | UInt64(left))
      }
    }

    for left in 0..<end - 1 { consider(left, left + 1) }
    while let candidate = candidates.pop() {
      let left = Int(candidate & 0xFFFF_FFFF)
      let right = next[left]
      // A candidate is stale when one of its symbols has been merged since.
      guard !isGone[left], right < end, let merge = merges[Self.key(ids[left], ids[right])],
        merge.rank == UInt32(candidate >> 32)
      else { continue }
      ids[left] = merge.id
      isGone[right] = true
      next[left] = next[right]
      if next[left] < end {
        previous[next[left]] = left
        consider(left, next[left])
      }
      if previous[left] >= 0 { consider(previous[left], left) }
    }
    return ids.indices.filter { !isGone[$0] }.map { first in
      let last = next[first] - 1
      return WordToken(
        id: ids[first], range: symbols[first].range.lowerBound..<symbols[last].range.upperBound)
    }
  }
}

/// A binary heap that gives the smallest number first.
private struct MinHeap {
  private var items: [UInt64] = []

  mutating func push(_ item: UInt64) {
    var child = items.count
    items.append(item)
    while child > 0, items[(child - 1) / 2] > item {
      items[child] = items[(child - 1) / 2]
      child = (child - 1) / 2
    }
    items[child] = item
  }

  mutating func pop() -> UInt64? {
    guard let first = items.first, let item = items.popLast() else { return nil }
    guard !items.isEmpty else { return first }
    var hole = 0
    while true {
      var child = 2 * hole + 1
      guard child < items.count else { break }
      if child + 1 < items.count && items[child + 1] < items[child] { child += 1 }
      guard items[child] < item else { break }
      items[hole] = items[child]
      hole = child
    }
    items[hole] = item
    return first
  }
}
