import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Where keys lie, what of them must not be read, and what must be refused.
@Suite struct AttentionOperandTests {
  let backend = ReferenceBackend()

  // MARK: - Behind masks

  /// Key 1 is NaN and its value infinite; every way to mask it leaves the answer that there is without it.
  @Test func whatIsBehindAMaskChangesNothing() throws {
    let q = try backend.tensor([1.0], [1, 1, 1, 1])
    let k = try backend.tensor([2.0, .nan, 3], [1, 1, 3, 1])
    let v = try backend.tensor([5.0, .infinity, 7], [1, 1, 3, 1])
    let truth = (5 + 7 * exp(1.0)) / (1 + exp(1.0))
    let kept = try backend.mask([1, 0, 1], [1, 1, 1, 3])
    let masks: [AttentionOptions] = [
      AttentionOptions(mask: .tensor(kept)),
      AttentionOptions(mask: .atrous(2)),
      AttentionOptions(bias: try backend.tensor([0, -.infinity, 0], [1, 1, 1, 3])),
      AttentionOptions(maskMod: ScoreExpression("j != 1")),
      AttentionOptions(maskMod: ScoreExpression("no text", truth: { _, _, _, _, j in j == 1 ? 0 : 1 })),
      AttentionOptions(scoreMod: ScoreExpression("j == 1 ? -INFINITY : score")),
      AttentionOptions(relative: try backend.tensor([0, 0, 0, -.infinity, 0], [1, 5])),
    ]
    for (n, options) in masks.enumerated() {
      #expect(agree(try backend.doubles(backend.attention(q, k, v, options)), [truth]), "\(n)")
      var hard = options
      hard.choice = .hard
      #expect(try backend.doubles(backend.attention(q, k, v, hard)) == [7], "\(n)")
    }
    let around = Focus(centers: try backend.tensor([2.0], [1, 1, 1]), radius: 1, gaussian: false)
    let focused = AttentionOptions(mask: .tensor(kept), focus: around)
    #expect(try backend.doubles(backend.attention(q, k, v, focused)) == [7])
    // Where it takes part it shows.
    for choice in [Choice.soft, .hard] {
      #expect(try backend.doubles(backend.attention(q, k, v, AttentionOptions(choice: choice)))[0].isNaN)
    }
  }

  // MARK: - Places

  /// Sequences of 3, 0 and 5 keys with 2, 1 and 4 queries, side by side and one by one; a row of no sequence is 0.
  @Test func raggedSequences() throws {
    let (q, k, v) = (
      try backend.noise([1, 4, 8, 6], 1), try backend.noise([1, 2, 9, 6], 2),
      try backend.noise([1, 2, 9, 5], 3)
    )
    let (queryStarts, keyStarts) = ([0, 2, 3, 7], [0, 3, 3, 8])
    let options = AttentionOptions(
      mask: .causal(.lowerRight).and(.window(left: 3, right: -1)), bias: try backend.noise([3, 4, 4, 5], 4),
      alibi: .standard)
    let (y, logSumExp) = (try backend.allocate([1, 4, 8, 5], .f32), try backend.allocate([1, 4, 8], .f32))
    func starts(_ list: [Int]) throws -> Tensor { try backend.tensor(list.map { Int32($0) }, [list.count]) }
    try backend.run(
      Attention(
        q: q, rows: .ragged(starts: starts(queryStarts), longest: 4),
        source: .ragged(keys: k, values: v, starts: starts(keyStarts), longest: 5), options: options, y: y,
        logSumExp: logSumExp))
    let (all, sums) = (try backend.floats(y), try backend.floats(logSumExp))
    for b in 0..<3 {
      let (rows, keys) = (queryStarts[b]..<queryStarts[b + 1], keyStarts[b]..<keyStarts[b + 1])
      var own = options
      own.bias = options.bias?.slice(0, b..<b + 1).slice(2, 0..<rows.count).slice(3, 0..<keys.count)
      let ownSums = try backend.allocate([1, 4, rows.count], .f32)
      let alone = try backend.floats(
        backend.attention(q.slice(2, rows), k.slice(2, keys), v.slice(2, keys), own, logSumExp: ownSums))
      let aloneSums = try backend.floats(ownSums)
      for h in 0..<4 {
        for i in rows.indices {
          let (row, ownRow) = (h * 8 + i, h * rows.count + i - rows.lowerBound)
          #expect(all[row * 5..<row * 5 + 5] == alone[ownRow * 5..<ownRow * 5 + 5])
          #expect(sums[row] == aloneSums[ownRow])
        }
      }
    }
    for h in 0..<4 {
      #expect(all[(h * 8 + 7) * 5..<(h * 8 + 8) * 5].allSatisfy { $0 == 0 } && sums[h * 8 + 7] == -.infinity)
    }
  }

  @Test(arguments: [16, 48, 256]) func blocksOfACache(_ blockLength: Int) throws {
    let cache = try backend.makeCache(
      blocks: 8, blockLength: blockLength, heads: 2, keySize: 6, valueSize: 5, type: .f32)
    let count = blockLength + 7
    let (q, k, v) = (
      try backend.noise([2, 4, 3, 6], 1), try backend.noise([count, 2, 6], 2),
      try backend.noise([count, 2, 5], 3)
    )
    // Sequence 0 lies in blocks 5 and 2; sequence 1 shares the first and has one key less than it has places.
    let slots = (0..<count).map {
      Int32($0 < blockLength ? 5 * blockLength + $0 : 2 * blockLength + $0 - blockLength)
    }
    try backend.append(keys: k, values: v, slots: backend.tensor(slots, [count]), to: cache)
    let lengths = [count, blockLength - 1]
    let options = AttentionOptions(mask: .causal(.lowerRight))
    let y = try backend.floats(
      backend.mergedAttention(
        q,
        .paged(
          cache: cache, table: backend.tensor([Int32(5), 2, 5, 99], [2, 2]),
          lengths: backend.tensor(lengths.map { Int32($0) }, [2]), longest: count), options, phase: .decode))
    for b in 0..<2 {
      func dense(_ tensor: Tensor) -> Tensor {
        tensor.slice(0, 0..<lengths[b]).reshaped([1, lengths[b], 2, tensor.columns]).permuted([0, 2, 1, 3])
      }
      let alone = try backend.attention(q.slice(0, b..<b + 1), dense(k), dense(v), options)
      let values = try backend.floats(alone)
      for h in 0..<4 {
        for i in 0..<3 {
          let row = (b * 3 + i) * 4 + h
          #expect(y[row * 5..<row * 5 + 5] == values[(h * 3 + i) * 5..<(h * 3 + i) * 5 + 5])
        }
      }
    }
  }

  /// What Q8_0 leaves: multiples of max / 127, the multiple rounded away from 0 and the step to f16.
  @Test func quantisedCache() throws {
    let cache = try backend.makeCache(
      blocks: 1, blockLength: 16, heads: 1, keySize: 32, valueSize: 96, type: .q8_0)
    var values = [Double](repeating: 0, count: 96)
    (values[0], values[1], values[2], values[3], values[31]) = (-127, 0.5, -1.5, 2.4, 126.6)
    (values[32], values[33]) = (1, -0.5)
    (values[64], values[65]) = (1, .infinity)
    let keys = try backend.tensor([Double](repeating: 0, count: 32), [1, 1, 32])
    try backend.append(
      keys: keys, values: backend.tensor(values, [1, 1, 96]), slots: backend.tensor([Int32(3)], [1]),
      to: cache)
    let slot = try backend.tensor([Int32(0)], [1, 1])
    let all = try backend.tensor([Int32(4)], [1])
    var fourth = [Double](repeating: 0, count: 4)
    fourth[3] = 1
    // Keys that were never written are NaN, and masked.
    let options = AttentionOptions(mask: .tensor(try backend.mask(fourth.map { Int($0) }, [1, 1, 1, 4])))
    let y = try backend.doubles(
      backend.mergedAttention(
        keys.reshaped([1, 1, 1, 32]), .paged(cache: cache, table: slot, lengths: all, longest: 4), options,
        phase: .decode))
    #expect([y[0], y[1], y[2], y[3], y[31]] == [-127, 1, -2, 2, 127])
    #expect([y[32], y[33], y[34]] == [127 * 0.00787353515625, -64 * 0.00787353515625, 0])
    #expect(y[64...].allSatisfy { $0.isNaN })
  }

  // MARK: - What is refused

  private func message(_ body: () throws -> Void) -> String {
    do { try body() } catch { return "\(error)" }
    return "nothing was thrown"
  }

  @Test func badStartsAreRefusedInWords() throws {
    let x = try backend.noise([1, 1, 4, 2], 1)
    func run(_ starts: [Int32], longest: Int = 4) -> String {
      message {
        let starts = try backend.tensor(starts, [starts.count])
        let y = try backend.allocate([1, 1, 4, 2], .f32)
        try backend.run(
          Attention(
            q: x, rows: .ragged(starts: starts, longest: 4),
            source: .ragged(keys: x, values: x, starts: starts, longest: longest), y: y))
      }
    }
    #expect(run([0, 4]) == "nothing was thrown")
    #expect(
      run([0, 3, 2]) == "attention: query starts of sequence 1 are 3 and 2; they must not fall, nor pass 4")
    #expect(
      run([0, 5]) == "attention: query starts of sequence 0 are 0 and 5; they must not fall, nor pass 4")
    #expect(run([-1, 2]).contains("are -1 and 2"))
    #expect(
      run([0, 4], longest: 3)
        == "attention: key starts give sequence 0 a length of 4, the longest is said to have 3")
  }

  @Test func badCachesAreRefusedInWords() throws {
    func make(_ blockLength: Int, _ type: ElementType, _ size: Int = 32) -> String {
      message {
        _ = try backend.makeCache(
          blocks: 2, blockLength: blockLength, heads: 1, keySize: size, valueSize: 32, type: type)
      }
    }
    #expect(make(256, .q8_0) == "nothing was thrown")
    for length in [0, 8, 24, 272] {
      #expect(
        make(length, .f32).contains("blocks of \(length) tokens; they have 16 to 256, a multiple of 16"))
    }
    #expect(
      make(16, .q8_0, 40).contains("keys of 40 and values of 32 elements; both must be multiples of 32"))
    #expect(make(16, .q4_0).contains("a cache of type q4_0"))
  }
}
