import FlashCL
import FlashCLReference
import Testing

@testable import FlashCLCases

@Suite struct BitwiseTests {
  private func check(_ pattern: String, _ mischief: @escaping Saboteur.Mischief = { _, _ in }) throws
    -> CaseResult
  {
    let regex = try Regex(pattern)
    let item = try #require(
      Case.all.first { $0.purpose == .check && $0.name().contains(regex) }, "\(pattern)")
    return Runner(Saboteur(mischief), cases: [item]).checkBits(item, strategy: "sound")
  }

  /// One case of every batched operation, and of every way in which a batch of sequences can be told.
  static let patterns = [
    "^linear.*phase=decode,rows=16,", "^linear.*phase=prefill.*residual=in_place", "^layer_norm.*rows=70,",
    "^layer_norm.*form=sum", "^rms_norm.*form=in_place", "^softmax.*rows=70,", "^gelu.*type=f32.*count=33",
    "^silu_multiply", "^gelu_multiply",
    "^attention.*fused.*B=2", "^attention.*lengths=0\\+64\\+65", "^attention.*keys_in=ragged.*phase=prefill",
    "^attention.*keys_in=ragged.*phase=decode", "^attention.*keys_in=q8_0.*phase=decode.*lengths=255\\+31",
    "^attention.*phase=decode.*options=mixed.*lengths=300\\+70", "^attention.*options=score_mod.*B=2",
    "^attention.*options=mask_mod.*lengths=70\\+41", "^attention.*options=mask,B=2",
    "^attention.*options=bias,B=2",
    "^attention.*options=blocks_16,B=2", "^attention.*options=focus_gaussian,B=2",
    "^attention.*options=sampled,B=2",
  ]

  @Test(arguments: patterns) func soundArithmeticRepeats(pattern: String) throws {
    let result = try check(pattern)
    #expect(result.outcome == .passed, "\(result.reason ?? "")")
    #expect(result.command == "flashcl check --bitwise '\(result.case)'")
  }

  /// One bit of the last element on the second run of all.
  @Test(arguments: patterns + ["^rope", "^embedding", "^cache_append", "^top_k", "^attention_weights"])
  func aSecondRunWithOtherBits(pattern: String) throws {
    var runs = 0
    let result = try check(pattern) { backend, operation in
      guard operation.isWhole || pattern == "^cache_append", let y = operation.outputs.first else { return }
      runs += 1
      if runs == 2 { try backend.nudgeLast(y) }
    }
    #expect(result.outcome == .failed)
    let words = "output 0, element .* is .* \\(0x.*\\) on the first run and .* \\(0x.*\\) on the second"
    #expect(try result.reason?.wholeMatch(of: Regex(words)) != nil, "\(result.reason ?? "")")
  }

  /// One bit of the last element wherever there are neighbours.
  @Test(arguments: patterns) func neighboursThatChangeBits(pattern: String) throws {
    let result = try check(pattern) { backend, operation in
      if operation.isWhole, let y = operation.outputs.first { try backend.nudgeLast(y) }
    }
    #expect(result.outcome == .failed)
    let words = "output 0, element .* of (row|place|sequence) [0-9]+ is .* among its neighbours and .* alone"
    #expect(try result.reason?.wholeMatch(of: Regex(words)) != nil, "\(result.reason ?? "")")
  }

  @Test func theFirstDifferenceIsNamed() throws {
    let result = try check("^softmax.*type=f32,rows=70,cols=33,") { backend, operation in
      guard operation.isWhole, let y = operation.outputs.first else { return }
      for element in [69 * 33 + 7, 69 * 33 + 9] { try backend.spoil(y, element) { _ in 0.25 } }
    }
    let start = "output 0, element 7 of row 69 is 0.25 (0x3e800000) among its neighbours and "
    #expect(result.reason?.hasPrefix(start) == true, "\(result.reason ?? "")")
  }

  @Test func whatCannotRunIsSaid() throws {
    let runner = Runner(Saboteur())
    let name = try #require(runner.cases.first { $0.operation == "softmax" }).name(strategy: "unsupported")
    #expect(try runner.check(name, bitwise: true).map(\.outcome) == [.unsupported])
    let throwing = name.replacing("unsupported", with: "throwing")
    #expect(try runner.check(throwing, bitwise: true).first?.reason == "out of order")
  }
}

extension Operation {
  /// True for a call of several sequences or rows, and for what has none.
  fileprivate var isWhole: Bool { (self as? any Batched)?.members ?? 2 > 1 }
}

extension Saboteur {
  /// The next number of the output's type, or in a narrow one another.
  fileprivate func nudgeLast(_ y: Tensor) throws {
    try spoil(y, y.count - 1) { y.type == .f32 ? Double(Float($0).nextUp) : $0 == 1 ? 2 : 1 }
  }
}
