import FlashCL

// Attention whose new keys and values join the cache on the way, queries and keys turned, all three views of one fused buffer.
// New tokens in one split and in two, in the first split and past sixteen of them; more rows than a group takes at once; a
// sequence of new tokens alone. The witness asks what the cache holds afterwards.

extension Case {
  static var attentionAppendCases: [Case] {
    var cases: [Case] = []
    for witnessed in [false, true] {
      cases += [
        appending(.f32, cache: .f32, .decode, [1, 1, 1], [1, 17, 300], .halves, witnessed: witnessed),
        appending(
          .f32, cache: .f32, .decode, [4, 4, 4], [130, 4, 257], heads: 3, keyHeads: 1, size: 40, page: 48,
          .adjacent, rotary: 24, witnessed: witnessed),
        appending(
          .f32, cache: .q8_0, .decode, [2, 2], [129, 70], heads: 4, keyHeads: 2, .halves,
          witnessed: witnessed),
      ]
    }
    cases += [
      appending(.f32, cache: .f32, .decode, [3, 3], [3, 100], heads: 4, keyHeads: 2, size: 16, .halves),
      appending(.f32, cache: .q8_0, .decode, [3, 3], [3, 100], heads: 4, keyHeads: 2, size: 32, .halves),
      appending(.f32, cache: .bf16, .decode, [1], [255], nil),
      appending(.f32, cache: .f16, .decode, [1, 3, 0, 2], [40, 130, 3, 2], heads: 4, keyHeads: 2, .halves),
      appending(
        .f32, cache: .f32, .decode, [16], [2100], heads: 8, keyHeads: 1, size: 16, .halves, window: 2090),
      // 128 rows for one key head.
      appending(.f32, cache: .f16, .decode, [16], [300], heads: 8, keyHeads: 1, size: 32, .halves),
      appending(.f32, cache: .f32, .prefill, [19, 19], [19, 70], .halves),
    ]
    return cases
  }

  /// Sequences of these lengths with the new tokens, the last of each; nil turns nothing. A `window` counts the token itself.
  static func appending(
    _ type: ElementType, cache: ElementType, _ phase: Phase, _ queries: [Int], _ lengths: [Int],
    heads: Int = 9, keyHeads: Int = 3, size: Int = 64, page: Int = 16, _ pairing: Rope.Pairing?,
    rotary: Int? = nil, window: Int? = nil, witnessed: Bool = false, purpose: Purpose = .check
  ) -> Case {
    let rotary = pairing == nil ? 0 : rotary ?? size
    return Case(
      Attention.self, type,
      [
        "keys_in": cache.rawValue, "appends": witnessed ? "witnessed" : "judged", "phase": phase.rawValue,
        "rope": pairing?.rawValue ?? "none", "rotary": rotary, "Hq": heads, "Hkv": keyHeads,
        "Lq": queries.map(String.init).joined(separator: "+"),
        "lengths": lengths.map(String.init).joined(separator: "+"), "D": size, "page": page,
        "window": window ?? 0,
      ],
      [.twice(cache: cache)], purpose
    ) { bench in
      let plan = try bench.cache(
        lengths, heads: keyHeads, keySize: size, valueSize: size, cache, blockLength: page)
      let places = zip(queries, lengths).map { new, length in length - new..<length }
      let slots = zip(plan.slots, places).map { slots, places in slots[places] }
      let old = zip(plan.slots, places).flatMap { slots, places in slots[..<places.lowerBound] }
      if !old.isEmpty {
        try bench.run(
          CacheAppend(
            keys: bench.normal([old.count, keyHeads, size]),
            values: bench.normal([old.count, keyHeads, size]), slots: bench.integers(old), cache: plan.cache))
      }
      let tokens = queries.reduce(0, +)
      let rows = try bench.normal([tokens, (heads + 2 * keyHeads) * size], type)
      func part(_ first: Int, _ count: Int) -> Tensor { rows.slice(1, first * size..<(first + count) * size) }
      let table = try pairing.map {
        try bench.ropeTable(length: lengths.max() ?? 1, rotary: rotary, $0)
      }
      let new = CacheAppend(
        keys: part(heads, keyHeads).tokens(keyHeads),
        values: part(heads + keyHeads, keyHeads).tokens(keyHeads),
        slots: try bench.integers(slots.flatMap { $0 }),
        positions: table == nil ? nil : try bench.integers(places.flatMap { $0 }), table: table,
        queries: table == nil ? nil : part(0, heads).tokens(heads), cache: plan.cache)
      let isEqual = queries.allSatisfy { $0 == queries[0] }
      let y = try bench.output([tokens, heads * size], type)
      let batch = isEqual ? queries.count : 1
      let operation = Attention(
        q: part(0, heads).heads(heads, batch: batch), appending: new,
        rows: isEqual
          ? .equal
          : .ragged(
            starts: try bench.integers(queries.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }),
            longest: queries.max() ?? 0),
        source: .paged(cache: plan.cache, table: plan.table, lengths: plan.lengths, longest: plan.longest),
        options: AttentionOptions(
          mask: window.map { .window(left: $0 - 1, right: 0) } ?? .causal(.lowerRight)),
        phase: phase, y: y.heads(heads, batch: batch))
      guard witnessed else { return Trial(operation) }
      return Trial(
        operation,
        witness: try bench.attention(
          over: plan, queries: 1, heads: heads, size: size, valueSize: size, .f32, .decode))
    }
  }
}
