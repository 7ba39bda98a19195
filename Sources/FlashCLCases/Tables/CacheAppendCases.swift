import FlashCL

// The cache is full of NaN and only a paged attention can look inside, so it is the witness: a key that was
// not written, or written elsewhere, turns rows to NaN. Slots come in shuffled order; some lie outside the
// cache and must be passed over without harm to the others. Sequences are filled in two calls, the second one, of half
// the tokens or one more, under test.

extension Case {
  static var cacheAppendCases: [Case] {
    var cases: [Case] = []
    for cache in ElementType.activations + [.q8_0] {
      for lengths in [[1], [17, 16], [40, 3, 70]] { cases.append(append(cache, lengths)) }
      let (size, valueSize) = cache == .q8_0 ? (96, 32) : (40, 24)
      cases.append(append(cache, [33, 5], keyHeads: 2, size: size, valueSize: valueSize))
      cases.append(append(cache, [33, 5], outside: true))
      for pairing in Rope.Pairing.allCases {
        cases.append(append(cache, [40, 3, 17], pairing: pairing, rotary: 64))
        cases.append(append(cache, [40, 3, 17], size: 96, pairing: pairing, rotary: 24))
      }
    }
    for cache in [ElementType.f32, .q8_0] {
      for pairing in Rope.Pairing.allCases {
        cases.append(turn(cache, pairing, tokens: 7, rotary: 64))
        cases.append(turn(cache, pairing, tokens: 1, rotary: 24))
      }
    }
    cases.append(append(.f32, [512], pairing: .halves, rotary: 64, purpose: .bench))
    cases.append(append(.f16, [1], pairing: .halves, rotary: 64, purpose: .bench))
    return cases
  }

  /// Queries, keys and values of a fused buffer, of which the queries are judged.
  static func turn(_ cache: ElementType, _ pairing: Rope.Pairing, tokens: Int, rotary: Int) -> Case {
    let (heads, keyHeads, size) = (9, 3, 64)
    return Case(
      CacheAppend.self, cache,
      ["judged": "queries", "tokens": tokens, "rope": pairing.rawValue, "rotary": rotary], .dot(length: 2)
    ) { bench in
      let rows = try bench.normal([tokens, (heads + 2 * keyHeads) * size])
      func part(_ first: Int, _ count: Int) -> Tensor {
        rows.slice(1, first * size..<(first + count) * size).tokens(count)
      }
      let plan = try bench.cache([tokens], heads: keyHeads, keySize: size, valueSize: size, cache)
      return CacheAppend(
        keys: part(heads, keyHeads), values: part(heads + keyHeads, keyHeads),
        slots: try bench.integers(plan.slots[0]),
        positions: try bench.integers((0..<tokens).map { ($0 * 37 + 5) % 300 }),
        table: try bench.ropeTable(length: 300, rotary: rotary, pairing), queries: part(0, heads),
        cache: plan.cache)
    }
  }

  static func append(
    _ type: ElementType, _ lengths: [Int], keyHeads: Int = 3, size: Int = 64, valueSize: Int? = nil,
    pairing: Rope.Pairing? = nil, rotary: Int = 0, outside: Bool = false, purpose: Purpose = .check
  ) -> Case {
    let valueSize = valueSize ?? size
    return Case(
      CacheAppend.self, type,
      [
        "lengths": lengths.map(String.init).joined(separator: "+"), "Hkv": keyHeads, "D": size,
        "Dv": valueSize,
        "rope": pairing?.rawValue ?? "none", "rotary": rotary, "outside": outside,
      ],
      [.twice(cache: pairing == nil && type != .q8_0 ? .f32 : type)], purpose
    ) { bench in
      let plan = try bench.cache(lengths, heads: keyHeads, keySize: size, valueSize: valueSize, type)
      let table = try pairing.map {
        try bench.ropeTable(length: max(300, lengths.max() ?? 0), rotary: rotary, $0)
      }
      var random = bench.random()
      // Token t of the shuffled order: its slot and its place in its sequence. Both follow one permutation on
      // every backend.
      let tokens = plan.slots.flatMap { slots in slots.enumerated().map { (slot: $1, position: $0) } }
        .shuffled(using: &random)
      let (early, late) = (tokens.prefix(tokens.count / 2), tokens.dropFirst(tokens.count / 2))

      func append(_ tokens: ArraySlice<(slot: Int, position: Int)>) throws -> CacheAppend {
        let (count, widths) = (tokens.count, (keyHeads * size, keyHeads * valueSize))
        let fused = try bench.normal([count, widths.0 + widths.1 + 5])
        var slots = tokens.map(\.slot)
        var positions = tokens.map(\.position)
        var rows = fused
        if outside {
          slots += [-1, plan.cache.blocks * plan.cache.blockLength, Int(Int32.max)]
          positions += [0, 1, 2]
          rows = try bench.normal([count + 3, widths.0 + widths.1 + 5])
        }
        return CacheAppend(
          keys: rows.slice(1, 0..<widths.0).tokens(keyHeads),
          values: rows.slice(1, widths.0..<widths.0 + widths.1).tokens(keyHeads),
          slots: try bench.integers(slots), positions: table == nil ? nil : try bench.integers(positions),
          table: table, cache: plan.cache)
      }
      if !early.isEmpty { try bench.run(append(early)) }
      let operation = try append(late)
      let witness = try bench.attention(
        over: plan, queries: 1, heads: 2 * keyHeads, size: size, valueSize: valueSize, .f32, .decode)
      return Trial(operation, witness: witness)
    }
  }
}
