import FlashCL

// Head sizes on both sides of the vectors; grouped and shared key heads; more keys than queries and fewer,
// under both alignments; sequences that end before, at and after a tile, and one without keys, whose rows
// must be 0. What no row may see is NaN: keys past a length, keys right of the last row, blocks that no table
// names. A key that only the last row sees is NaN or infinite, and must spoil that row alone. Queries, keys
// and values are views of one fused buffer.

extension Case {
  static var attentionCases: [Case] {
    attentionShapeCases + attentionCacheCases + attentionAppendCases + attentionOptionCases
      + attentionBenchCases
  }

  private static var attentionShapeCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.activations {
      for size in [1, 8, 16, 33, 40, 64, 80, 96, 128, 256] {
        cases.append(attention(type, DenseShape(queries: 33, keys: 33, size: size), causal: .upperLeft))
      }
      cases.append(attention(type, DenseShape(queries: 17, keys: 40, size: 192, valueSize: 128)))
    }
    cases.append(attention(.f32, DenseShape(heads: 1, queries: 18, keys: 35, size: 512), causal: .lowerRight))
    cases.append(attention(.f32, DenseShape(heads: 1, queries: 18, keys: 35, size: 3, valueSize: 509)))
    let fewer = DenseShape(batch: 2, queries: 65, keys: 31)
    let more = DenseShape(batch: 2, queries: 5, keys: 257)
    for causal in [nil, AttentionMask.Alignment.upperLeft, .lowerRight] {
      for shape in [fewer, more, DenseShape(heads: 9, keyHeads: 3, queries: 64, keys: 64)] {
        cases.append(attention(.f32, shape, causal: causal))
      }
      // One sequence without keys, one to a tile's border, one past it, one whole.
      for type in [ElementType.f32, .f16] {
        let shape = DenseShape(batch: 5, heads: 3, keyHeads: 1, queries: 33, keys: 70)
        cases.append(attention(type, shape, causal: causal, lengths: [0, 64, 65, 1, 70]))
        let few = DenseShape(batch: 5, heads: 3, keyHeads: 1, queries: 2, keys: 260, size: 32)
        cases.append(
          attention(type, few, causal: causal, lengths: [0, 128, 129, 1, 260], phase: .decode))
      }
    }
    for data in [AttentionData.nan, .infinity, .far, .large] {
      for type in [ElementType.f32, .bf16] {
        cases.append(
          attention(type, DenseShape(queries: 40, keys: 72, size: 32), causal: .lowerRight, data: data))
      }
    }
    // Whole tiles of 64 rows and 64 keys, and what lies around them.
    let tiles = DenseShape(heads: 3, queries: 150, keys: 257)
    cases += [
      attention(.f16, tiles), attention(.f16, tiles, causal: .upperLeft),
      attention(.f16, tiles, causal: .lowerRight, data: .far),
      attention(.f16, tiles, causal: .lowerRight, data: .infinity),
    ]
    cases.append(attention(.f32, DenseShape(heads: 1, queries: 1, keys: 1)))
    cases.append(attention(.f32, DenseShape(heads: 1, queries: 1, keys: 1), phase: .decode))
    cases.append(attention(.f32, DenseShape(batch: 2, queries: 3, keys: 0)))
    cases.append(attention(.f32, DenseShape(batch: 2, queries: 3, keys: 0), phase: .decode))
    cases.append(attention(.f32, DenseShape(queries: 0, keys: 5)))
    cases.append(attention(.f32, DenseShape(batch: 0, queries: 4, keys: 5)))
    cases.append(attention(.f32, DenseShape(heads: 4, queries: 129, keys: 129, size: 64), fused: true))
    cases.append(
      attention(
        .f16, DenseShape(batch: 2, heads: 6, keyHeads: 2, queries: 35, keys: 35, size: 40),
        causal: .lowerRight, fused: true))
    cases.append(
      attention(.f32, DenseShape(heads: 1, queries: 1025, keys: 1025, size: 8), causal: .upperLeft))
    cases.append(
      attention(.f32, DenseShape(batch: 300, heads: 220, keyHeads: 220, queries: 1, keys: 3, size: 2)))
    cases.append(attention(.f32, DenseShape(queries: 20, keys: 50), scale: 1))
    // The most keys that are served.
    cases.append(attention(.f32, DenseShape(heads: 1, queries: 1, keys: 1 << 20, size: 2), phase: .decode))
    return cases
  }

  private static var attentionCacheCases: [Case] {
    var cases: [Case] = []
    for (phase, queries) in [(Phase.decode, 1), (.decode, 2), (.decode, 4), (.prefill, 19), (.prefill, 65)] {
      // A sequence has at least the new tokens. Nine heads over three, as small models have, for the new
      // token alone.
      let (heads, keyHeads) = queries == 1 ? (9, 3) : (3, 1)
      for lengths in [[queries], [max(16, queries), max(17, queries)], [255, 256, 257]] {
        cases.append(paged(.f32, cache: .f32, phase, queries, lengths, heads: heads, keyHeads: keyHeads))
      }
      if queries != 65 {
        cases.append(paged(.f32, cache: .f32, phase, queries, [600, 70, 1025], heads: 3, keyHeads: 1))
        cases.append(paged(.f32, cache: .f16, phase, queries, [255, 31], heads: heads, keyHeads: keyHeads))
        for type in [ElementType.f32, .bf16] {
          cases.append(
            paged(type, cache: .q8_0, phase, queries, [255, 31], heads: heads, keyHeads: keyHeads))
        }
        cases.append(
          paged(.f32, cache: .q8_0, phase, queries, [140], heads: 2, keyHeads: 1, size: 32, valueSize: 160))
      }
      for page in [32, 48, 256] {
        cases.append(
          paged(.f32, cache: .f32, phase, queries, [300, 31, 256], heads: 3, keyHeads: 3, page: page))
      }
      cases.append(paged(.f32, cache: .bf16, phase, queries, [33, 70], heads: 4, keyHeads: 1, size: 40))
      cases.append(paged(.f16, cache: .f16, phase, queries, [33, 70], heads: 2, keyHeads: 2, size: 128))
      cases.append(paged(.f32, cache: .f32, phase, queries, [70, 0], heads: 3, keyHeads: 3, size: 33))
      cases.append(
        paged(.f32, cache: .f32, phase, queries, [90], heads: 4, keyHeads: 2, size: 192, valueSize: 128))
    }
    // Queries that matrix units round to the cache's type.
    cases += [
      paged(.f32, cache: .f16, .prefill, 130, [257, 130], heads: 2, keyHeads: 1, size: 32),
      paged(.f32, cache: .bf16, .prefill, 19, [70, 33], heads: 4, keyHeads: 2, size: 128),
    ]
    // Sequences of several lengths in one tensor: one without queries, one without keys.
    for type in [ElementType.f32, .f16] {
      for causal in [nil, AttentionMask.Alignment.upperLeft, .lowerRight] {
        cases.append(ragged(type, queries: [5, 0, 33, 1, 17], keys: [40, 3, 33, 64, 0], causal: causal))
      }
      cases.append(ragged(type, queries: [1, 3, 1], keys: [129, 0, 300], phase: .decode))
    }
    return cases
  }

  private static var attentionBenchCases: [Case] {
    var cases: [Case] = []
    for count in [128, 512, 1024, 2048, 4096] {
      for causal in [nil, AttentionMask.Alignment.lowerRight] {
        let shape = DenseShape(heads: 8, keyHeads: 8, queries: count, keys: count)
        cases.append(attention(.f32, shape, causal: causal, purpose: .bench))
      }
    }
    for length in [128, 512, 2048] {
      for type in [ElementType.f32, .f16] {
        cases.append(paged(.f32, cache: type, .decode, 1, [length], heads: 9, keyHeads: 3, purpose: .bench))
      }
    }
    // A cache larger than the second-level cache of any processor here: 16384 · 8 · 128 · 4 B = 64 MiB.
    for type in [ElementType.f32, .f16, .q8_0] {
      for size in [64, 128] {
        cases.append(
          paged(.f32, cache: type, .decode, 1, [16384], heads: 8, keyHeads: 8, size: size, purpose: .bench))
      }
    }
    // Rows that share their keys: what decode by matrix units is for.
    for queries in [1, 8] {
      cases.append(
        paged(
          .f32, cache: .f16, .decode, queries, [16384], heads: 32, keyHeads: 8, size: 128, purpose: .bench))
    }
    return cases + attentionOptionBenchCases
  }

  enum AttentionData: String {
    case normal
    /// The last key, seen by the last row alone, is NaN.
    case nan
    /// The last value, seen by the last row alone, is infinite.
    case infinity
    /// The greatest scores come last, so that a running maximum moves in every tile.
    case far
    /// Scores beyond the overflow of e^x.
    case large
    /// Keys and values 3 and 20 are NaN and infinite; the mask of the case hides them from every row.
    case hidden
  }

  struct DenseShape {
    var batch = 1
    var heads = 2
    var keyHeads = 1
    var queries: Int
    var keys: Int
    var size = 64
    var valueSize: Int?
  }

  /// Options made for a case: the name they have in it, and how its workbench makes them.
  struct AttentionTerms: Sendable {
    let name: String
    let make: @Sendable (Workbench, DenseShape) throws -> AttentionOptions
  }

  static func attention(
    _ type: ElementType, _ shape: DenseShape, causal: AttentionMask.Alignment? = nil, lengths: [Int]? = nil,
    data: AttentionData = .normal, fused: Bool = false, scale: Float? = nil, phase: Phase = .prefill,
    terms: AttentionTerms? = nil, tolerance: Tolerance = .twice(), purpose: Purpose = .check
  ) -> Case {
    let valueSize = shape.valueSize ?? shape.size
    return Case(
      Attention.self, type,
      [
        "keys_in": fused ? "fused" : "dense", "phase": phase.rawValue, "causal": causal?.rawValue ?? "none",
        "options": terms?.name ?? "none", "B": shape.batch, "Hq": shape.heads, "Hkv": shape.keyHeads,
        "Lq": shape.queries, "Lk": shape.keys, "D": shape.size, "Dv": valueSize,
        "lengths": lengths.map { $0.map(String.init).joined(separator: "+") } ?? "all",
        "data": data.rawValue, "scale": scale.map { "\($0)" } ?? "default",
      ],
      tolerance, purpose: purpose
    ) { bench in
      let (q, keys, values): (Tensor, Tensor, Tensor)
      if fused {
        let (hq, hkv) = (shape.heads * shape.size, shape.keyHeads * shape.size)
        let qkv = try bench.normal([shape.batch * shape.queries, hq + 2 * hkv], type)
        q = qkv.slice(1, 0..<hq).heads(shape.heads, batch: shape.batch)
        keys = qkv.slice(1, hq..<hq + hkv).heads(shape.keyHeads, batch: shape.batch)
        values = qkv.slice(1, hq + hkv..<hq + 2 * hkv).heads(shape.keyHeads, batch: shape.batch)
      } else {
        q = try bench.normal(
          [shape.batch, shape.heads, shape.queries, shape.size], type, deviation: data == .large ? 40 : 1)
        keys = try bench.keys(shape.batch, shape.keyHeads, shape.keys, shape.size, type) { b, j in
          if j >= lengths?[b] ?? shape.keys { return .nan }
          if causal == .upperLeft && j >= shape.queries { return .nan }
          if j == shape.keys - 1 && data == .nan { return .nan }
          if data == .hidden && (j == 3 || j == 20) { return j == 3 ? .nan : .infinity }
          return data == .far ? Double(j) / 8 : data == .large ? 10 : 1
        }
        values = try bench.keys(shape.batch, shape.keyHeads, shape.keys, valueSize, type) { b, j in
          if j >= lengths?[b] ?? shape.keys { return .nan }
          if causal == .upperLeft && j >= shape.queries { return .nan }
          if data == .hidden && (j == 3 || j == 20) { return j == 3 ? .infinity : .nan }
          return j == shape.keys - 1 && data == .infinity ? .infinity : 1
        }
      }
      var options = try terms?.make(bench, shape) ?? AttentionOptions()
      if let causal { options.mask = options.mask.and(.causal(causal)) }
      if let scale { options.scale = scale }
      let y = try bench.output([shape.batch, shape.queries, shape.heads, valueSize], type)
      return Attention(
        q: q,
        source: .dense(keys: keys, values: values, lengths: try lengths.map { try bench.integers($0) }),
        options: options, phase: phase, y: y.permuted([0, 2, 1, 3]),
        logSumExp: options.choice == .soft && purpose == .check
          ? try bench.output([shape.batch, shape.heads, shape.queries]) : nil)
    }
  }

  static func paged(
    _ type: ElementType, cache: ElementType, _ phase: Phase, _ queries: Int, _ lengths: [Int], heads: Int = 9,
    keyHeads: Int = 3, size: Int = 64, valueSize: Int? = nil, page: Int = 16, terms: AttentionTerms? = nil,
    purpose: Purpose = .check
  ) -> Case {
    let valueSize = valueSize ?? size
    return Case(
      Attention.self, type,
      [
        "keys_in": cache.rawValue, "phase": phase.rawValue, "options": terms?.name ?? "none", "Hq": heads,
        "Hkv": keyHeads, "Lq": queries, "lengths": lengths.map(String.init).joined(separator: "+"), "D": size,
        "Dv": valueSize, "page": page,
      ],
      .twice(cache: cache), purpose: purpose
    ) { bench in
      let plan = try bench.cache(
        lengths, heads: keyHeads, keySize: size, valueSize: valueSize, cache, blockLength: page)
      let tokens = lengths.reduce(0, +)
      try bench.run(
        CacheAppend(
          keys: bench.normal([tokens, keyHeads, size]), values: bench.normal([tokens, keyHeads, valueSize]),
          slots: bench.integers(plan.slots.flatMap { $0 }), cache: plan.cache))
      let shape = DenseShape(
        batch: lengths.count, heads: heads, keyHeads: keyHeads, queries: queries, keys: lengths.max() ?? 0,
        size: size, valueSize: valueSize)
      var options = try terms?.make(bench, shape) ?? AttentionOptions()
      options.mask = options.mask.and(.causal(.lowerRight))
      return try bench.attention(
        over: plan, queries: queries, heads: heads, size: size, valueSize: valueSize, type, phase, options)
    }
  }

  private static func ragged(
    _ type: ElementType, queries: [Int], keys: [Int], causal: AttentionMask.Alignment? = nil,
    phase: Phase = .prefill, size: Int = 32
  ) -> Case {
    let (heads, keyHeads) = (4, 2)
    return Case(
      Attention.self, type,
      [
        "keys_in": "ragged", "phase": phase.rawValue, "causal": causal?.rawValue ?? "none", "Hq": heads,
        "Hkv": keyHeads, "Lq": queries.map(String.init).joined(separator: "+"),
        "Lk": keys.map(String.init).joined(separator: "+"), "D": size,
      ],
      .twice()
    ) { bench in
      let (rows, count) = (queries.reduce(0, +), keys.reduce(0, +))
      func starts(_ lengths: [Int]) throws -> Tensor {
        try bench.integers(lengths.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) })
      }
      let y = try bench.output([rows, heads, size], type)
      return Attention(
        q: try bench.normal([rows, heads * size], type).heads(heads),
        rows: .ragged(starts: try starts(queries), longest: queries.max() ?? 0),
        source: .ragged(
          keys: try bench.normal([count, keyHeads * size], type).heads(keyHeads),
          values: try bench.normal([count, keyHeads * size], type).heads(keyHeads), starts: try starts(keys),
          longest: keys.max() ?? 0),
        options: AttentionOptions(mask: causal.map { .causal($0) } ?? .all), phase: phase,
        y: y.reshaped([rows, heads * size]).heads(heads), logSumExp: try bench.output([1, heads, rows]))
    }
  }
}

extension Workbench {
  /// Normal values times `factor` of sequence and key, which may be NaN.
  fileprivate func keys(
    _ batch: Int, _ heads: Int, _ count: Int, _ size: Int, _ type: ElementType,
    factor: (_ b: Int, _ j: Int) -> Double
  ) throws -> Tensor {
    var values = normal(batch * heads * count * size)
    for i in values.indices { values[i] *= factor(i / (heads * count * size), i / size % count) }
    return try tensor(values, [batch, heads, count, size], type)
  }

  /// The attention of random queries over every sequence of a cache.
  func attention(
    over plan: CachePlan, queries: Int, heads: Int, size: Int, valueSize: Int, _ type: ElementType,
    _ phase: Phase, _ options: AttentionOptions = AttentionOptions(mask: .causal(.lowerRight))
  ) throws -> Attention {
    let batch = plan.slots.count
    let y = try output([batch, queries, heads, valueSize], type)
    return Attention(
      q: try normal([batch * queries, heads * size], type).heads(heads, batch: batch),
      source: .paged(cache: plan.cache, table: plan.table, lengths: plan.lengths, longest: plan.longest),
      options: options, phase: phase, y: y.permuted([0, 2, 1, 3]))
  }
}
