/// Words with a value each, found by the longest one that begins at a place in a text.
struct ScalarTrie: Sendable, Equatable {
  // One dictionary for all edges: (node, scalar) to node. Node 0 is the root.
  private var edges: [UInt64: UInt32] = [:]
  private var values: [Int32?] = [nil]

  /// Adds a word; of equal words the first keeps its value, and the empty word is never found.
  mutating func insert(_ word: some Sequence<Unicode.Scalar>, value: Int32) {
    var node: UInt32 = 0
    for scalar in word {
      let edge = Self.edge(node, scalar)
      if let next = edges[edge] {
        node = next
      } else {
        let next = UInt32(values.count)
        edges[edge] = next
        values.append(nil)
        node = next
      }
    }
    if node != 0 && values[Int(node)] == nil { values[Int(node)] = value }
  }

  /// The longest word of the trie at the start of `text`: its value and the index where it ends.
  func longestMatch(in text: ArraySlice<Unicode.Scalar>) -> (value: Int32, end: Int)? {
    var best: (value: Int32, end: Int)?
    var node: UInt32 = 0
    for index in text.indices {
      guard let next = edges[Self.edge(node, text[index])] else { break }
      node = next
      if let value = values[Int(node)] { best = (value, index + 1) }
    }
    return best
  }

  /// Every word of the trie at the start of `text`, from the shortest on.
  func forEachMatch(in text: ArraySlice<Unicode.Scalar>, _ body: (_ value: Int32, _ end: Int) -> Void) {
    var node: UInt32 = 0
    for index in text.indices {
      guard let next = edges[Self.edge(node, text[index])] else { break }
      node = next
      if let value = values[Int(node)] { body(value, index + 1) }
    }
  }

  private static func edge(_ node: UInt32, _ scalar: Unicode.Scalar) -> UInt64 {
    UInt64(node) << 32 | UInt64(scalar.value)
  }
}
