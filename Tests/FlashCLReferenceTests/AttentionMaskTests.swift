import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Every mask as a picture: a line for each query, and in it how often each key counts.
@Suite struct AttentionMaskTests {
  struct Picture: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let mask: @Sendable (ReferenceBackend) throws -> AttentionMask
    let lines: [String]

    init(
      _ name: String, _ mask: @escaping @Sendable (ReferenceBackend) throws -> AttentionMask,
      _ lines: String...
    ) {
      (testDescription, self.mask, self.lines) = (name, mask, lines)
    }

    static let all = [
      Picture("all", { _ in .all }, "11", "11"),
      // Four queries are level with keys 2 to 5.
      Picture("upper left", { _ in .causal(.upperLeft) }, "100000", "110000", "111000", "111100"),
      Picture("lower right", { _ in .causal(.lowerRight) }, "111000", "111100", "111110", "111111"),
      Picture("window", { _ in .window(left: 1, right: 0) }, "011000", "001100", "000110", "000011"),
      Picture(
        "window to the right", { _ in .window(left: -1, right: 1) }, "111100", "111110", "111111", "111111"),
      Picture(
        "window to the left", { _ in .window(left: 0, right: -1) }, "001111", "000111", "000011", "000001"),
      Picture("window without end", { _ in .window(left: .max, right: .max) }, "111111", "111111"),
      Picture("local", { _ in .local(1) }, "011100", "001110", "000111", "000011"),
      Picture("atrous", { _ in .atrous(3) }, "001001", "100100", "010010", "001001"),
      Picture(
        "dilated window", { _ in .dilatedWindow(left: 4, right: 2, dilation: 2) },
        "101010", "010101", "101010", "010101"),
      Picture("strided", { _ in .strided(2) }, "111110", "011111", "101111", "010111"),
      Picture(
        "global", { _ in .window(left: 0, right: 0).or(.global([1, 4])) }, "011010", "010110", "111111",
        "010011"),
      Picture(
        "and", { _ in .causal(.upperLeft).and(.window(left: 3, right: -1)) }, "100000", "110000", "011000",
        "001100"),
      // With more queries than keys the first are before any key, at -2 and -1.
      Picture("lower right of few", { _ in .causal(.lowerRight) }, "000", "000", "100", "110", "111"),
      Picture("atrous of few", { _ in .atrous(2) }, "101", "010", "101", "010", "101"),
      Picture("global of few", { _ in .global([1]) }, "010", "010", "010", "111", "010"),
      Picture(
        "segments of few", { _ in .segments([.init(length: 2, dilation: 1)]) }, "000", "000", "110", "110",
        "001"),
      Picture(
        "tensor",
        { .tensor(try $0.mask([1, 0, 0, 0, 1, 1], [1, 1, 2, 3])).and(.window(left: -1, right: 0)) },
        "100", "011"),
      Picture("tensor over queries", { .tensor(try $0.mask([1, 0, 1], [1, 1, 1, 3])) }, "101", "101"),
      Picture(
        "segments", { _ in .segments([.init(length: 4, dilation: 2)]) },
        "10100000", "00000000", "10100000", "00000000", "00001010", "00000000", "00001010", "00000000"),
      Picture(
        "mixed segments", { _ in .segments([.init(length: 2, dilation: 1), .init(length: 8, dilation: 4)]) },
        "21001000", "11000000", "00110000", "00110000", "10002100", "00001100", "00000011", "00000011"),
      Picture(
        "counts multiply", { _ in .segments(two).and(.segments(two)).and(.causal(.lowerRight)) }, "40", "44"),
      Picture(
        "the greater count", { _ in .segments(two).or(.causal(.upperLeft)).or(.all) }, "221", "221", "112"),
    ]
    private static let two = [AttentionMask.Segment](repeating: .init(length: 2, dilation: 1), count: 2)
  }

  let backend = ReferenceBackend()

  @Test(arguments: Picture.all) func picture(_ picture: Picture) throws {
    let mask = try picture.mask(backend)
    #expect(
      try backend.counts(mask, queries: picture.lines.count, keys: picture.lines[0].count) == picture.lines)
  }

  /// Head 1 of a dilation of 2 takes the odd places, head 2 the even ones again.
  @Test func segmentsOfOtherHeads() throws {
    let mask = AttentionMask.segments([.init(length: 4, dilation: 2)])
    for (h, lines) in [(1, ["0000", "0101", "0000", "0101"]), (2, ["1010", "0000", "1010", "0000"])] {
      #expect(try backend.counts(mask, queries: 4, keys: 4, head: h) == lines)
    }
  }

  @Test func masksOfEachSequenceAndHead() throws {
    // [2, 1, 1, 2] by sequence, [1, 2, 1, 2] by head; sequence 0 has one key.
    let bySequence = try backend.mask([1, 1, 0, 1], [2, 1, 1, 2])
    let byHead = try backend.mask([1, 1, 1, 0], [1, 2, 1, 2])
    let zeros = try backend.tensor([Float](repeating: 0, count: 4), [2, 2, 1, 1])
    let keys = try backend.tensor([Float](repeating: 0, count: 8), [2, 2, 2, 1])
    let weights = try backend.attentionWeights(
      zeros, keys, AttentionOptions(mask: .tensor(bySequence).and(.tensor(byHead))),
      lengths: backend.tensor([Int32(1), 2], [2]))
    #expect(try backend.floats(weights) == [1, 0, 1, 0, 0, 1, 0, 0])
  }

  /// One query and one key of every block of 16.
  @Test func blocks() throws {
    let map = try BlockMask(size: 16, columns: 4, keys: [[0, 3], [1, 1, 2], [2, 0, 2, 2]])
    #expect(map.counts == [1, 0, 0, 1, 0, 2, 1, 0, 1, 0, 3, 0])
    let lines = try backend.counts(.blocks(map), queries: 40, keys: 56)
    for (i, row) in [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (39, 2)] {
      let line = (0..<56).map { "\(map.counts[row * 4 + $0 / 16])" }.joined()
      #expect(lines[i] == line, "query \(i)")
    }
  }

  /// A block that a list names twice has twice the weight: as if its keys were there twice.
  @Test func whatCountsTwiceIsThereTwice() throws {
    let (q, k, v) = (
      try backend.noise([1, 1, 3, 4], 1), try backend.noise([1, 1, 32, 4], 2),
      try backend.noise([1, 1, 32, 4], 3)
    )
    func twice(_ tensor: Tensor) throws -> Tensor {
      let values = try backend.floats(tensor)
      return try backend.tensor(values + values[(16 * 4)...], [1, 1, 48, 4])
    }
    let map = try BlockMask(size: 16, columns: 2, keys: [[0, 1, 1]])
    let (a, b) = (try backend.allocate([1, 1, 3], .f32), try backend.allocate([1, 1, 3], .f32))
    let counted = try backend.attention(q, k, v, AttentionOptions(mask: .blocks(map)), logSumExp: a)
    let repeated = try backend.attention(q, twice(k), twice(v), logSumExp: b)
    #expect(agree(try backend.doubles(counted), try backend.doubles(repeated)))
    #expect(agree(try backend.doubles(a), try backend.doubles(b)))
  }

  /// LongNet's patterns one by one, mixed in proportion to their denominators, are one softmax with counts.
  @Test(arguments: [false, true]) func longNetTwoWays(isCausal: Bool) throws {
    let causal = isCausal ? AttentionMask.causal(.lowerRight) : .all
    let segments = [(4, 1), (8, 2), (16, 4)].map { AttentionMask.Segment(length: $0, dilation: $1) }
    let shape = [2, 4, 16, 8]
    let (q, k, v) = (try backend.noise(shape, 1), try backend.noise(shape, 2), try backend.noise(shape, 3))
    func attend(_ segments: [AttentionMask.Segment]) throws -> (y: [Double], logSumExp: [Double]) {
      let logSumExp = try backend.allocate([2, 4, 16], .f32)
      let y = try backend.attention(
        q, k, v, AttentionOptions(mask: .segments(segments).and(causal)), logSumExp: logSumExp)
      return (try backend.doubles(y), try backend.doubles(logSumExp))
    }
    let (counted, total) = try attend(segments)
    let parts = try segments.map { try attend([$0]) }
    for row in 0..<2 * 4 * 16 {
      let denominators = parts.map { exp($0.logSumExp[row]) }
      let sum = denominators.reduce(0, +)
      #expect(abs(exp(total[row]) - sum) < 1e-5 * max(sum, 1e-30))
      for i in row * 8..<row * 8 + 8 {
        let mixed = zip(parts, denominators).map { $0.y[i] * $1 }.reduce(0, +) / max(sum, 1e-30)
        #expect(abs(counted[i] - mixed) < 1e-5)
      }
    }
  }

  @Test func bigBird() throws {
    func map(_ seed: UInt64) throws -> BlockMask {
      try BlockMask.bigBird(size: 16, blocks: 12, global: 1, window: 1, random: 3, seed: seed)
    }
    let first = try map(5)
    #expect(try map(5) == first)
    #expect(try map(6) != first)
    for row in 0..<12 {
      let counts = first.counts[row * 12..<row * 12 + 12]
      // Two at the ends, three around the block itself, three at random; none twice.
      let expected = row == 0 || row == 11 ? 12 : row == 1 || row == 10 ? 4 + 3 : 5 + 3
      #expect(counts.reduce(0) { $0 + Int($1) } == expected && counts.allSatisfy { $0 <= 1 })
    }
  }
}
