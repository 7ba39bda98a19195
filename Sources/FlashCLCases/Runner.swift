import FlashCL
import FlashCLReference

/// What went wrong outside of any case.
public enum CaseError: Error, CustomStringConvertible {
  /// A filter that is neither a name nor a regular expression, or that matches nothing.
  case badFilter(String)
  /// A table that breaks the rules of this module.
  case badCase(String)

  public var description: String {
    switch self {
    case .badFilter(let text): text
    case .badCase(let text): text
    }
  }
}

/// What became of one case under one strategy.
public struct CaseResult: Codable, Sendable {
  public enum Outcome: String, Codable, Sendable { case passed, failed, unsupported }
  public let `case`: String
  public let operation: String
  public let strategy: String
  public let type: ElementType
  public let outcome: Outcome
  public var reason: String?
  /// Error and bound of the element that used most of its bound; nil where there is none that is finite.
  public var error: Double?
  public var tolerance: Double?
  /// Of a failure, the five worst elements.
  public var worst: [Deviation] = []

  /// True where the case was compared with itself.
  var isBitwise = false
  /// True for a case that only `--full` knows.
  public internal(set) var isLarge = false
  /// True where nothing came back: the process ended, or would have.
  public internal(set) var isLost = false
  /// False where it was not tried at all, after others had ended the process.
  public internal(set) var wasTried = true

  /// The options of `flashcl check` that try the case so, each with a space after it.
  private var options: String { (isBitwise ? "--bitwise " : "") + (isLarge ? "--full " : "") }
  /// The command that repeats the case.
  public var command: String { "flashcl check \(options)'\(`case`)'" }
  /// What was tried: the case, and how.
  public var trial: String { options + `case` }

  /// The arguments of `flashcl` that keep the case's launches in a file; what was lost is not launched again for that.
  public var capsule: [String] {
    ["capsule"] + (isBitwise ? ["--bitwise"] : []) + (isLost ? ["--unlaunched"] : []) + [`case`]
  }

  private enum CodingKeys: String, CodingKey {
    case `case`, operation, strategy, type, outcome, reason, error, tolerance, worst, isBitwise, isLarge
    case isLost, wasTried
  }
}

/// Runs cases on one backend and judges them by the reference.
public struct Runner {
  public let backend: any Backend
  public let cases: [Case]
  public let extent: Extent
  public let isBreadthFirst: Bool
  private let truths = Truths()

  /// `cases` nil takes every table's cases of this purpose; the full extent adds those of the other.
  ///
  /// `breadthFirst` is for a run that may be cut short: the quick selection comes before the rest, each of them one case of
  /// every operation in turn.
  public init(
    _ backend: any Backend, purpose: Case.Purpose = .check, extent: Extent = .standard,
    breadthFirst: Bool = false, cases: [Case]? = nil
  ) {
    self.backend = backend
    self.extent = extent
    isBreadthFirst = breadthFirst
    let own = cases ?? Case.all.filter { $0.purpose == purpose }
    // A shape that is in both tables is one case: a name has one meaning.
    let names = extent == .full ? Set(own.map { $0.name() }) : []
    self.cases = extent == .full ? own + Case.all.filter { !names.contains($0.name()) } : own
  }

  /// Every strategy for a case, which can run it and which is chosen, and what the case costs.
  public func reports(_ item: Case) throws -> (strategies: [StrategyReport], cost: Cost) {
    let operation = try item.build(Workbench(backend, seed: item.seed, launches: false)).operation
    return (try backend.strategies(for: operation), operation.cost)
  }

  // MARK: - Checking

  /// Runs what `filter` means and calls `report` after each case and strategy. With `bitwise` results are compared
  /// with those of a second run, and with those of each sequence or row alone, instead of with the reference.
  ///
  /// `begin` is told how many there are. The first `skipped` are left out. `before` is told what comes; where it gives a
  /// reason, the case has failed for that reason and does not run. When `isOver` says so, no further case begins.
  @discardableResult
  public func check(
    _ filter: String? = nil, bitwise: Bool = false, skipping skipped: Int = 0,
    report: (CaseResult) throws -> Void = { _ in }, begin: (Int) throws -> Void = { _ in },
    before: (_ name: String, _ subject: String) throws -> String? = { _, _ in nil },
    isOver: () -> Bool = { false }
  ) throws -> [CaseResult] {
    var results: [CaseResult] = []
    var count = 0
    let selection = try select(filter)
    try begin(selection.reduce(0) { $0 + $1.strategies.count })
    for (item, strategies) in selection {
      for strategy in strategies {
        count += 1
        if count <= skipped { continue }
        if isOver() { return results }
        if let reason = try before(item.name(strategy: strategy), "\(item.operation).\(strategy)") {
          var result = lost(item, strategy, reason, bitwise: bitwise)
          result.wasTried = false
          results.append(result)
        } else {
          results.append(check(item, strategy: strategy, bitwise: bitwise))
        }
        try report(results[results.count - 1])
      }
    }
    return results
  }

  /// Runs one case under one strategy, and compares it with the reference or, with `bitwise`, with itself.
  public func check(_ item: Case, strategy: String, bitwise: Bool = false) -> CaseResult {
    bitwise ? checkBits(item, strategy: strategy) : check(item, strategy)
  }

  /// Compares one case under one strategy with itself.
  func checkBits(_ item: Case, strategy: String) -> CaseResult {
    var outcome = outcome(item, strategy) { trial, bench, result in
      let difference = try difference(item, strategy, trial, bench)
      return result(difference == nil ? .passed : .failed, difference)
    }
    outcome.isBitwise = true
    return outcome
  }

  private func check(_ item: Case, _ strategy: String) -> CaseResult {
    outcome(item, strategy) { trial, bench, result in
      let report = try backend.strategies(for: trial.operation).first { $0.name == strategy }
      try backend.run(trial.operation, strategy: strategy)
      if let witness = trial.witness { try backend.run(witness) }
      return try truths.judge(of: item).judge(trial, bench, rounding: report?.rounding, result)
    }
  }

  /// The result of a case of which nothing came back.
  public func lost(_ item: Case, _ strategy: String, _ reason: String, bitwise: Bool) -> CaseResult {
    var result = result(item, strategy, .failed, reason)
    (result.isBitwise, result.isLost) = (bitwise, true)
    return result
  }

  /// A case's result without numbers.
  private func result(
    _ item: Case, _ strategy: String, _ outcome: CaseResult.Outcome, _ reason: String? = nil
  ) -> CaseResult {
    CaseResult(
      case: item.name(strategy: strategy), operation: item.operation, strategy: strategy, type: item.type,
      outcome: outcome, reason: reason, isLarge: item.purpose == .bench)
  }

  /// What `judge` says of the case made ready, unless the strategy cannot run it; what is thrown is a failure.
  private func outcome(
    _ item: Case, _ strategy: String,
    _ judge: (Trial, Workbench, _ result: (CaseResult.Outcome, String?) -> CaseResult) throws -> CaseResult
  ) -> CaseResult {
    func result(_ outcome: CaseResult.Outcome, _ reason: String? = nil) -> CaseResult {
      self.result(item, strategy, outcome, reason)
    }
    do {
      let bench = Workbench(backend, seed: item.seed)
      let trial = try item.build(bench)
      if let reason = try backend.strategies(for: trial.operation).first(where: { $0.name == strategy })?
        .unsupported
      {
        return result(.unsupported, reason)
      }
      return try judge(trial, bench, result)
    } catch FlashCLError.unsupported(let reason) {
      return result(.unsupported, reason)
    } catch {
      return result(.failed, "\(error)")
    }
  }
}

/// The truths of the cases that were judged last: a case's strategies share its truth, and a search that goes back and forth
/// between a few cases does not compute them anew.
private final class Truths {
  private var judges: [(name: String, judge: Judge)] = []  // the latest last
  /// Elements, of 24 bytes with their bounds: 100 MB.
  private static let limit = 4 << 20

  func judge(of item: Case) -> Judge {
    let name = item.name()
    if let known = judges.firstIndex(where: { $0.name == name }) {
      judges.append(judges.remove(at: known))
    } else {
      while judges.reduce(0, { $0 + $1.judge.elements }) > Self.limit { judges.removeFirst() }
      judges.append((name, Judge(item)))
    }
    return judges[judges.count - 1].judge
  }
}

/// The truth of one case, computed when first needed and shared by all strategies.
private final class Judge {
  private let item: Case
  private lazy var expectations = Result { try Judge.expect(item) }
  /// Σ|a||b| of the first output's elements.
  private lazy var products = Result { try Judge.products(item) }
  /// What the terms of every output's elements are as large as.
  private lazy var magnitudes = Result { try Judge.magnitudes(item) }
  /// How many the truth has; 0 before it was needed.
  private(set) var elements = 0

  init(_ item: Case) { self.item = item }

  /// The case on the reference, and which of its rows are judged.
  private static func judged(_ item: Case) throws -> (operation: any ReferenceOperation, sample: Sample?) {
    let backend = ReferenceBackend()
    let trial = try item.build(Workbench(backend, seed: item.seed))
    if trial.witness != nil { try backend.run(trial.operation) }
    guard let judged = trial.judged as? any ReferenceOperation else {
      throw CaseError.badCase("\(item.operation) has no reference")
    }
    return (judged, Sample(of: judged, seed: item.seed))
  }

  private static func products(_ item: Case) throws -> [Double] {
    let (judged, sample) = try judged(item)
    return try sample.map { try $0.operation.products(rows: $0.rows) } ?? judged.products()
  }

  private static func magnitudes(_ item: Case) throws -> [[Double]] {
    let (judged, sample) = try judged(item)
    return try judged.magnitude(sample)
  }

  private static func expect(_ item: Case) throws -> [Expectation] {
    let (judged, sample) = try judged(item)
    let (truth, magnitude) = (try judged.truth(sample), try judged.magnitude(sample))
    return try judged.outputs.enumerated().map { i, output in
      let tolerance = item.tolerances[min(i, item.tolerances.count - 1)]
      let bounds = try tolerance.bounds(
        truth: truth[i], magnitude: magnitude[i], naive: { try judged.naive(sample)[i] },
        columns: output.columns)
      return Expectation(
        type: output.type, truth: truth[i], bounds: bounds, indices: sample?.indices(count: output.count))
    }
  }

  func judge(
    _ trial: Trial, _ bench: Workbench, rounding: Rounding?,
    _ result: (CaseResult.Outcome, String?) -> CaseResult
  ) throws -> CaseResult {
    var expectations = try expectations.get()
    if let rounding {
      expectations[0] = expectations[0].widened(by: Tolerance.rounding(to: rounding.type, try products.get()))
      if rounding.roundsOperands {
        // Of a quotient, once above and once below.
        let sizes = try magnitudes.get()
        for i in expectations.indices {
          expectations[i] = expectations[i].widened(
            by: Tolerance.rounding(to: rounding.type, sizes[i]).map { 2 * $0 })
        }
      }
    }
    var (count, wrong, worst, stray): (Int, Int, [Deviation], String?) = (0, 0, [], nil)
    for (i, (output, expectation)) in zip(trial.judged.outputs, expectations).enumerated() {
      let got = try bench.values(output)
      let verdict = expectation.judge(got, output: i)
      count += expectation.truth.count
      elements = count
      wrong += verdict.wrong
      worst = Deviation.worst(worst + verdict.worst)
      stray = stray ?? expectation.stray(got, output: i)
    }
    let damage = try bench.damage(
      outputs: trial.operation.outputs + trial.operation.overwritten + (trial.witness?.outputs ?? []))
    var outcome: CaseResult
    if wrong > 0 {
      outcome = result(.failed, "\(wrong) of \(count) elements are wrong; \(worst[0])")
      outcome.worst = worst.filter { !$0.isRight }
    } else {
      outcome = (stray ?? damage).map { result(.failed, $0) } ?? result(.passed, nil)
    }
    if let first = worst.first, first.error.isFinite {
      (outcome.error, outcome.tolerance) = (first.error, first.bound)
    }
    return outcome
  }
}

extension ReferenceOperation {
  fileprivate func truth(_ sample: Sample?) throws -> [[Double]] {
    try sample.map { try $0.operation.truth(rows: $0.rows) } ?? truth()
  }
  fileprivate func naive(_ sample: Sample?) throws -> [[Double]] {
    try sample.map { try $0.operation.naive(rows: $0.rows) } ?? naive()
  }
  fileprivate func magnitude(_ sample: Sample?) throws -> [[Double]] {
    try sample.map { try $0.operation.magnitude(rows: $0.rows) } ?? magnitude()
  }
}
