import FlashCL

// What single parts of a layer cost: fused steps, rotary positions.

extension Claim {
  static let layerClaims = [
    Claim(
      name: "fusion",
      statement: "Fusing the steps of a layer, as FasterTransformer does, makes it 2.5 times as fast."
    ) {
      bench in
      let (backend, width, inner) = (bench.backend, 768, 3072)
      let up = try bench.weight(inner, width, seed: 1)
      let down = try bench.weight(width, inner, seed: 2)
      let (upBias, gain) = (try bench.random([inner], seed: 3), try bench.random([width], seed: 4))
      let zero = try bench.random([width], scale: 0)
      var (fused, plain): ([Plot.Point], [Plot.Point]) = ([], [])
      for rows in [1, 16, 128, 512] {
        let phase: Phase = rows <= 16 ? .decode : .prefill
        let x = try bench.random([rows, width], seed: 5)
        // x + down(gelu(x · W + b)) and its norm: three kernels, or one for every step.
        func together() throws -> Tensor {
          let h = try backend.linear(x, up, bias: upBias, activation: .geluTanh, phase: phase)
          return try backend.layerNorm(
            backend.linear(h, down, plus: x, phase: phase), gain: gain, bias: nil, epsilon: 1e-5)
        }
        func apart() throws -> Tensor {
          let biased = try backend.linear(x, up, bias: upBias, phase: phase)
          let h = try backend.allocate(biased.shape, .f32)
          try backend.run(GELU(.tanh, x: biased, y: h))
          let out = try backend.linear(h, down, phase: phase)
          return try backend.layerNorm(out, plus: x, gain: gain, bias: zero, epsilon: 1e-5)
        }
        let difference = try bench.difference(together(), apart())
        guard difference < 1e-4 else { throw Failure("the fused layer differs by \(difference)") }
        let n = Double(rows)
        let seconds = try bench.seconds(rounds: 15, { _ = try together() }, { _ = try apart() })
        fused.append(.init(x: n, y: 1e3 * seconds.0))
        plain.append(.init(x: n, y: 1e3 * seconds.1))
      }
      let gains = zip(plain, fused).map { $0.y / $1.y }
      let best = gains.max() ?? 1
      return Finding(
        verdict: best > 2 ? .holds : best > 1.1 ? .partly : .fails,
        words: """
          A feed-forward layer with its activation and residual fused into the products is \(fixed(gains[0], 2)) times as \
          fast with one row and \(fixed(gains[3], 2)) times with 512 as one with a kernel for each step.\
          \(best > 2 ? "" : " The 2.5 were measured against a framework with many more steps.")
          """,
        figures: zip(fused, gains).map {
          .init(name: "apart over fused, \(Int($0.x)) rows", value: $1, unit: "")
        },
        plot: Plot(
          title: "A feed-forward layer, 768 to 3072 and back", subtitle: backend.deviceName, x: "rows",
          y: "ms",
          panels: [
            .init(series: [
              .init(name: "fused", points: fused), .init(name: "a kernel a step", points: plain),
            ])
          ]))
    },
    Claim(name: "rope", statement: "Rotary positions lower the speed.", measure: rope),
  ]

  /// A layer's attention half with rotary positions and without, in the shape of SmolLM2-135M.
  @Sendable private static func rope(_ bench: ClaimBench) throws -> Finding {
    let (backend, heads, keyHeads, size, width) = (bench.backend, 9, 3, 64, 576)
    let (queries, keys) = (heads * size, keyHeads * size)
    let qkv = try bench.weight(queries + 2 * keys, width, seed: 1)
    let out = try bench.weight(width, queries, seed: 2)
    let table = RopeTable(
      cos: try bench.random([1024, size / 2], seed: 3), sin: try bench.random([1024, size / 2], seed: 4),
      pairing: .halves)
    var (on, off): ([Plot.Point], [Plot.Point]) = ([], [])
    for rows in [1, 16, 128, 512] {
      let phase: Phase = rows <= 4 ? .decode : .prefill
      let x = try bench.random([rows, width], seed: 5)
      let cache = try backend.makeCache(
        blocks: 64, heads: keyHeads, keySize: size, valueSize: size, type: .f32)
      let blocks = try backend.tensor((0..<64).map { Int32($0) }, [1, 64])
      let places = try backend.tensor((0..<rows).map { Int32($0) }, [rows])
      let lengths = try backend.tensor([Int32(rows)], [1])
      func layer(_ rope: RopeTable?) throws {
        let all = try backend.linear(x, qkv, phase: phase)
        let q = all.slice(1, 0..<queries)
        try backend.append(
          keys: all.slice(1, queries..<queries + keys).split(keyHeads),
          values: all.slice(1, queries + keys..<queries + 2 * keys).split(keyHeads), slots: places,
          positions: places, table: rope, to: cache)
        if let rope { try backend.rope(q.split(heads), positions: places, table: rope, into: q.split(heads)) }
        let attended = try backend.mergedAttention(
          q.heads(heads), .paged(cache: cache, table: blocks, lengths: lengths, longest: rows),
          AttentionOptions(mask: .causal(.lowerRight)), phase: phase)
        _ = try backend.linear(attended, out, plus: x, phase: phase)
      }
      let n = Double(rows)
      let seconds = try bench.seconds(rounds: 21, { try layer(table) }, { try layer(nil) })
      on.append(.init(x: n, y: 1e3 * seconds.0))
      off.append(.init(x: n, y: 1e3 * seconds.1))
    }
    let losses = zip(on, off).map { 100 * ($0.y / $1.y - 1) }
    return Finding(
      verdict: losses[3] > 2 ? .holds : losses[3] > 0 ? .partly : .fails,
      words: """
        The attention half of a layer takes \(fixed(losses[3], 1)) % more time with rotary positions over 512 tokens, \
        and \(fixed(losses[0], 1)) % more for a single one.
        """,
      figures: zip(on, losses).map { .init(name: "more time, \(Int($0.x)) tokens", value: $1, unit: "%") },
      plot: Plot(
        title: "A layer's attention half, SmolLM2-135M's shape", subtitle: backend.deviceName, x: "tokens",
        y: "ms",
        panels: [.init(series: [.init(name: "with rope", points: on), .init(name: "without", points: off)])]))
  }
}
