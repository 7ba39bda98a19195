// Sparse patterns: how many pairs of query and key they score, and whether time follows.

extension Claim {
  static let patternClaims = [
    Claim(name: "local", statement: "Local attention over k neighbours on either side costs O((2k + 1) · n).")
    {
      bench in
      let k = 64
      let entries = try bench.sweep("attention", "N=512:8192:x2,H=2,mask=full|local:\(k)")
      let (full, local) = (entries.filter("mask", "full"), entries.filter("mask", "local:\(k)"))
      // Both ends have fewer neighbours: k · (k + 1) pairs in all.
      let isExact = local.allSatisfy { entry in
        let n = Double(entry.swept["N"] ?? "") ?? 0
        return abs(entry.pairs(heads: 2, size: 64) - (Double(2 * k + 1) * n - Double(k * (k + 1)))) < 1
      }
      let points = local.milliseconds(over: "N")
      let exponent = points.exponent()
      let gain = full[4].median_s / local[4].median_s
      return Finding(
        verdict: isExact && exponent < 1.25 ? .holds : isExact ? .partly : .fails,
        words: """
          \(isExact ? "Exactly (2k + 1) · n − k · (k + 1) pairs are scored" : "Other pairs are scored than claimed"). \
          Time grows as n^\(fixed(exponent, 2)); at 8192 tokens it is 1/\(fixed(gain, 1)) of full attention's, where \
          the pairs are 1/\(fixed(8192 / Double(2 * k + 1), 1)).
          """,
        figures: [
          .init(name: "exponent of time", value: exponent, unit: ""),
          .init(name: "full over local, 8192 tokens", value: gain, unit: ""),
        ],
        plot: Plot(
          title: "Local attention, k = \(k)", subtitle: bench.backend.deviceName, x: "tokens n", y: "ms",
          panels: [
            .init(
              series: [
                .init(name: "full", points: full.milliseconds(over: "N")),
                .init(name: "local, k = \(k)", points: points),
              ],
              guides: [.init(name: "∝ n", x0: 8192, y0: points[4].y / 2.5, exponent: 1)])
          ]))
    },
    Claim(name: "atrous", statement: "Atrous attention, every k-th key, costs O(n² / k).") { bench in
      let (n, steps) = (2048, [1, 2, 4, 8, 16, 32, 64])
      let text = steps.map { $0 == 1 ? "full" : "atrous:\($0)" }.joined(separator: "|")
      let entries = try bench.sweep("attention", "N=\(n),H=2,mask=\(text)")
      let points = zip(steps, entries).map {
        Plot.Point(x: Double($0), y: $1.median_s * 1e3, spread: $1.spread)
      }
      let gain = points[0].y / points[6].y
      let law = steps.map { Plot.Point(x: Double($0), y: points[0].y / Double($0)) }
      return Finding(
        verdict: gain > 32 ? .holds : gain > 4 ? .partly : .fails,
        words: """
          With k = 64 a query scores 1/64 of the keys, and time is 1/\(fixed(gain, 2)) of full attention's.\
          \(gain > 32 ? "" : " Tiles of neighbouring keys are computed whole: keys left out within a tile save nothing.")
          """,
        figures: [.init(name: "full over atrous 64, \(n) tokens", value: gain, unit: "")],
        plot: Plot(
          title: "Every k-th key, \(n) tokens", subtitle: bench.backend.deviceName, x: "k", y: "ms",
          panels: [
            .init(series: [
              .init(name: "measured", points: points), .init(name: "claimed: full / k", points: law),
            ])
          ]))
    },
    Claim(
      name: "sparse", statement: "The Sparse Transformer's strided pattern with k = √n costs O(n · √n).",
    ) { bench in
      let points = try [(1024, 32), (4096, 64), (16384, 128)].map { n, k in
        let entry = try bench.sweep("attention", "N=\(n),H=1,mask=strided:\(k)")[0]
        return Plot.Point(x: Double(n), y: entry.median_s * 1e3, spread: entry.spread)
      }
      let exponent = points.exponent()
      return Finding(
        verdict: exponent < 1.65 ? .holds : exponent < 1.85 ? .partly : .fails,
        words: """
          Time grows as n^\(fixed(exponent, 2)), where 1.5 is claimed and full attention has 2.\
          \(exponent < 1.65 ? "" : " Every k-th key lies in nearly every tile, so that few tiles are skipped.")
          """,
        figures: [.init(name: "exponent of time", value: exponent, unit: "")],
        plot: Plot(
          title: "Strided attention, k = √n", subtitle: bench.backend.deviceName, x: "tokens n", y: "ms",
          panels: [
            .init(
              series: [.init(name: "strided", points: points)],
              guides: [.init(name: "∝ n · √n", x0: 1024, y0: points[0].y / 2, exponent: 1.5)])
          ]))
    },
    linear("bigbird", "BigBird's cost is linear in the length, up to eight times as long.", "bigbird:64"),
    linear(
      "longformer", "Longformer's window with a few global tokens costs time linear in the length.",
      "longformer:128"),
    linear("longnet", "LongNet's dilated segments cost time linear in the length.", "longnet"),
    Claim(
      name: "block_sparse",
      statement: "The time of block-sparse attention follows the share of blocks that is kept.",
    ) { bench in
      let shares = [100, 50, 25, 12, 6]
      let text = shares.map { "blocks:\($0)" }.joined(separator: "|")
      let entries = try bench.sweep("attention", "N=4096,H=2,mask=\(text)")
      let points = zip(shares, entries).map {
        Plot.Point(x: Double($0), y: $1.median_s * 1e3, spread: $1.spread)
      }
      let exponent = [Plot.Point](points.reversed()).exponent(last: 5)
      return Finding(
        verdict: exponent > 0.8 ? .holds : exponent > 0.5 ? .partly : .fails,
        words: "Time grows as the share of blocks to the power of \(fixed(exponent, 2)), where 1 is claimed.",
        figures: [.init(name: "exponent of time", value: exponent, unit: "")],
        plot: Plot(
          title: "Random blocks of 64 × 64, 4096 tokens", subtitle: bench.backend.deviceName,
          x: "% of blocks kept", y: "ms",
          panels: [
            .init(
              series: [.init(name: "block-sparse", points: points)],
              guides: [.init(name: "∝ share", x0: 100, y0: points[0].y / 2, exponent: 1)])
          ]))
    },
  ]

  /// A pattern whose time is said to be linear in the length.
  private static func linear(_ name: String, _ statement: String, _ mask: String) -> Claim {
    Claim(name: name, statement: statement) { bench in
      let entries = try bench.sweep("attention", "N=1024:8192:x2,H=2,mask=full|\(mask)")
      let full = entries.filter("mask", "full").milliseconds(over: "N")
      let points = entries.filter("mask", mask).milliseconds(over: "N")
      let exponent = points.exponent()
      let gain = full[3].y / points[3].y
      return Finding(
        verdict: exponent < 1.25 ? .holds : exponent < 1.6 ? .partly : .fails,
        words: """
          Time grows as n^\(fixed(exponent, 2)) from 2048 to 8192 tokens, and is 1/\(fixed(gain, 1)) of full \
          attention's at 8192.\
          \(exponent < 1.6 ? "" : " Tiles that hold any kept pair are computed whole, and the longest segments reach nearly all of them.")
          """,
        figures: [
          .init(name: "exponent of time", value: exponent, unit: ""),
          .init(name: "full over \(name), 8192 tokens", value: gain, unit: ""),
        ],
        plot: Plot(
          title: "\(mask) and full attention", subtitle: bench.backend.deviceName, x: "tokens n", y: "ms",
          panels: [
            .init(
              series: [.init(name: "full", points: full), .init(name: mask, points: points)],
              guides: [.init(name: "∝ n", x0: 8192, y0: points[3].y / 2.5, exponent: 1)])
          ]))
    }
  }
}

extension BenchReport.Entry {
  /// Pairs of query and key that were counted as scored, of one head.
  fileprivate func pairs(heads: Int, size: Int) -> Double {
    gflops * 1e9 * median_s / Double(4 * heads * size)
  }
}
