import FlashCL
import FlashCLReference
import Synchronization
import Testing

@testable import FlashCLCases

/// The tables, judged on backends whose virtues and faults are known.
@Suite struct CaseTests {
  static let operations = Set(Case.all.map(\.operation)).sorted()

  /// Operations on caches, whose outputs only a witness can see.
  static let hidden = [CacheAppend.name, CacheCopy.name]

  static func cases(_ operation: String) -> [Case] {
    Case.all.filter { $0.operation == operation && $0.purpose == .check }
  }

  /// But for weights, which are for looking at.
  @Test func everyOperationHasCasesOfBothKinds() {
    #expect(Self.operations.count == 19)
    for operation in Self.operations where operation != AttentionWeights.name {
      #expect(Case.all.contains { $0.operation == operation && $0.purpose == .bench }, "\(operation)")
    }
    let names = Case.all.map { $0.name() + ($0.purpose == .bench ? " bench" : "") }
    let repeated = Dictionary(grouping: names) { $0 }.filter { $0.value.count > 1 }.keys
    #expect(repeated.isEmpty, "\(repeated)")
  }

  /// Every case passes with the reference and with plain f32 arithmetic, and fails when nothing is computed
  /// or one element is off by a thousandth of the greatest.
  @Test(arguments: operations)
  func everyCase(operation: String) throws {
    let runner = Runner(Saboteur(), cases: Self.cases(operation))
    try runner.check("strategy=(sound|float|lost|element),") { result in
      let reason: Comment = "\(result.case): \(result.reason ?? "")"
      switch result.strategy {
      case "sound", "float": #expect(result.outcome == .passed, reason)
      case _ where ["Lq=0,", "B=0,"].contains(where: result.case.contains): break  // no element to be wrong
      case "lost": #expect(result.outcome == .failed, reason)
      default:
        // Where the bounds are wide by the nature of the formula, or no element is left that is finite and
        // large, or a witness is judged in its place.
        let wide = [
          "constant", "offset", "extremes", "outside=true", "nan", "infinity", "cols=1,", "count=1,",
          "keys_in=f16", "keys_in=bf16", "keys_in=q8_0", "appends=witnessed",
        ]
        if Self.hidden.contains(operation) || wide.contains(where: result.case.contains) { return }
        #expect(result.outcome == .failed, reason)
        if result.case.contains("then=") { return }  // the layer that is judged spreads the wrong element
        #expect(result.worst.count == 1 && result.error ?? .infinity > result.tolerance ?? 0, reason)
      }
    }
  }

  /// Strategies share the truth, and so do checking and timing, also in turn with another case.
  @Test func oneTruthForACase() throws {
    final class Counter: Sendable { let count = Mutex(0) }
    let truths = Counter()
    let cases = [3, 5].map { count in
      Case(GELU.self, .f32, ["count": count], .elementwise(ulps: 20, roundings: 2)) { bench in
        if bench.backend is ReferenceBackend { truths.count.withLock { $0 += 1 } }
        return GELU(.exact, x: try bench.normal([count]), y: try bench.output([count]))
      }
    }
    let runner = Runner(Saboteur(), cases: cases)
    for item in cases + cases {
      for strategy in ["sound", "float"] {
        #expect(try runner.time(item, strategy: strategy, duration: 1e-4).1 != nil)
        #expect(runner.check(item, strategy: strategy).outcome == .passed)
      }
    }
    try runner.check()
    #expect(truths.count.withLock { $0 } == 2)
  }

  /// Faults that the first case of each operation must notice, and what it says.
  @Test(arguments: operations.filter { !hidden.contains($0) }, Saboteur.Fault.allCases)
  func faultsAreNoticed(operation: String, fault: Saboteur.Fault) throws {
    let result = Runner(Saboteur()).check(Self.cases(operation)[0], strategy: fault.rawValue)
    let reason = result.reason ?? ""
    switch fault {
    case .sound, .float: #expect(result.outcome == .passed)
    // Integers are last.
    case .nan where [ArgMax.name, TopK.name, LinearArgMax.name].contains(operation): break
    case .unsupported: #expect(result.outcome == .unsupported && reason == "on strike")
    default: #expect(result.outcome == .failed, "\(result)")
    }
    switch fault {
    case .beyond: #expect(reason.contains("beyond a tensor"), "\(reason)")
    case .before: #expect(reason.contains("element -1 changed, before a tensor"), "\(reason)")
    case .input: #expect(reason.contains("changed, in a tensor"), "\(reason)")
    case .throwing: #expect(reason == "out of order")
    default: break
    }
  }
}

@Suite struct ToleranceTests {
  private func judge(_ type: ElementType, _ truth: Double, _ bound: Double, _ got: Double) -> Bool {
    Expectation(type: type, truth: [truth], bounds: [bound]).judge([got], output: 0).wrong == 0
  }

  @Test func roundingToTheStorageIsAllowedAndNoMore() {
    let third = 1.0 / 3
    for (type, ulp) in [(ElementType.f16, 0x1p-12), (.bf16, 0x1p-9), (.f32, 0x1p-25)] {
      let stored = type.rounded(third)
      #expect(judge(type, third, 0, stored))
      #expect(!judge(type, third, 0, stored + ulp) && !judge(type, third, 0, stored - ulp))
      #expect(judge(type, third, ulp, stored + ulp) && judge(type, third, ulp, stored - ulp))
    }
  }

  @Test func notANumberAndInfinity() {
    #expect(judge(.f32, .nan, .nan, .nan) && !judge(.f32, .nan, 1, 0) && !judge(.f32, 0, 1, .nan))
    #expect(judge(.f32, .infinity, 1, .infinity) && !judge(.f32, .infinity, 1, -.infinity))
    #expect(!judge(.f32, .infinity, .infinity, 1e30) && !judge(.f32, 1, .infinity, 2))
    #expect(judge(.f16, 7e4, 1, .infinity) && !judge(.f16, 7e4, 1, 65504))
    #expect(judge(.f16, 65519, 2, .infinity) && judge(.f16, 65521, 2, 65504))
    #expect(judge(.f32, 0, 0, -0.0))
  }

  @Test func classes() {
    func bound(_ tolerance: Tolerance, _ truth: [Double], _ naive: [Double] = []) -> [Double] {
      tolerance.bounds(truth: truth, magnitude: truth.map { abs($0) }, naive: { naive }, columns: 2)
    }
    #expect(bound(.exact, [3, 4]) == [0, 0])
    #expect(abs(bound(.elementwise(ulps: 2, roundings: 4), [1])[0] - (2 * 0x1p-23 + 4 * 0x1p-24)) < 1e-20)
    #expect(abs(bound(.dot(length: 64), [10])[0] - 16 * 10 * 0x1p-24) < 1e-20)
    let twice = bound(.twice(), [1, 1, 1, 1], [1, 1.5, 1, 1])
    #expect(twice[0] > 1 && twice[1] > 1 && twice[2] < 1e-6 && twice[3] < 1e-6)
  }

  /// Weights of ½ and ½ on −1 and 1: the sum is 0, and half an ulp of each weight moves it by 2^-11 at most.
  @Test func roundedFactorsAreAllowedTheirShare() throws {
    let backend = ReferenceBackend()
    let q = try backend.tensor([0] as [Float], [1, 1, 1, 1])
    let keys = try backend.tensor([0, 0] as [Float], [1, 1, 2, 1])
    let values = try backend.tensor([-1, 1] as [Float], [1, 1, 2, 1])
    let attention = Attention(q: q, source: .dense(keys: keys, values: values), y: q)
    #expect(try attention.products() == [1] && attention.products(rows: [0]) == [1])
    #expect(Tolerance.rounding(to: .f16, [1, 2]) == [0x1p-11, 0x1p-10])
    #expect(Tolerance.rounding(to: .bf16, [1]) == [0x1p-8])
    let strict = Expectation(type: .f32, truth: [0, 0], bounds: [0, 0])
    #expect(strict.judge([0, 0x1p-11], output: 0).wrong == 1)
    #expect(strict.widened(by: [0, 0x1p-11]).judge([0, 0x1p-11], output: 0).wrong == 0)
    #expect(strict.widened(by: [0, 0x1p-11]).judge([0x1p-11, 0x1p-10], output: 0).wrong == 2)
  }

  @Test func theFiveWorstComeFirst() {
    let count = 300
    let truth = [Double](repeating: 1, count: count)
    var got = truth
    for (i, error) in [(7, 0.1), (11, .nan), (100, 5), (101, 0.2), (200, -3), (299, 0.05), (298, 0.04)] {
      got[i] += error
    }
    let verdict = Expectation(type: .f32, truth: truth, bounds: truth.map { $0 * 1e-3 }).judge(got, output: 0)
    #expect(verdict.wrong == 7)
    #expect(verdict.worst.map(\.index) == [11, 100, 200, 101, 7])
  }
}

@Suite struct RunnerTests {
  let runner = Runner(Saboteur())

  @Test func aNameSelectsItself() throws {
    let item = try #require(runner.cases.last)
    let names = Saboteur.Fault.allCases.map { item.name(strategy: $0.rawValue) }
    #expect(try runner.list(item.name()) == names)
    #expect(try runner.list(names[2]) == [names[2]])
    let result = try runner.check(names[0])
    #expect(result.count == 1 && result[0].command == "flashcl check '\(names[0])'")
  }

  @Test func otherwiseARegularExpression() throws {
    let names = try runner.list("^softmax.*strategy=sound.*type=f16")
    #expect(names.count > 10 && names.allSatisfy { $0.hasPrefix("softmax(strategy=sound,type=f16,") })
    #expect(try runner.list().count == Saboteur.Fault.allCases.count * runner.cases.count)
    #expect(throws: CaseError.self) { try runner.list("no_such_operation") }
    #expect(throws: CaseError.self) { try runner.list("linear(") }
  }

  @Test func coverageCountsWhatStrategiesCanRun() throws {
    let cases = runner.cases.filter { $0.operation == "rope" || $0.operation == "gelu" }
    let rows = try Runner(Saboteur(), cases: cases).coverage()
    #expect(rows.count == 2 * Saboteur.Fault.allCases.count)
    #expect(rows.allSatisfy { ($0.strategy == "unsupported") == $0.cases.isEmpty })
    #expect(rows.first { $0.operation == "rope" }?.cases["bf16"] ?? 0 > 10)
  }

  @Test func onlyWhatIsRightIsTimed() throws {
    let item = try #require(runner.cases.first)
    let (result, timing) = try runner.time(item, strategy: "sound", duration: 0.01)
    #expect(result.outcome == .passed)
    let time = try #require(timing)
    #expect(time.seconds > 0 && time.runs >= 3 && time.gbytesPerSecond > 0 && time.deviceSeconds == nil)
    #expect(try runner.time(item, strategy: "lost").1 == nil)
  }

  @Test func dataDependOnTheNameAlone() throws {
    let item = try #require(runner.cases.first { $0.operation == "linear" })
    func input() throws -> [Float] {
      let backend = ReferenceBackend()
      let trial = try item.build(Workbench(backend, seed: item.seed))
      return try backend.floats(trial.operation.inputs[0])
    }
    #expect(try input() == input())
  }
}
