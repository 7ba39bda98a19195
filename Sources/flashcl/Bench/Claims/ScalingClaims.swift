import FlashCL

// How work and memory grow with the length and with the number of heads.

extension Claim {
  static let scalingClaims = [
    Claim(
      name: "quadratic",
      statement: "Self-attention costs O(n² · d): twice the length takes four times as long."
    ) { bench in
      let points = try bench.sweep("attention", "N=256:4096:x2,H=4").milliseconds(over: "N")
      let exponent = points.exponent()
      let (first, last) = (points[0], points[points.count - 1])
      let growth = (last.y / last.x) / (first.y / first.x)
      return Finding(
        verdict: exponent > 1.8 ? .holds : exponent > 1.4 ? .partly : .fails,
        words: """
          Time grows as n^\(fixed(exponent, 2)) over the longest lengths; a token among \(Int(last.x)) costs \
          \(fixed(growth, 1)) times as much as one among \(Int(first.x)).
          """,
        figures: [
          .init(name: "exponent of time", value: exponent, unit: ""),
          .init(name: "cost of a token, longest over shortest", value: growth, unit: ""),
        ],
        plot: Plot(
          title: "Attention over n tokens", subtitle: bench.backend.deviceName, x: "tokens n", y: "ms",
          panels: [
            .init(
              series: [.init(name: "4 heads of 64", points: points)],
              guides: [.init(name: "∝ n²", x0: last.x, y0: last.y * 2.5, exponent: 2)])
          ]))
    },
    Claim(
      name: "flash",
      statement: "FlashAttention is faster than attention with its scores in memory, and needs O(n) memory.",
      measure: flash),
    Claim(
      name: "heads",
      statement:
        "Several heads of reduced size cost as much as one head; heads of full width cost R times as much."
    ) { bench in
      let counts = [1, 2, 4, 8]
      func points(_ size: (Int) -> Int) throws -> [Plot.Point] {
        try counts.map { heads in
          let entry = try bench.sweep("attention", "N=512,H=\(heads),D=\(size(heads))")[0]
          return .init(x: Double(heads), y: entry.median_s * 1e3, spread: entry.spread)
        }
      }
      let reduced = try points { 512 / $0 }
      let full = try points { _ in 512 }
      let (flat, growth) = (reduced[3].y / reduced[0].y, full[3].y / full[0].y)
      let isFlat = flat < 1.5
      return Finding(
        verdict: isFlat && growth > 5 ? .holds : isFlat || growth > 5 ? .partly : .fails,
        words: """
          Eight heads of 64 take \(fixed(flat, 2)) times as long as one of 512; eight of 512 take \
          \(fixed(growth, 1)) times as long as one.
          """,
        figures: [
          .init(name: "8 × 64 over 1 × 512", value: flat, unit: ""),
          .init(name: "8 × 512 over 1 × 512", value: growth, unit: ""),
        ],
        plot: Plot(
          title: "Heads of reduced and of full width, 512 tokens", subtitle: bench.backend.deviceName,
          x: "heads", y: "ms",
          panels: [
            .init(series: [
              .init(name: "512 / heads wide", points: reduced), .init(name: "512 wide each", points: full),
            ])
          ]))
    },
  ]

  /// Fused attention beside the same in three steps: scores by a matrix product, softmax, another product.
  @Sendable private static func flash(_ bench: ClaimBench) throws -> Finding {
    let (backend, heads, size) = (bench.backend, 2, 64)
    var (fused, naive, fusedBytes, naiveBytes): ([Plot.Point], [Plot.Point], [Plot.Point], [Plot.Point]) =
      ([], [], [], [])
    for n in [256, 512, 1024, 2048, 4096] {
      let scale = 1 / Float(size).squareRoot()
      let (keys, values) = (
        bench.numbers(heads * n * size, seed: 2), bench.numbers(heads * n * size, seed: 3)
      )
      let q = try bench.random([1, heads, n, size], seed: 1)
      let (k, v) = (
        try backend.tensor(keys, [1, heads, n, size]), try backend.tensor(values, [1, heads, n, size])
      )
      // The products' right sides are laid out as weights, beforehand; the scale stands in the keys.
      let parts = try (0..<heads).map { h in
        let rows = h * n * size..<(h + 1) * n * size
        let own = Array(values[rows])
        return (
          k: try bench.weight(keys[rows].map { $0 * scale }, n, size),
          v: try bench.weight((0..<n * size).map { own[$0 % n * size + $0 / n] }, size, n)
        )
      }
      func naively() throws -> [Tensor] {
        try (0..<heads).map { h in
          let queries = q.slice(1, h..<h + 1).reshaped([n, size])
          let scores = try backend.linear(queries, parts[h].k, phase: .prefill)
          return try backend.linear(backend.softmax(scores), parts[h].v, phase: .prefill)
        }
      }
      let result = try backend.attention(q, k, v)
      for (h, part) in try naively().enumerated() {
        let difference = try bench.difference(part, result.slice(1, h..<h + 1).reshaped([n, size]))
        guard difference < 1e-4 else {
          throw Failure("attention in three steps differs by \(difference) from the fused one")
        }
      }
      let x = Double(n)
      let seconds = try bench.seconds(
        rounds: 5, { _ = try backend.attention(q, k, v) }, { _ = try naively() })
      fused.append(.init(x: x, y: 1e3 * seconds.0))
      naive.append(.init(x: x, y: 1e3 * seconds.1))
      fusedBytes.append(.init(x: x, y: (try bench.bytes { _ = try backend.attention(q, k, v) }) / 1e6))
      naiveBytes.append(.init(x: x, y: (try bench.bytes { _ = try naively() }) / 1e6))
    }
    let gain = naive[4].y / fused[4].y
    let (linear, quadratic) = (fusedBytes.exponent(), naiveBytes.exponent())
    let isLinear = linear < 1.2
    let last = naiveBytes[4]
    return Finding(
      verdict: gain > 1.2 && isLinear ? .holds : gain > 1.2 || isLinear ? .partly : .fails,
      words: """
        At 4096 tokens fused attention takes 1/\(fixed(gain, 2)) of the time. Its memory grows as \
        n^\(fixed(linear, 2)), that of scores in memory as n^\(fixed(quadratic, 2)): \(fixed(fusedBytes[4].y, 1)) \
        and \(fixed(last.y, 0)) MB at 4096.
        """,
      figures: [
        .init(name: "time with scores in memory over fused, 4096 tokens", value: gain, unit: ""),
        .init(name: "fused memory, 4096 tokens", value: fusedBytes[4].y * 1e6, unit: "B"),
        .init(name: "memory with scores, 4096 tokens", value: last.y * 1e6, unit: "B"),
      ],
      plot: Plot(
        title: "Fused attention, and with scores in memory", subtitle: bench.backend.deviceName,
        x: "tokens n",
        y: "ms, MB",
        panels: [
          .init(
            title: "time, ms",
            series: [.init(name: "fused", points: fused), .init(name: "scores in memory", points: naive)]),
          .init(
            title: "memory, MB",
            series: [
              .init(name: "fused", points: fusedBytes), .init(name: "scores in memory", points: naiveBytes),
            ],
            guides: [.init(name: "∝ n", x0: 4096, y0: fusedBytes[4].y * 2, exponent: 1)]),
        ]))
  }
}
