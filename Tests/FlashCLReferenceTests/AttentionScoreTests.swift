import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Scores, choices and outputs of attention against numbers worked out by hand or by others.
@Suite struct AttentionScoreTests {
  let backend = ReferenceBackend()

  // MARK: - Kinds

  /// Weights from waists: a query of 57 among keys of 51, 56 and 58.
  @Test func gaussianKernel() throws {
    let (q, k) = (try backend.tensor([[57.0]]).heads(1), try backend.tensor([[51.0], [56], [58]]).heads(1))
    let options = AttentionOptions(kind: .gaussian)
    let y = try backend.attention(q, k, backend.tensor([[40.0], [43], [48]]).heads(1), options)
    #expect(abs(try backend.doubles(y)[0] - 45.49999993) < 4e-6)
    let weights = try backend.doubles(backend.attentionWeights(q, k, options))
    for (weight, truth) in zip(weights, [1.2555e-8, 0.49999999372, 0.49999999372]) {
      #expect(abs(weight - truth) < 1e-4 * truth)
    }
  }

  /// One query (1, 2) of head h and one key, so that the log-sum-exp is the score.
  @Test func kinds() throws {
    let q = try backend.tensor([1.0, 2, 1, 2], [1, 2, 1, 2])
    let (key, longKey) = (
      try backend.tensor([3.0, -1], [1, 1, 1, 2]), try backend.tensor([1.0, 0, 2], [1, 1, 1, 3])
    )
    func scores(_ kind: ScoreKind, _ key: Tensor, scale: Float? = nil) throws -> [Double] {
      try backend.scores(q, key, AttentionOptions(kind: kind, scale: scale))
    }
    #expect(agree(try scores(.scaled, key), [1 / 2.0.squareRoot(), 1 / 2.0.squareRoot()], ulps: 2))
    #expect(try scores(.dot, key) == [1, 1])
    #expect(try scores(.dot, key, scale: -3) == [-3, -3])
    #expect(try scores(.gaussian, key) == [-6.5, -6.5])
    // (1, 2) · W = (1 + 8, 2 + 10, 3 + 12), then · (1, 0, 2)
    let w = try backend.tensor([1.0, 2, 3, 4, 5, 6], [2, 3])
    #expect(try scores(.general(w), longKey) == [39, 39])
    let perHead = try backend.tensor([1.0, 2, 3, 4, 5, 6, 0, 0, 1, 1, 0, 0], [2, 2, 3])
    #expect(try scores(.general(perHead), longKey) == [39, 4])
    // q·Wq = (1 + 2, −1), k·Wk = (1 + 4, 2)
    let (wq, wk) = (
      try backend.tensor([1.0, -1, 1, 0], [2, 2]), try backend.tensor([1.0, 0, 9, 9, 2, 1], [3, 2])
    )
    let score = try backend.tensor([2.0, -1], [2])
    let additive = 2 * tanh(8.0) - tanh(1)
    #expect(agree(try scores(.additive(query: wq, key: wk, score: score), longKey), [additive, additive]))
    // Projected already.
    let own = 2 * tanh(4.0) - tanh(1)
    #expect(agree(try scores(.additive(query: nil, key: nil, score: score), key), [own, own]))
  }

  // MARK: - What is added

  @Test func softcapThenBiasThenExpression() throws {
    let (q, k) = (try backend.tensor([2.0], [1, 1, 1, 1]), try backend.tensor([3.0], [1, 1, 1, 1]))
    let bias = try backend.tensor([10.0], [1, 1, 1, 1])
    let scores = try backend.scores(
      q, k, AttentionOptions(scale: 0.5, softcap: 2, bias: bias, scoreMod: ScoreExpression("score * 2")))
    #expect(agree(scores, [2 * (2 * tanh(1.5) + 10)]))
  }

  private static let exponents: [[Double]] = [
    [1, 2, 3, 4, 5, 6, 7, 8], [2, 4, 6, 8, 1, 3], [8], [4, 8, 2],
    [1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5],
  ]

  @Test(arguments: exponents) func alibi(_ exponents: [Double]) throws {
    let (heads, slopes) = (exponents.count, exponents.map { pow(2, -$0) })
    for (got, slope) in zip(ALiBi.slopes(heads: heads), slopes) { #expect(got == Float(slope)) }
    // One query, level with the last of four keys; the first is 3 away.
    let q = try backend.tensor([Double](repeating: 0, count: heads), [1, heads, 1, 1])
    let k = try backend.tensor([Double](repeating: 0, count: 4), [1, 1, 4, 1])
    for alibi in [ALiBi.standard, .slopes(try backend.tensor(slopes, [heads]))] {
      let weights = try backend.doubles(backend.attentionWeights(q, k, AttentionOptions(alibi: alibi)))
      for (h, slope) in slopes.enumerated() {
        #expect(abs(log(weights[4 * h] / weights[4 * h + 3]) + 3 * slope) < 1e-6)
      }
    }
  }

  /// Buckets as `transformers` has them.
  private static let distances: [Int] = [
    0, 1, 7, 64, 128, -1, -8, -11, -12, -15, -16, -22, -23, -45, -46, -90, -91, -127, -128,
  ]
  private static let oneSided: [Int] = [0, 0, 0, 0, 0, 1, 8, 11, 12, 15, 16, 18, 18, 23, 24, 29, 29, 31, 31]
  private static let twoSided: [Int] = [0, 17, 23, 30, 31, 1, 8, 8, 9, 9, 10, 10, 11, 12, 13, 14, 15, 15, 15]

  @Test(arguments: [true, false]) func t5Buckets(isBidirectional: Bool) throws {
    let table = try T5Bias.table(
      weights: (0..<64).map { Float($0) }, buckets: 32, heads: 2, bidirectional: isBidirectional)
    #expect(table.count == 2 * 257)
    for (distance, bucket) in zip(Self.distances, isBidirectional ? Self.twoSided : Self.oneSided) {
      let column = distance + 128
      #expect([table[column], table[257 + column]] == [Float(2 * bucket), Float(2 * bucket + 1)])
    }
    // Distances beyond the table are those at its end: a key 1000 before the query is in bucket 15, or 31.
    let q = try backend.tensor([Double](repeating: 0, count: 2), [1, 2, 1, 1])
    let k = try backend.tensor([Double](repeating: 0, count: 1001), [1, 1, 1001, 1])
    let relative = try backend.tensor(table, [2, 257])
    let weights = try backend.doubles(
      backend.attentionWeights(
        q, k, AttentionOptions(scale: 1, relative: relative, relativeAlignment: .lowerRight)))
    #expect(abs(log(weights[0] / weights[1000]) - (isBidirectional ? 30 : 62)) < 1e-4)
  }

  /// Two queries of four keys: the upper left one is at 0, the lower right one at 2.
  @Test func relativeTables() throws {
    let (q, k) = (
      try backend.tensor([0.0, 0], [1, 1, 2, 1]), try backend.tensor([0.0, 0, 0, 0], [1, 1, 4, 1])
    )
    let table = try backend.tensor([-1.0, 0, 2], [1, 3])
    for (start, picture) in [
      (AttentionMask.Alignment.upperLeft, [0.0, 2, 2, 2, -1, 0, 2, 2]),
      (.lowerRight, [-1, -1, 0, 2, -1, -1, -1, 0]),
    ] {
      let weights = try backend.doubles(
        backend.attentionWeights(q, k, AttentionOptions(relative: table, relativeAlignment: start)))
      for row in 0..<2 {
        for j in 1..<4 {
          let got = log(weights[4 * row + j] / weights[4 * row])
          #expect(abs(got - (picture[4 * row + j] - picture[4 * row])) < 1e-6)
        }
      }
    }
  }

  /// q = (1, 2), k = (3, 4), the key one before the query; every term has a digit of its own.
  @Test func relativePositions() throws {
    let (q, k) = (
      try backend.tensor([1.0, 2], [1, 1, 1, 2]), try backend.tensor([[3.0, 4], [0, 0]]).heads(1)
    )
    func row(_ values: [Double]) throws -> Tensor { try backend.tensor(values, [1, 2]) }
    func table(_ values: [Double]) throws -> Tensor {
      try backend.tensor(values + [0, 0, 0, 0], [1, 3, 2])  // distances −1, 0, 1
    }
    var positions = RelativePositions(
      contentBias: try row([10, 20]), positionBias: try row([100, 200]), keys: try table([0.5, 0.25]),
      queries: try table([1000, 2000]), values: try table([7, 8]))
    let mask = AttentionMask.tensor(try backend.mask([1, 0], [1, 1, 1, 2]))
    func scores() throws -> Double {
      try backend.scores(q, k, AttentionOptions(mask: mask, scale: 0.5, positions: positions))[0]
    }
    // (11, 22)·k = 121, (101, 202)·(0.5, 0.25) = 101, k·(1000, 2000) = 11000
    #expect(try scores() == 0.5 * 11222)
    positions.queries = nil
    positions.positionBias = nil
    positions.contentBias = nil
    #expect(try scores() == 0.5 * (11 + 1))
    let y = try backend.attention(q, k, k, AttentionOptions(mask: mask, positions: positions))
    #expect(try backend.doubles(y) == [10, 12])
  }

  @Test func sinks() throws {
    // Scores 0 and 0, a sink of ln 2 in head 0 and none in head 1; query 0 sees no key.
    let q = try backend.tensor([0.0, 0, 0, 0, 0, 0], [1, 2, 3, 1])
    let (k, v) = (try backend.tensor([0.0, 0], [1, 1, 2, 1]), try backend.tensor([4.0, 8], [1, 1, 2, 1]))
    let sinks = try backend.tensor([log(2.0), -.infinity], [2])
    let logSumExp = try backend.allocate([1, 2, 3], .f32)
    let options = AttentionOptions(mask: .causal(.lowerRight), sinks: sinks)
    let y = try backend.attention(q, k, v, options, logSumExp: logSumExp)
    #expect(agree(try backend.doubles(y), [0, 4.0 / 3, 3, 0, 4, 6]))
    #expect(
      agree(try backend.doubles(logSumExp), [log(2.0), log(3.0), log(4.0), -.infinity, 0, log(2.0)], ulps: 2))
    let weights = try backend.doubles(backend.attentionWeights(q, k, options))
    #expect(agree(weights, [0, 0, 1.0 / 3, 0, 0.25, 0.25, 0, 0, 1, 0, 0.5, 0.5]))
  }

  /// Keys 1 to 5 around 3, equal scores: each weighs a fifth, times the Gaussian of σ = 1.
  @Test func focus() throws {
    let q = try backend.tensor([0.0], [1, 1, 1, 1])
    let k = try backend.tensor([Double](repeating: 0, count: 8), [1, 1, 8, 1])
    let centers = try backend.tensor([3.0], [1, 1, 1])
    func weights(_ gaussian: Bool) throws -> [Double] {
      try backend.doubles(
        backend.attentionWeights(
          q, k, AttentionOptions(focus: Focus(centers: centers, radius: 2, gaussian: gaussian))))
    }
    #expect(agree(try weights(false), [0, 0.2, 0.2, 0.2, 0.2, 0.2, 0, 0]))
    let (near, far) = (0.2 * exp(-0.5), 0.2 * exp(-2.0))
    #expect(agree(try weights(true), [0, far, near, 0.2, near, far, 0, 0]))
  }

  // MARK: - Choices

  @Test func hardAttentionTakesTheFirstOfTheGreatest() throws {
    let q = try backend.tensor([1.0], [1, 1, 1, 1])
    let (k, v) = (
      try backend.tensor([1.0, 3, 3, 2], [1, 1, 4, 1]),
      try backend.tensor([Double.nan, 5, 6, .infinity], [1, 1, 4, 1])
    )
    #expect(try backend.doubles(backend.attention(q, k, v, AttentionOptions(choice: .hard))) == [5])
    let masked = AttentionOptions(mask: .causal(.upperLeft).and(.window(left: 0, right: 0)), choice: .hard)
    #expect(try backend.doubles(backend.attention(q, k, v, masked)) == [0])
  }

  /// Keys drawn under equal scores: the choices of another program that has the hash from its definition.
  @Test(
    arguments: [
      0: [1, 0, 3, 4, 3, 0], 7: [3, 4, 2, 2, 1, 1], 0x1234_5678_9abc_def0: [2, 4, 0, 4, 1, 1],
    ] as [UInt64: [Double]]) func samples(_ seed: UInt64, _ keys: [Double]) throws
  {
    let q = try backend.tensor([Double](repeating: 0, count: 6), [1, 2, 3, 1])
    let (k, v) = (
      try backend.tensor([Double](repeating: 0, count: 5), [1, 1, 5, 1]),
      try backend.tensor([0.0, 1, 2, 3, 4], [1, 1, 5, 1])
    )
    let options = AttentionOptions(choice: .sampled(seed: seed))
    #expect(try backend.doubles(backend.attention(q, k, v, options)) == keys)
  }

  /// More queries than keys, the first two before any key.
  @Test func samplesOfEarlyQueries() throws {
    let q = try backend.tensor([Double](repeating: 0, count: 4), [1, 1, 4, 1])
    let (k, v) = (try backend.tensor([0.0, 0], [1, 1, 2, 1]), try backend.tensor([0.0, 1], [1, 1, 2, 1]))
    let y = try backend.attention(q, k, v, AttentionOptions(choice: .sampled(seed: 7)))
    #expect(try backend.doubles(y) == [0, 1, 1, 1])
  }

  /// Of 32 keys with equal scores the last 16 count twice: two draws of three are theirs.
  @Test func samplesFollowTheSoftmax() throws {
    let count = 6400
    let q = try backend.tensor([Double](repeating: 0, count: count), [1, 1, count, 1])
    let k = try backend.tensor([Double](repeating: 0, count: 32), [1, 1, 32, 1])
    let v = try backend.tensor((0..<32).map { $0 < 16 ? 0.0 : 1 }, [1, 1, 32, 1])
    let map = try BlockMask(size: 16, columns: 2, keys: [[Int]](repeating: [0, 1, 1], count: count / 16))
    let options = AttentionOptions(mask: .blocks(map), choice: .sampled(seed: 99))
    let drawn = try backend.doubles(backend.attention(q, k, v, options)).reduce(0, +) / Double(count)
    #expect(abs(drawn - 2.0 / 3) < 5 * (2.0 / 9 / Double(count)).squareRoot())
  }
}
