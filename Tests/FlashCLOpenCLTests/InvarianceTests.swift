import FlashCL
import FlashCLRuntime
import Testing

@testable import FlashCLOpenCL

/// Bits may depend on the device, the strategy and inner sizes, never on who shares a call or how a weight is cut.
@Suite struct InvarianceTests {
  private func random(_ count: Int, seed: UInt64) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(state >> 40) * 0x1p-23 - 1
    }
  }

  private func weight(_ backend: OpenCLBackend, _ outputs: Int, _ inputs: Int) throws -> Weight {
    try random(outputs * inputs, seed: 1).withUnsafeBytes {
      try backend.prepare([WeightSource(name: "w", outputs: outputs, inputs: inputs, type: .f32, bytes: $0)])
    }
  }

  @Test(arguments: [(Phase.decode, 16), (.prefill, 70)])
  func aRowOfLinearDoesNotDependOnItsNeighbours(phase: Phase, rows: Int) throws {
    let backend = try OpenCLBackend(Device.select())
    let w = try weight(backend, 48, 96)
    let x = random(rows * 96, seed: 2)
    let all = Linear(
      x: try backend.tensor(x, [rows, 96]), weight: w, phase: phase,
      y: try backend.allocate([rows, 48], .f32))
    for strategy in try backend.strategies(for: all)
    where strategy.unsupported == nil && strategy.name != "clblast" {
      try backend.run(all, strategy: strategy.name)
      let together = try backend.floats(all.y)
      for row in [0, rows / 2, rows - 1] {
        let one = Linear(
          x: try backend.tensor(Array(x[row * 96..<(row + 1) * 96]), [1, 96]), weight: w, phase: phase,
          y: try backend.allocate([1, 48], .f32))
        try backend.run(one, strategy: strategy.name)
        #expect(try backend.floats(one.y) == Array(together[row * 48..<(row + 1) * 48]), "\(strategy.name)")
      }
      try backend.run(all, strategy: strategy.name)
      #expect(try backend.floats(all.y) == together, "\(strategy.name), again")
    }
  }

  /// A short sequence beside a long one, whose many splits of keys must not touch it.
  @Test func aSequenceOfDecodeDoesNotDependOnItsNeighbours() throws {
    let backend = try OpenCLBackend(Device.select())
    let (heads, keyHeads, size) = (4, 2, 32)
    let lengths = [70, 500]
    let blocks = [5, 32]
    let cache = try backend.makeCache(blocks: 37, heads: keyHeads, keySize: size, valueSize: size, type: .f32)
    let tokens = lengths.reduce(0, +)
    let slots = (0..<70).map { Int32($0) } + (0..<500).map { Int32($0 + 80) }
    func keys(_ seed: UInt64) throws -> Tensor {
      try backend.tensor(random(tokens * keyHeads * size, seed: seed), [tokens, keyHeads, size])
    }
    try backend.append(keys: keys(3), values: keys(4), slots: backend.tensor(slots, [tokens]), to: cache)
    let q = random(2 * heads * size, seed: 5)
    let tables = [(0..<5).map { Int32($0) } + [Int32](repeating: 0, count: 27), (5..<37).map { Int32($0) }]
    func operation(_ sequences: [Int]) throws -> Attention {
      Attention(
        q: try backend.tensor(
          sequences.flatMap { q[$0 * heads * size..<($0 + 1) * heads * size] },
          [sequences.count, heads, 1, size]),
        source: .paged(
          cache: cache,
          table: try backend.tensor(sequences.flatMap { tables[$0] }, [sequences.count, blocks[1]]),
          lengths: try backend.tensor(sequences.map { Int32(lengths[$0]) }, [sequences.count]),
          longest: sequences.map { lengths[$0] }.max() ?? 0),
        options: AttentionOptions(mask: .causal(.lowerRight)), phase: .decode,
        y: try backend.allocate([sequences.count, heads, 1, size], .f32))
    }
    let both = try operation([0, 1])
    for strategy in try backend.strategies(for: both) where strategy.unsupported == nil {
      try backend.run(both, strategy: strategy.name)
      let together = try backend.floats(both.y)
      for sequence in [0, 1] {
        let one = try operation([sequence])
        try backend.run(one, strategy: strategy.name)
        let size = heads * size
        #expect(
          try backend.floats(one.y) == Array(together[sequence * size..<(sequence + 1) * size]),
          "\(strategy.name)")
      }
    }
  }

  /// New tokens of one call see what each of them sees alone, whether or not their keys join the cache on the way; of the strategy
  /// of GPUs, which packs the rows of a sequence.
  @Test(arguments: [nil, 150]) func aRowOfADraftDoesNotDependOnTheOthers(window: Int?) throws {
    let backend = try OpenCLBackend(Device.select())
    let (heads, keyHeads, size, old, new) = (6, 2, 32, 2100, 5)
    let total = old + new
    let table = try backend.tensor((0..<132).map { Int32($0) }, [1, 132])
    let rope = RopeTable(
      cos: try backend.tensor(random(total * size / 2, seed: 13), [total, size / 2]),
      sin: try backend.tensor(random(total * size / 2, seed: 14), [total, size / 2]), pairing: .halves)
    let rows = (0..<3).map {
      random(total * ($0 == 0 ? heads : keyHeads) * size, seed: UInt64(15 + $0))
    }
    /// Attention of the tokens in `places`, whose keys are appended; those before are in the cache.
    func results(_ places: Range<Int>, fused: Bool) throws -> [Float] {
      let cache = try backend.makeCache(
        blocks: 132, heads: keyHeads, keySize: size, valueSize: size, type: .f32)
      func append(_ places: Range<Int>) throws -> CacheAppend {
        func part(_ index: Int) throws -> Tensor {
          let row = rows[index].count / total
          return try backend.tensor(
            Array(rows[index][places.lowerBound * row..<places.upperBound * row]),
            [places.count, row / size, size])
        }
        let numbers = try backend.tensor(places.map { Int32($0) }, [places.count])
        return CacheAppend(
          keys: try part(1), values: try part(2), slots: numbers, positions: numbers, table: rope,
          queries: try part(0), cache: cache)
      }
      try backend.run(append(0..<places.lowerBound))
      let new = try append(places)
      let q = try #require(new.queries).reshaped([places.count, heads * size]).heads(heads)
      if !fused { try backend.run(new) }
      let y = try backend.allocate([places.count, heads * size], .f32)
      try backend.run(
        Attention(
          q: q, appending: fused ? new : nil,
          source: .paged(
            cache: cache, table: table, lengths: backend.tensor([Int32(places.upperBound)], [1]),
            longest: total),
          options: AttentionOptions(
            mask: window.map { .window(left: $0, right: 0) } ?? .causal(.lowerRight)),
          phase: .decode, y: y.heads(heads)),
        strategy: "split")
      return try backend.floats(y)
    }
    let together = try results(old..<total, fused: true)
    #expect(try results(old..<total, fused: false) == together)
    #expect(together.allSatisfy { $0.isFinite })
    for row in 0..<new {
      let alone = try results(old + row..<old + row + 1, fused: true)
      #expect(alone == Array(together[row * heads * size..<(row + 1) * heads * size]), "row \(row)")
    }
  }

  /// Layers that are asked for one after the other may become one launch, with the bits that each has alone.
  @Test(arguments: [1, 3]) func layersOfAChain(rows: Int) throws {
    let backend = try OpenCLBackend(Device.select())
    let (width, inner) = (96, 160)
    let both = try weight(backend, 2 * inner, width)
    let (down, square) = (try weight(backend, width, inner), try weight(backend, width, width))
    let norm = Norm.layer(
      gain: try backend.tensor(random(width, seed: 8), [width]),
      bias: try backend.tensor(random(width, seed: 9), [width]), epsilon: 1e-5)
    func results(_ settle: () throws -> Void) throws -> [[Float]] {
      var x = try backend.tensor(random(rows * width, seed: 7), [rows, width])
      var all: [Tensor] = []
      for _ in 0..<3 {  // nine layers: two chains and one
        x = try backend.linear(x, square, bias: norm.gain, activation: .tanh, plus: x, phase: .decode)
        all.append(x)
        try settle()
        let half = try backend.linear(x, norm: norm, both, activation: .silu, isGated: true, phase: .decode)
        all.append(half)
        try settle()
        x = try backend.linear(half, down, plus: x, phase: .decode)
        all.append(x)
        try settle()
      }
      return try all.map { try backend.floats($0) }
    }
    let alone = try results { try backend.synchronise() }
    for _ in 0..<20 { #expect(try results {} == alone) }
    if backend.queue.device.kind == .cpu { #expect(backend.launchedKernels.contains("linear_chain")) }
  }

  /// A device that allows only small buffers gets a weight in parts, and the same numbers.
  @Test func aWeightInParts() throws {
    let backend = try OpenCLBackend(Device.select())
    let x = try backend.tensor(random(3 * 96, seed: 6), [3, 96])
    let whole = try weight(backend, 100, 96)
    backend.weightPartLimit = 32 * 96 * 4  // two tiles
    let parts = try weight(backend, 100, 96)
    #expect(try parts.parts().count == 4)
    for phase in [Phase.prefill, .decode] {
      #expect(
        try backend.floats(backend.linear(x, whole, phase: phase))
          == backend.floats(backend.linear(x, parts, phase: phase)))
    }
    let ids = try backend.tensor([0, 31, 32, 99, 100, -1] as [Int32], [6])
    let (a, b) = try (
      backend.floats(backend.embedding(ids, table: whole)),
      backend.floats(backend.embedding(ids, table: parts))
    )
    #expect(a[..<(4 * 96)] == b[..<(4 * 96)])
    #expect(a[(4 * 96)...].allSatisfy { $0.isNaN } && b[(4 * 96)...].allSatisfy { $0.isNaN })
    backend.weightPartLimit = 100
    #expect(throws: FlashCLError.self) { try weight(backend, 100, 96) }
  }

  @Test func whatIsNotThereIsRefused() throws {
    let backend = try OpenCLBackend(Device.select())
    let x = try backend.tensor([1, 2, 3] as [Float], [1, 3])
    #expect(throws: FlashCLError.self) { try backend.run(Softmax(x: x, y: x), strategy: "magic") }
    #expect(throws: FlashCLError.shape("rms_norm: gain should be [3] and is [1, 3]")) {
      try backend.rmsNorm(x, gain: x, epsilon: 1e-5)
    }
    #expect(throws: FlashCLError.self) { try backend.tensor([1] as [Float], [2]) }
    #expect(throws: CLError.self) { try backend.allocate([1 << 40], .f32) }
  }
}
