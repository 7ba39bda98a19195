import FlashCL
import FlashCLModels

// The key-value cache: what it saves, what it holds, and how fewer key heads read it faster.

extension Claim {
  static let decodingClaims = [
    Claim(
      name: "kv_cache",
      statement: "A key-value cache saves computing all earlier tokens again for each new one."
    ) { bench in
      let decoder = try decoder(bench)
      let backend = bench.backend
      func argmax(_ logits: Tensor) throws -> Int32 { try backend.integers(backend.argmax(logits))[0] }
      var (with, without): ([Plot.Point], [Plot.Point]) = ([], [])
      var (agreed, compared) = (0, 0)
      for n in [32, 64, 128, 256] {
        let prompt = (0..<n).map { Int32((7 * $0 + 11) % decoder.vocabularySize) }
        let count = 3
        let state = try DecoderState(decoder, capacity: n + count + 2)
        var cached = [try argmax(state.prefill(prompt))]
        cached.append(try argmax(state.decode(cached[0])))  // the first step compiles
        let clock = ContinuousClock()
        var start = clock.now
        for _ in 0..<count { cached.append(try argmax(state.decode(cached[cached.count - 1]))) }
        with.append(.init(x: Double(n), y: Double(count) / clock.now.seconds(since: start)))

        var plain = prompt
        var seconds = 0.0
        for step in 0..<count {
          let fresh = try DecoderState(decoder, capacity: plain.count)
          start = clock.now
          let next = try argmax(fresh.prefill(plain))
          if step > 0 { seconds += clock.now.seconds(since: start) }  // the first one compiles
          if next == cached[step] { agreed += 1 }
          compared += 1
          plain.append(cached[step])  // both go on from the same text
        }
        without.append(.init(x: Double(n), y: Double(count - 1) / seconds))
      }
      let gain = with[3].y / without[3].y
      return Finding(
        verdict: gain > 2 && agreed == compared ? .holds : gain > 1 ? .partly : .fails,
        words: """
          After 256 tokens decoding with a cache makes \(fixed(with[3].y, 1)) tokens/s, and \
          \(fixed(without[3].y, 2)) without: \(fixed(gain, 1)) times as fast. \(agreed) of \(compared) next tokens \
          are the same.
          """,
        figures: [
          .init(name: "with over without, after 256 tokens", value: gain, unit: ""),
          .init(name: "next tokens that agree", value: Double(agreed) / Double(compared), unit: ""),
        ],
        plot: Plot(
          title: "Decoding with and without a cache, SmolLM2-135M's shape", subtitle: backend.deviceName,
          x: "tokens before", y: "tokens/s",
          panels: [
            .init(series: [
              .init(name: "with a cache", points: with), .init(name: "without", points: without),
            ])
          ]))
    },
    Claim(
      name: "cache_bytes",
      statement:
        "A 13B model's cache takes 1,677,721,600 bytes: 2 · 40 layers · 5120 · 2048 tokens · 2 bytes."
    ) { bench in
      let (layers, heads, size) = (40, 40, 128)
      // One layer is made at each length, the other thirty-nine are alike.
      let points = try [256, 512, 1024, 2048].map { tokens in
        var cache: KeyValueCache?
        let bytes = try bench.bytes {
          cache = try bench.backend.makeCache(
            blocks: tokens / 16, heads: heads, keySize: size, valueSize: size, type: .f16)
        }
        withExtendedLifetime(cache) {}
        return Plot.Point(x: Double(tokens), y: bytes * Double(layers))
      }
      let bytes = points[3].y
      return Finding(
        verdict: bytes == 1_677_721_600 ? .holds : abs(bytes / 1_677_721_600 - 1) < 0.02 ? .partly : .fails,
        words: """
          Forty layers of 40 heads of 128 over 2048 tokens in f16 take \(Int(bytes)) bytes on the device, as measured \
          on one layer; a token takes \(Int(bytes) / 2048).
          """,
        figures: [.init(name: "bytes at 2048 tokens", value: bytes, unit: "B")],
        plot: Plot(
          title: "A 13B model's cache in f16", subtitle: bench.backend.deviceName, x: "tokens", y: "bytes",
          panels: [
            .init(
              series: [.init(name: "40 layers of 40 × 128", points: points)],
              guides: [.init(name: "1,677,721,600", y0: 1_677_721_600)])
          ]))
    },
    Claim(
      name: "paging",
      statement:
        "Reserving the longest length for every sequence wastes 60 to 80 % of a cache; pages waste next to nothing.",
      measure: paging),
    heads(
      "multi_query",
      "Multi-query attention decodes much faster than multi-head attention, and encodes hardly faster.",
      keyHeads: 1),
    heads(
      "grouped_query", "Grouped-query attention with 8 key heads is nearly as fast as multi-query attention.",
      keyHeads: 8),
  ]

  /// A small decoder of random weights.
  static func decoder(_ bench: ClaimBench) throws -> any Decoder {
    guard
      case .decoder(let decoder) = try Architectures.random(
        ModelShape("smollm2-135m"), on: bench.backend, progress: Terminal.loading)
    else { throw Failure("smollm2-135m is no decoder") }
    return decoder
  }

  @Sendable private static func paging(_ bench: ClaimBench) throws -> Finding {
    // Lengths as of chats: most are short, none is longer than 2048.
    let longest = 2048
    var random = SplitMix64(seed: 5)
    let lengths = (0..<64).map { _ -> Int in
      let u = random.uniform()
      return 16 + Int(u * u * Double(longest - 16))
    }
    let used = lengths.reduce(0, +)
    func waste(_ reserved: Int) -> Double { 100 * (1 - Double(used) / Double(reserved)) }
    let whole = waste(lengths.count * longest)
    let points = [16, 32, 64, 128, 256].map { page -> Plot.Point in
      let pages = lengths.reduce(0) { $0 + ($1 + page - 1) / page }
      return Plot.Point(x: Double(page), y: waste(pages * page))
    }
    // What pages cost: decoding over a cache in pages beside the same keys in one piece.
    let shape = "Lq=1,Lk=4096,H=8"
    let dense = try bench.sweep("attention", shape)[0].median_s
    let paged = try bench.sweep("attention", shape + ",cache=f32")[0].median_s
    return Finding(
      verdict: points[0].y < 4 && whole > 50 ? .holds : points[0].y < whole / 2 ? .partly : .fails,
      words: """
        Of 64 sequences of 16 to 2048 tokens, most of them short, \(fixed(whole, 0)) % of a cache with room for the \
        longest stays empty, \(fixed(points[0].y, 1)) % in pages of 16 and \(fixed(points[4].y, 1)) % in pages of 256. \
        Decoding over pages takes \(fixed(paged / dense, 2)) times as long as over keys in one piece. (24 times the \
        throughput is said of another system, and cannot be repeated alone.)
        """,
      figures: [
        .init(name: "waste with room for the longest", value: whole, unit: "%"),
        .init(name: "waste in pages of 16", value: points[0].y, unit: "%"),
        .init(name: "decode over pages, over keys in one piece", value: paged / dense, unit: ""),
      ],
      plot: Plot(
        title: "What stays empty of a cache for 64 sequences", subtitle: bench.backend.deviceName,
        x: "tokens in a page", y: "% wasted",
        panels: [
          .init(
            series: [.init(name: "pages", points: points)],
            guides: [.init(name: "room for the longest, \(fixed(whole, 0)) %", y0: whole)])
        ]))
  }

  /// Fewer key heads under 32 query heads of 128.
  private static func heads(_ name: String, _ statement: String, keyHeads: Int) -> Claim {
    Claim(name: name, statement: statement) { bench in
      let counts = [1, 2, 4, 8, 32]
      let list = counts.map(String.init).joined(separator: "|")
      let decode = try bench.sweep("attention", "H=32,D=128,Lq=1,Lk=2048,cache=f32,Hkv=\(list)")
        .milliseconds(over: "Hkv")
      let prefill = try bench.sweep("attention", "H=32,D=128,N=512,Hkv=\(list)").milliseconds(over: "Hkv")
      func at(_ heads: Int, _ points: [Plot.Point]) -> Double {
        points.first { $0.x == Double(heads) }?.y ?? .nan
      }
      let (decodeGain, prefillGain) = (
        at(32, decode) / at(keyHeads, decode), at(32, prefill) / at(keyHeads, prefill)
      )
      let beside = at(keyHeads, decode) / at(1, decode)
      let isFaster = decodeGain > 2
      let verdict: Finding.Verdict =
        keyHeads == 1
        ? (isFaster && prefillGain < 1.5 ? .holds : decodeGain > 1.2 ? .partly : .fails)
        : (decodeGain > 1.5 && beside < 1.5 ? .holds : decodeGain > 1.2 ? .partly : .fails)
      return Finding(
        verdict: verdict,
        words: """
          With \(count(keyHeads, "key head")) in place of 32, decoding over 2048 keys is \(fixed(decodeGain, 2)) times as \
          fast and prefill of 512 tokens \(fixed(prefillGain, 2)) times\
          \(keyHeads == 1 ? "" : "; it takes \(fixed(beside, 2)) times as long as with one"). The cache is \
          \(keyHeads)/32 as large.
          """,
        figures: [
          .init(name: "decode, 32 key heads over \(keyHeads)", value: decodeGain, unit: ""),
          .init(name: "prefill, 32 key heads over \(keyHeads)", value: prefillGain, unit: ""),
          .init(name: "decode, \(keyHeads) key heads over 1", value: beside, unit: ""),
        ],
        plot: Plot(
          title: "32 query heads over fewer key heads", subtitle: bench.backend.deviceName, x: "key heads",
          y: "ms",
          panels: [
            .init(series: [
              .init(name: "decode over 2048 keys", points: decode),
              .init(name: "prefill of 512 tokens", points: prefill),
            ])
          ]))
    }
  }
}
