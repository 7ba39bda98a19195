import FlashCL

// Every kind of mask, score and output by every strategy: in prefill over 37 queries and 70 keys (borders of 16 and 32 on
// both sides), more queries than keys, decode over three splits, and pages. Heads are three over one where slopes and
// tables differ by head. What a mask hides from all rows is NaN and infinite once for each way of hiding.

extension Case {
  static var attentionOptionCases: [Case] {
    var cases: [Case] = []
    let wide = DenseShape(batch: 2, heads: 3, queries: 37, keys: 70, size: 16)
    let tall = DenseShape(heads: 3, queries: 50, keys: 33, size: 16)
    let few = DenseShape(batch: 2, heads: 3, queries: 2, keys: 300, size: 16)
    for terms in maskTerms + scoreTerms + mixedTerms {
      cases.append(attention(.f32, wide, terms: terms))
      cases.append(attention(.f32, wide, lengths: [70, 41], terms: terms))
      cases.append(attention(.f32, tall, causal: .lowerRight, terms: terms))
      cases.append(attention(.f32, few, phase: .decode, terms: terms))
    }
    // Decode over one split: what several tell each other is a race to tools that know no fences.
    let short = DenseShape(batch: 2, heads: 3, queries: 2, keys: 100, size: 16)
    for terms in mixedTerms + [window(5, 3)] {
      cases.append(attention(.f32, short, phase: .decode, terms: terms))
    }
    // One size for all, so that strategies share their programs; other sizes and types for terms that read q, k or v.
    let narrow = DenseShape(batch: 2, heads: 3, queries: 37, keys: 70, size: 40, valueSize: 24)
    for terms in [xl, bias] + mixedTerms
      + scoreTerms.filter({ ["shaw", "deberta", "general"].contains($0.name) })
    {
      cases.append(attention(.f16, narrow, terms: terms))
    }
    // Heads for matrix units, over three tiles of 64 rows and of 64 keys: a pattern whose tiles are known, and one whose are
    // not, factors of weights, and values that are hidden.
    let tiles = DenseShape(heads: 3, queries: 130, keys: 150, size: 16)
    for terms in mixedTerms + [focus("focus_gaussian", gaussian: true)] {
      cases.append(attention(.f16, tiles, terms: terms))
    }
    cases.append(attention(.f16, tiles, data: .hidden, terms: hidingTerms[1]))
    // Terms that tell rows apart, over all of the rows that an item of attention_blocks makes at once.
    for terms in [xl] + scoreTerms.filter({ ["alibi", "sinks", "score_mod"].contains($0.name) }) {
      cases.append(attention(.f32, tiles, terms: terms))
    }
    for terms in pagedTerms {
      cases.append(
        paged(.f32, cache: .f32, .decode, 1, [300, 70], heads: 3, keyHeads: 1, size: 16, terms: terms))
      cases.append(
        paged(.f32, cache: .f32, .prefill, 19, [50, 300], heads: 3, keyHeads: 1, size: 16, terms: terms))
    }
    for terms in hidingTerms {
      cases.append(attention(.f32, wide, data: .hidden, terms: terms))
      cases.append(attention(.f32, few, data: .hidden, phase: .decode, terms: terms))
    }
    for terms in choiceTerms {
      cases.append(attention(.f32, wide, terms: terms, tolerance: .exact))
      cases.append(attention(.f32, few, phase: .decode, terms: terms, tolerance: .exact))
    }
    // Long rows, where whole tiles, partial ones and gaps alternate.
    for terms in [window(20, 4), window(32, 31), bigBird, documents, segments] {
      let shape = DenseShape(heads: 2, keyHeads: 2, queries: 257, keys: 257, size: 16)
      cases.append(attention(.f32, shape, terms: terms))
      cases.append(attention(.f32, shape, causal: .upperLeft, terms: terms))
    }
    return cases
  }

  static var attentionWeightsCases: [Case] {
    (maskTerms + scoreTerms.filter { $0.name != "shaw" }).map { terms in
      let shape = DenseShape(batch: 2, heads: 3, queries: 9, keys: 33, size: 8)
      return Case(
        AttentionWeights.self, .f32, ["options": terms.name, "Lq": shape.queries, "Lk": shape.keys], .twice()
      ) { bench in
        let q = try bench.normal([shape.batch, shape.heads, shape.queries, shape.size])
        let keys = try bench.normal([shape.batch, shape.keyHeads, shape.keys, shape.size])
        let attention = Attention(
          q: q, source: .dense(keys: keys, values: keys, lengths: try bench.integers([33, 20])),
          options: try terms.make(bench, shape), y: q)
        return AttentionWeights(
          of: attention, heads: [2, 0],
          weights: try bench.output([shape.batch, 2, shape.queries, shape.keys]))
      }
    }
  }

  /// The weights of every head, without options, to be timed.
  static func attentionWeights(
    _ type: ElementType, _ shape: DenseShape, causal: AttentionMask.Alignment? = nil
  ) -> Case {
    Case(
      AttentionWeights.self, type,
      [
        "causal": causal?.rawValue ?? "none", "B": shape.batch, "Hq": shape.heads, "Hkv": shape.keyHeads,
        "Lq": shape.queries, "Lk": shape.keys, "D": shape.size,
      ], .twice(), purpose: .bench
    ) { bench in
      let q = try bench.normal([shape.batch, shape.heads, shape.queries, shape.size], type)
      let keys = try bench.normal([shape.batch, shape.keyHeads, shape.keys, shape.size], type)
      let attention = Attention(
        q: q, source: .dense(keys: keys, values: keys, lengths: nil),
        options: AttentionOptions(mask: causal.map { .causal($0) } ?? .all), y: q)
      return AttentionWeights(
        of: attention, heads: [Int](0..<shape.heads),
        weights: try bench.output([shape.batch, shape.heads, shape.queries, shape.keys]))
    }
  }

  static var attentionOptionBenchCases: [Case] {
    let shape = DenseShape(heads: 8, keyHeads: 8, queries: 4096, keys: 4096)
    let long = DenseShape(heads: 8, keyHeads: 8, queries: 16384, keys: 16384)
    return [
      attention(.f32, shape, causal: .lowerRight, terms: window(255, 0), purpose: .bench),
      attention(.f32, long, causal: .lowerRight, terms: window(255, 0), purpose: .bench),
      attention(.f32, shape, terms: bigBird64, purpose: .bench),
      attention(.f32, shape, terms: longformer256, purpose: .bench),
      attention(.f32, shape, causal: .lowerRight, terms: alibi, purpose: .bench),
      attention(.f32, shape, causal: .lowerRight, terms: softcap, purpose: .bench),
      attention(.f32, shape, terms: relative, purpose: .bench),
      attention(.f32, shape, terms: scoreMod, purpose: .bench),
      attention(
        .f32, DenseShape(heads: 8, keyHeads: 8, queries: 1024, keys: 1024), terms: xl, purpose: .bench),
      attention(
        .f32, DenseShape(heads: 8, keyHeads: 8, queries: 1024, keys: 1024), terms: bias, purpose: .bench),
      paged(
        .f32, cache: .f32, .decode, 1, [16384], heads: 8, keyHeads: 8, terms: window(255, 0), purpose: .bench),
    ]
  }

  // MARK: - Masks

  static func mask(_ name: String, _ mask: AttentionMask) -> AttentionTerms {
    // A mask without tensors is the same everywhere.
    nonisolated(unsafe) let mask = mask
    return AttentionTerms(name: name) { _, _ in AttentionOptions(mask: mask) }
  }

  static func window(_ left: Int, _ right: Int) -> AttentionTerms {
    mask("window_\(left)_\(right)", .window(left: left, right: right))
  }

  private static func blocks(
    _ name: String, size: Int, _ keys: @escaping @Sendable (_ rows: Int, _ columns: Int) -> [[Int]]
  ) -> AttentionTerms {
    AttentionTerms(name: name) { _, shape in
      let (rows, columns) = ((shape.queries + size - 1) / size, (shape.keys + size - 1) / size)
      return AttentionOptions(
        mask: .blocks(try BlockMask(size: size, columns: columns, keys: keys(rows, columns))))
    }
  }

  /// Every third block of the diagonal, and block 0 twice.
  private static func sparseBlocks(_ size: Int) -> AttentionTerms {
    blocks("blocks_\(size)", size: size) { rows, columns in
      (0..<rows).map { row in
        (0..<columns).filter { ($0 + row) % 3 != 1 } + (row % 2 == 0 && columns > 0 ? [0] : [])
      }
    }
  }

  private static let bigBird = blocks("big_bird", size: 16) { rows, columns in
    // The published pattern, cut to queries that are fewer or more than keys.
    let map = try? BlockMask.bigBird(size: 16, blocks: max(rows, columns), random: 2, seed: 7)
    return (0..<rows).map { row in
      (0..<columns).filter { map?.counts[row * max(rows, columns) + $0] == 1 }
    }
  }

  private static let bigBird64 = bigBird("big_bird", size: 64)

  /// The published pattern for as many queries as keys, with three random blocks a row.
  static func bigBird(_ name: String, size: Int) -> AttentionTerms {
    blocks(name, size: size) { rows, columns in
      let map = try? BlockMask.bigBird(size: size, blocks: columns, random: 3, seed: 7)
      return (0..<rows).map { row in (0..<columns).filter { map?.counts[row * columns + $0] == 1 } }
    }
  }

  /// Of each row of blocks of 64 the one on the diagonal and, of the others, a share that is drawn.
  static func blocks(_ name: String, percent: Int) -> AttentionTerms {
    blocks(name, size: 64) { rows, columns in
      var random = SplitMix64(seed: 11)
      let others = max(0, columns * percent / 100 - 1)
      return (0..<rows).map { row in
        let diagonal = min(row, columns - 1)
        let drawn = (0..<columns).filter { $0 != diagonal }.shuffled(using: &random).prefix(others)
        return ([diagonal] + drawn).sorted()
      }
    }
  }

  private static let longformer256 = mask(
    "longformer", .local(256).or(.global([0, 1, 2, 3])))

  private static let segments = mask(
    "segments",
    .segments([
      .init(length: 16, dilation: 1), .init(length: 32, dilation: 2), .init(length: 128, dilation: 4),
    ]))

  /// A mask tensor with one document after another, and row 5 without keys.
  private static let documents = tensorMask("mask", axes: [true, true, true, true]) { i, j in
    i != 5 && i / 13 == j / 13
  }

  private static func tensorMask(
    _ name: String, axes: [Bool], _ keeps: @escaping @Sendable (_ i: Int, _ j: Int) -> Bool
  ) -> AttentionTerms {
    AttentionTerms(name: name) { bench, shape in
      let full = [shape.batch, shape.heads, shape.queries, shape.keys]
      let sizes = zip(full, axes).map { $1 ? $0 : 1 }
      let count = sizes.reduce(1, *)
      let values = (0..<count).map { n -> Double in
        let (i, j) = (n / sizes[3] % sizes[2], n % sizes[3])
        return keeps(i, j) && (n / max(1, sizes[2] * sizes[3]) + j) % 7 != 6 ? 1 : 0
      }
      return AttentionOptions(mask: .tensor(try bench.tensor(values, sizes, .bool)))
    }
  }

  private static var maskTerms: [AttentionTerms] {
    [
      window(5, 3), window(0, 0), window(-1, 2), window(40, -1), window(130, 0),
      mask("atrous_3", .atrous(3)), mask("atrous_40", .atrous(40)), mask("strided_5", .strided(5)),
      mask("dilated", .dilatedWindow(left: 12, right: 6, dilation: 3)),
      mask("global", .local(4).or(.global([0, 5, 40, 299]))),
      mask("upper_left_window", AttentionMask.causal(.upperLeft).and(.window(left: 20, right: -1))),
      segments, mask("one_segment", .segments([.init(length: 24, dilation: 3)])),
      mask(
        "counted_or",
        .segments([.init(length: 16, dilation: 1), .init(length: 32, dilation: 1)]).or(.local(2))),
    ]
  }

  // MARK: - Scores

  private static let bias = biased("bias", axes: [true, true, true, true])

  private static func biased(_ name: String, axes: [Bool], hides: Bool = false) -> AttentionTerms {
    AttentionTerms(name: name) { bench, shape in
      let full = [shape.batch, shape.heads, shape.queries, shape.keys]
      let sizes = zip(full, axes).map { $1 ? $0 : 1 }
      var values = bench.normal(sizes.reduce(1, *))
      if hides {
        for n in values.indices where n % sizes[3] % 17 == 3 { values[n] = -.infinity }
      }
      return AttentionOptions(bias: try bench.tensor(values, sizes))
    }
  }

  static let alibi = AttentionTerms(name: "alibi") { _, _ in AttentionOptions(alibi: .standard) }
  private static let softcap = AttentionTerms(name: "softcap") { _, _ in AttentionOptions(softcap: 2) }
  private static let relative = AttentionTerms(name: "relative") { bench, shape in
    AttentionOptions(relative: try bench.normal([shape.heads, 2 * 9 + 1]))
  }
  private static let scoreMod = AttentionTerms(name: "score_mod") { bench, shape in
    AttentionOptions(
      scoreMod: ScoreExpression(
        "score * 0.5f + table[h] * (float)(i - j) + (j % 2 ? shift[b] : -shift[b])",
        constants: [
          "table": try bench.normal([shape.heads], deviation: 0.1),
          "shift": try bench.integers([Int](0..<shape.batch)),
        ]))
  }
  /// Transformer-XL: both biases, a table as long as the keys.
  private static let xl = AttentionTerms(name: "transformer_xl") { bench, shape in
    AttentionOptions(
      positions: RelativePositions(
        contentBias: try bench.normal([shape.heads, shape.size]),
        positionBias: try bench.normal([shape.heads, shape.size]),
        keys: try bench.normal([shape.heads, 2 * (shape.keys + shape.queries) + 1, shape.size])))
  }

  private static var scoreTerms: [AttentionTerms] {
    [
      tensorMask("mask_keys", axes: [true, false, false, true]) { _, j in j % 3 != 0 }, documents,
      tensorMask("mask_rows", axes: [false, true, true, false]) { i, _ in i % 4 != 3 },
      bias, biased("bias_keys", axes: [false, true, false, true], hides: true),
      biased("bias_rows", axes: [true, false, true, false]), alibi, relative, softcap, scoreMod, xl,
      sparseBlocks(16), sparseBlocks(32), sparseBlocks(64), sparseBlocks(128), bigBird,
      AttentionTerms(name: "slopes") { bench, shape in
        AttentionOptions(alibi: .slopes(try bench.normal([shape.heads])))
      },
      AttentionTerms(name: "relative_lower_right") { bench, _ in
        AttentionOptions(relative: try bench.normal([1, 2 * 40 + 1]), relativeAlignment: .lowerRight)
      },
      AttentionTerms(name: "t5") { bench, shape in
        let weights = bench.normal(8 * shape.heads).map { Float($0) }
        let table = try T5Bias.table(
          weights: weights, buckets: 8, heads: shape.heads, bidirectional: true, maxDistance: 20)
        return AttentionOptions(
          scale: 1, relative: try bench.tensor(table.map { Double($0) }, [shape.heads, 2 * 20 + 1]))
      },
      AttentionTerms(name: "sinks") { bench, shape in
        AttentionOptions(
          mask: .window(left: 200, right: 40),
          sinks: try bench.tensor((0..<shape.heads).map { [3, -.infinity, -2][$0 % 3] }, [shape.heads]))
      },
      AttentionTerms(name: "mask_mod") { bench, _ in
        AttentionOptions(
          maskMod: ScoreExpression(
            "(i * 7 + j * 3 + b + odd[0]) % 5 != h", constants: ["odd": try bench.integers([1])]))
      },
      AttentionTerms(name: "shaw") { bench, shape in
        let table = [shape.heads, 2 * 4 + 1]
        return AttentionOptions(
          positions: RelativePositions(
            keys: try bench.normal(table + [shape.size]),
            values: try bench.normal([1, 2 * 4 + 1, shape.valueSize ?? shape.size])))
      },
      AttentionTerms(name: "deberta") { bench, shape in
        let table = [shape.heads, 2 * 11 + 1, shape.size]
        return AttentionOptions(
          scale: Float(1 / (3 * Double(shape.size)).squareRoot()),
          positions: RelativePositions(keys: try bench.normal(table), queries: try bench.normal(table)))
      },
      focus("focus", gaussian: false), focus("focus_gaussian", gaussian: true),
      AttentionTerms(name: "dot") { _, _ in AttentionOptions(kind: .dot, scale: 0.3) },
      AttentionTerms(name: "gaussian") { _, _ in AttentionOptions(kind: .gaussian, scale: 0.2) },
      AttentionTerms(name: "general") { bench, shape in
        AttentionOptions(
          kind: .general(try bench.normal([shape.heads, shape.size, shape.size], deviation: 0.1)))
      },
      AttentionTerms(name: "additive") { bench, shape in
        let matrix = [shape.size, 32]
        return AttentionOptions(
          kind: .additive(
            query: try bench.normal(matrix, deviation: 0.3), key: try bench.normal(matrix, deviation: 0.3),
            score: try bench.normal([32])))
      },
    ]
  }

  private static func focus(_ name: String, gaussian: Bool) -> AttentionTerms {
    AttentionTerms(name: name) { bench, shape in
      let centers = bench.uniform(shape.batch * shape.queries, 0...Double(max(shape.keys, 1)))
      return AttentionOptions(
        focus: Focus(
          centers: try bench.tensor(centers, [shape.batch, 1, shape.queries]), radius: 6, gaussian: gaussian))
    }
  }

  private static var pagedTerms: [AttentionTerms] {
    let names = [
      "alibi", "softcap", "sinks", "relative_lower_right", "gaussian", "mask_mod", "score_mod",
      "transformer_xl",
    ]
    return (scoreTerms + mixedTerms).filter { names.contains($0.name) || $0.name == "mixed" }
      + [
        window(5, 3), window(130, 0), mask("strided_5", .strided(5)),
        mask("global", .local(4).or(.global([0, 40]))),
      ]
  }

  private static var mixedTerms: [AttentionTerms] {
    [
      AttentionTerms(name: "mixed") { bench, shape in
        AttentionOptions(
          mask: AttentionMask.window(left: 30, right: 9).or(.global([1, 2])).and(
            .tensor(
              try bench.tensor(
                (0..<shape.keys).map { $0 % 11 == 4 ? 0 : 1 }, [1, 1, 1, shape.keys], .bool))),
          scale: 0.7, softcap: 5, bias: try bench.normal([1, shape.heads, 1, shape.keys]), alibi: .standard,
          relative: try bench.normal([shape.heads, 7]), sinks: try bench.normal([shape.heads]),
          scoreMod: ScoreExpression("score + 0.01f * j"), maskMod: ScoreExpression("(i + j) % 6 != 0"))
      }
    ]
  }

  // MARK: - Hidden keys, hard attention

  /// Every way to hide keys 3 and 20 from all rows.
  private static var hidingTerms: [AttentionTerms] {
    [
      AttentionTerms(name: "hidden_by_mask") { bench, shape in
        let keeps = (0..<shape.keys).map { $0 == 3 || $0 == 20 ? 0.0 : 1 }
        return AttentionOptions(mask: .tensor(try bench.tensor(keeps, [1, 1, 1, shape.keys], .bool)))
      },
      AttentionTerms(name: "hidden_by_bias") { bench, shape in
        let bias = (0..<shape.keys).map { $0 == 3 || $0 == 20 ? -Double.infinity : 0.5 }
        return AttentionOptions(bias: try bench.tensor(bias, [1, 1, 1, shape.keys]))
      },
      AttentionTerms(name: "hidden_by_mask_mod") { _, _ in
        AttentionOptions(maskMod: ScoreExpression("j != 3 && j != 20"))
      },
      AttentionTerms(name: "hidden_by_score_mod") { _, _ in
        AttentionOptions(scoreMod: ScoreExpression("j == 3 || j == 20 ? -INFINITY : score"))
      },
      blocks("hidden_by_blocks", size: 32) { rows, columns in
        (0..<rows).map { _ in [Int](1..<max(1, columns)) }
      },
    ]
  }

  private static var choiceTerms: [AttentionTerms] {
    [
      AttentionTerms(name: "hard") { _, _ in AttentionOptions(choice: .hard) },
      AttentionTerms(name: "sampled") { _, _ in
        AttentionOptions(mask: .local(30), choice: .sampled(seed: 0x1234_5678_9abc_def0))
      },
    ]
  }
}
