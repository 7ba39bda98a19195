import FlashCL
import FlashCLCases
import FlashCLRuntime
import Testing

@testable import FlashCLOpenCL

/// Numbers that a device may like otherwise: every one is right, and no table brings in another.
@Suite struct TuningTests {
  /// Small cases that reach the strategies of an operation.
  private static let cases = [
    "attention": "attention.*(causal=lower_right,options=none,B=2,Hq=3.*Lq=(33|1),|keys_in=f32.*lengths=600)",
    "linear": "linear.*type=f32.*(rows=1,|rows=33,)", "layer_norm": "layer_norm.*type=f32.*cols=257",
    "rms_norm": "rms_norm.*type=f32.*cols=257", "softmax": "softmax.*type=f32.*cols=257",
    "argmax": "argmax.*cols=257", "top_k": "top_k.*cols=257",
  ]

  @Test(arguments: Tunable.all.map(\.id))
  func everyValueIsRight(id: String) throws {
    let tunable = try #require(Tunable.all.first { $0.id == id })
    let backend = try OpenCLBackend(try Device.select())
    let filter = try #require(Self.cases[tunable.operation])
    for value in tunable.values where value != backend.number(tunable) {
      var tuning = Tuning()
      tuning[tunable] = value
      try backend.tune(tuning)
      #expect(backend.number(tunable) == value)
      let results = try Runner(backend).check(filter)
      let ran = results.filter { tunable.strategies.contains($0.strategy) && $0.outcome != .unsupported }
      #expect(!ran.isEmpty, "\(id) = \(value): no case reaches \(tunable.strategies)")
      for result in results where result.outcome == .failed {
        Issue.record("\(id) = \(value): \(result.case): \(result.reason ?? "")")
      }
    }
  }

  @Test func aPreferredStrategyIsChosen() throws {
    let backend = try OpenCLBackend(try Device.select())
    let x = try backend.allocate([3, 5], .f32)
    let softmax = Softmax(x: x, y: x)
    for name in try backend.strategies(for: softmax).map(\.name) {
      var tuning = Tuning()
      tuning.prefer([name], for: "softmax")
      try backend.tune(tuning)
      #expect(try backend.strategies(for: softmax).first(where: \.chosen)?.name == name)
    }
  }

  @Test func tablesAreTextAndBack() throws {
    var tuning = Tuning()
    #expect(tuning.isEmpty && tuning.lines == [])
    for tunable in Tunable.all { tuning[tunable] = tunable.values[0] }
    tuning.prefer(["rows", "lanes"], for: "attention")
    #expect(try Tuning(text: tuning.lines.joined(separator: "\n")) == tuning)
    tuning.reset("attention")
    #expect(!tuning.lines.contains { $0.hasPrefix("attention") } && !tuning.isEmpty)
  }

  @Test(arguments: [
    "attention", "attention.split", "attention.split =", "attention.split 128", "attention.split = 7",
    "attention.split = -1", "attention.split = 99999999999999999999 1", "attention.splitt = 128", "= 128",
    ". = 1",
    "gelu.lanes = 64", "nothing = rows", "attention.split = 128\nlinear.groups = 3", "\u{0}\u{1}", "{}",
    "[1, 2]",
    "attention.split=128", "attention.split : 128", "ATTENTION.SPLIT = 128", "attention . split = 128",
  ])
  func otherTablesAreRefused(text: String) {
    #expect(throws: FlashCLError.self) { try Tuning(text: text) }
  }
}
