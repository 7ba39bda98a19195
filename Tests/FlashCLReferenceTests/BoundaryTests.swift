import FlashCL
import FlashCLReference
import Testing

/// What must not be read, what must be refused, and what must stay.
@Suite struct BoundaryTests {
  let backend = ReferenceBackend()

  @Test func whatIsMaskedIsNotRead() throws {
    // One key takes part; the other three are NaN. Without keys a row is 0.
    let keys = try backend.tensor([1, .nan, .nan, .nan, 1, .nan, .nan, .nan], [2, 1, 4, 1])
    let q = try backend.tensor([Float(1), 1], [2, 1, 1, 1])
    let y = try backend.attention(q, keys, keys, lengths: backend.tensor([Int32(1), 0], [2]))
    #expect(try backend.floats(y) == [1, 0])
    let seen = try backend.attention(q, keys, keys, lengths: backend.tensor([Int32(2), 1], [2]))
    #expect(try backend.floats(seen)[0].isNaN && backend.floats(seen)[1] == 1)
    // More queries than keys: the first rows see nothing under the lower-right mask.
    let three = try backend.tensor([Float(1), 1, 1], [1, 1, 3, 1])
    let one = try backend.tensor([Float(5)], [1, 1, 1, 1])
    let causal = AttentionOptions(mask: .causal(.lowerRight))
    #expect(try backend.floats(backend.attention(three, one, one, causal)) == [0, 0, 5])
  }

  @Test func slotsOutsideACacheAreNotWritten() throws {
    let cache = try backend.makeCache(blocks: 1, heads: 1, keySize: 1, valueSize: 1, type: .f16)
    let x = try backend.tensor([Float(1), 2, 3], [3, 1, 1])
    try backend.append(keys: x, values: x, slots: backend.tensor([Int32(-1), 16, 0], [3]), to: cache)
    let y = try backend.mergedAttention(
      backend.tensor([Float(1)], [1, 1, 1, 1]),
      .paged(
        cache: cache, table: backend.tensor([Int32(0)], [1, 1]), lengths: backend.tensor([Int32(1)], [1]),
        longest: 1), phase: .decode)
    #expect(try backend.floats(y) == [3])
  }

  @Test func positionsOutsideATableGiveNaN() throws {
    let ones = try backend.tensor([Float(1)], [1, 1])
    let x = try backend.tensor([Float](repeating: 1, count: 6), [2, 1, 3])
    let y = try backend.floats(
      backend.rope(
        x, positions: backend.tensor([Int32(1), -1], [2]),
        table: RopeTable(cos: ones, sin: ones, pairing: .halves)))
    #expect(y.map { $0.isNaN } == [true, true, false, true, true, false])
  }

  @Test func badOperandsAreRefused() throws {
    let x = try backend.tensor([Float](repeating: 1, count: 4), [1, 4])
    let beyond = Tensor(shape: [1, 4], offset: 1, type: .f32, storage: x.storage)
    #expect(throws: FlashCLError.self) { try backend.softmax(beyond) }
    #expect(throws: FlashCLError.self) {
      try backend.softmax(Tensor(shape: [1, 4], offset: -1, type: .f32, storage: x.storage))
    }
    #expect(throws: FlashCLError.self) { try backend.floats(beyond) }
    #expect(throws: FlashCLError.self) {
      try backend.softmax(Tensor(shape: [1, 4], type: .f32, storage: Storage()))
    }
    #expect(throws: FlashCLError.self) { try backend.run(Softmax(x: x, y: x), strategy: "rows") }
    #expect(throws: FlashCLError.self) { try backend.prepare([]) }
    #expect(throws: FlashCLError.self) { try backend.allocate([-1], .f32) }
    #expect(throws: FlashCLError.self) {
      try backend.makeCache(blocks: 1, heads: 1, keySize: 1, valueSize: 1, type: .i32)
    }
    let cache = try backend.makeCache(blocks: 1, heads: 1, keySize: 4, valueSize: 4, type: .f32)
    let q = x.reshaped([1, 1, 1, 4])
    for (block, length) in [(Int32(1), Int32(1)), (-1, 1), (0, 2)] {
      #expect(throws: FlashCLError.self) {
        try backend.mergedAttention(
          q,
          .paged(
            cache: cache, table: backend.tensor([block], [1, 1]), lengths: backend.tensor([length], [1]),
            longest: 1), phase: .decode)
      }
    }
  }

  @Test func emptyCallsDoNothing() throws {
    let none = try backend.allocate([0, 8], .f32)
    #expect(try backend.floats(backend.softmax(none)).isEmpty)
    #expect(try backend.floats(backend.gelu(none, .exact)).isEmpty)
    let w = try backend.weight(
      (2, .f32, ElementType.f32.encoded([Double](repeating: 1, count: 16))), inputs: 8)
    #expect(try backend.floats(backend.linear(none, w, phase: .prefill)).isEmpty)
    let (queries, keys) = (
      try backend.allocate([1, 1, 2, 3], .f32), try backend.allocate([1, 1, 0, 3], .f32)
    )
    #expect(
      try backend.floats(backend.attention(queries, keys, keys))
        == [Float](repeating: 0, count: 6))
  }

  @Test func repeatedRunsGiveTheSameBits() throws {
    let x = try backend.tensor((0..<200 * 64).map { Double($0 * 7919 % 1009) / 1009 }, [200, 64])
    let w = try backend.weight(
      (200, .f32, ElementType.f32.encoded((0..<200 * 64).map { Double($0 * 104_729 % 997) / 997 })),
      inputs: 64)
    let first = try backend.floats(backend.linear(x, w, phase: .prefill))
    for _ in 0..<3 { #expect(try backend.floats(backend.linear(x, w, phase: .prefill)) == first) }
    // A row does not depend on its neighbours.
    let alone = try backend.linear(x.slice(0, 100..<101), w, phase: .prefill)
    #expect(try backend.floats(alone) == [Float](first[100 * 200..<101 * 200]))
  }
}
