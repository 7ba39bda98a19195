import Testing

@testable import FlashCLModels

/// The choice of a token from logits, and the search for stop strings.
@Suite struct SamplerTests {
  private func draws(_ logits: [Float], _ change: (inout SamplingOptions) -> Void) throws -> [Int: Int] {
    var options = SamplingOptions()
    options.temperature = 1
    options.seed = 7
    change(&options)
    var sampler = try Sampler(options)
    let candidates = logits.enumerated().map { Sampler.Candidate(logit: $1, id: Int32($0)) }
    var counts: [Int: Int] = [:]
    for _ in 0..<4000 { counts[Int(try sampler.pick(candidates)), default: 0] += 1 }
    return counts
  }

  // e^2, e^1, e^0, e^−1 over their sum: 0.644, 0.237, 0.087, 0.032
  private let logits: [Float] = [0, 2, -1, 1]

  @Test func drawsFollowTheProbabilities() throws {
    let counts = try draws(logits) { _ in }
    for (id, p) in [(1, 0.644), (3, 0.237), (0, 0.087), (2, 0.032)] {
      // Four standard deviations of 4000 draws.
      #expect(abs(Double(counts[id] ?? 0) / 4000 - p) < 4 * (p * (1 - p) / 4000).squareRoot())
    }
  }

  @Test func filtersKeepWhatTransformersKeeps() throws {
    #expect(Set(try draws(logits) { $0.topK = 2 }.keys) == [1, 3])
    #expect(Set(try draws(logits) { $0.topK = 99 }.keys) == [0, 1, 2, 3])
    // 0.644 < 0.7, so the second is needed; 0.644 + 0.237 ≥ 0.88.
    #expect(Set(try draws(logits) { $0.topP = 0.7 }.keys) == [1, 3])
    #expect(Set(try draws(logits) { $0.topP = 0.6 }.keys) == [1])
    #expect(Set(try draws(logits) { $0.topP = 0 }.keys) == [1])
    #expect(Set(try draws(logits) { $0.topP = 1 }.keys) == [0, 1, 2, 3])
    // Relative to the greatest: 1, 0.368, 0.135, 0.0498.
    #expect(Set(try draws(logits) { $0.minP = 0.1 }.keys) == [0, 1, 3])
    #expect(Set(try draws(logits) { $0.minP = 1 }.keys) == [1])
    #expect(Set(try draws(logits) { $0.temperature = 0 }.keys) == [1])
    #expect(Set(try draws([3, 3, 3]) { $0.temperature = 0 }.keys) == [0])
  }

  @Test func logitsThatAreNoNumbers() throws {
    #expect(throws: ModelError.self) { _ = try draws([.nan, .nan]) { _ in } }
    #expect(throws: ModelError.self) { _ = try draws([-.infinity, -.infinity]) { _ in } }
    #expect(Set(try draws([.nan, 1, -.infinity]) { _ in }.keys) == [1])
  }

  @Test func stopStringsAcrossPieces() {
    func run(_ stops: [String], _ pieces: [String]) -> (text: String, stopped: Bool) {
      var finder = StopStrings(stops)
      var text = ""
      for piece in pieces {
        let (part, stopped) = finder.push(piece)
        text += part
        if stopped { return (text, true) }
      }
      return (text + finder.finish(), false)
    }
    #expect(run(["\n\n"], ["a\n", "b\n", "\nc"]) == ("a\nb", true))
    #expect(run(["END"], ["xE", "N", "x E", "ND y"]) == ("xENx ", true))
    #expect(run(["END"], ["all E", "N"]) == ("all EN", false))
    #expect(run(["bc", "abcd"], ["abcd"]) == ("a", true))
    #expect(run([], ["a", "b"]) == ("ab", false))
    #expect(run([""], ["a"]) == ("a", false))
    #expect(run(["é"], ["caf", "é!"]) == ("caf", true))
  }

  @Test func textIsHeldBackOnlyAsLongAsNeeded() {
    var finder = StopStrings(["stop"])
    #expect(finder.push("a st") == ("a ", false))
    #expect(finder.push("ay s") == ("stay ", false))
    #expect(finder.push("top") == ("", true))
  }
}
