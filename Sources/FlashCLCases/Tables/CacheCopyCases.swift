import FlashCL

// The cache is full of NaN and only a paged attention can look inside. Every sequence is filled, its blocks are copied to
// others, and the witness reads both: the copies, which are NaN where a word is missing, and the originals, which must be
// as before. Pairs with a block outside the cache stand among the others.

extension Case {
  static var cacheCopyCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.activations + [.q8_0] {
      let (size, valueSize) = type == .q8_0 ? (96, 32) : (40, 24)
      for lengths in [[1], [17, 40]] { cases.append(cacheCopy(type, lengths)) }
      cases.append(cacheCopy(type, [33, 5], keyHeads: 1, size: size, valueSize: valueSize))
      cases.append(cacheCopy(type, [70], blockLength: 32))
    }
    cases.append(cacheCopy(.f32, [Int](repeating: 16, count: 8), purpose: .bench))
    return cases
  }

  private static func cacheCopy(
    _ type: ElementType, _ lengths: [Int], keyHeads: Int = 3, size: Int = 64, valueSize: Int = 64,
    blockLength: Int = 16, purpose: Purpose = .check
  ) -> Case {
    Case(
      CacheCopy.self, type,
      [
        "lengths": lengths.map(String.init).joined(separator: "+"), "Hkv": keyHeads, "D": size,
        "Dv": valueSize,
        "block": blockLength,
      ],
      [.twice(cache: type == .q8_0 ? type : .f32)], purpose
    ) { bench in
      // Each sequence twice: the second has the blocks that the first is copied to.
      let plan = try bench.cache(
        lengths + lengths, heads: keyHeads, keySize: size, valueSize: valueSize, type,
        blockLength: blockLength)
      let originals = plan.slots.prefix(lengths.count).flatMap { $0 }
      let copies = plan.slots.dropFirst(lengths.count).flatMap { $0 }
      try bench.run(
        CacheAppend(
          keys: bench.normal([originals.count, keyHeads, size]),
          values: bench.normal([originals.count, keyHeads, valueSize]), slots: bench.integers(originals),
          cache: plan.cache))
      let pairs = zip(originals, copies).map { ($0 / blockLength, $1 / blockLength) }
      var from: [Int] = []
      var to: [Int] = []
      for (source, target) in pairs where from.last != source {
        from.append(source)
        to.append(target)
      }
      from += [-1, 0, plan.cache.blocks, 0]
      to += [0, -1, 0, plan.cache.blocks]
      let witness = try bench.attention(
        over: plan, queries: 1, heads: 2 * keyHeads, size: size, valueSize: valueSize, .f32, .decode)
      return Trial(
        CacheCopy(from: try bench.integers(from), to: try bench.integers(to), cache: plan.cache),
        witness: witness)
    }
  }
}
