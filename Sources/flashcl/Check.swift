import ArgumentParser
import FlashCL
import FlashCLCases

struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Proves every operation right on a device, or finds the layer where a model departs.",
    discussion: """
      Runs every case of every operation, by each of its strategies, against the CPU reference. FILTER is an \
      operation, a case's name, or a regular expression that is searched for in names. --device all takes every \
      OpenCL device in turn. With --bitwise, results must have the same bits on a second run, and each sequence or \
      row of a call the same alone as among its neighbours. With --model, a model runs on the device and on the \
      reference, and its layers are compared.

      What failed is remembered for the device, its driver and these kernels: 'flashcl devices' lists it, and other \
      commands leave those strategies out until they pass here. On a device that was never checked whole, and where one \
      crashed or hung before, the cases run in a process of their own, whose end is a failure of one case.
      Example: flashcl check 'attention.*f16' --device gpu:1
      """)

  @Argument(help: "Which cases to run.")
  var filter: String?
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption
  @Flag(help: "Print the names of the cases instead of running them.")
  var list = false
  @Flag(help: "Print how many cases of each type reach each strategy, instead of running them.")
  var coverage = false
  @Flag(help: "Compare bits: of two runs, and of sequences and rows alone and among neighbours.")
  var bitwise = false
  @Flag(help: "Run the cases in a process of their own, on every device.")
  var isolated = false
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "In a process of its own, how long a case or a probe may take before it counts as hung.",
      valueName: "seconds"))
  var limit = 120.0
  @Option(parsing: .unconditional, help: "A model to run instead: a .gguf file, or a folder.")
  var model: String?
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Token ids for the model, as 1,2,3.", valueName: "ids"),
    transform: TokenIDs.init)
  var tokens: TokenIDs?

  func validate() throws {
    if (model == nil) != (tokens == nil) { throw ValidationError("--model and --tokens go together") }
    guard limit > 0 && limit <= 1e6 else {
      throw ValidationError("--limit must be above 0 s and at most 1000000 s")
    }
    let modes = [list, coverage, bitwise, model != nil].count { $0 }
    if modes > 1 { throw ValidationError("give one of --list, --coverage, --bitwise and --model") }
    if filter != nil && (coverage || model != nil) {
      throw ValidationError("a filter means cases, which --\(coverage ? "coverage" : "model") does not run")
    }
  }

  func run() throws {
    let isRight: Bool
    if list {
      isRight = try show(names) { _ in true }
    } else if coverage {
      isRight = try show(coverage) { _ in true }
    } else if let model, let tokens {
      isRight = try show({ try ModelCheck(model, tokens, on: $0, isQuiet: output.isJSON) }) {
        $0.departs == nil
      }
    } else {
      isRight = try show(check) { $0.failures == 0 }
    }
    if !isRight { throw ExitCode(1) }
  }

  /// Makes a report of each device that was asked for, prints it as JSON where that is wanted (one object, or, with
  /// `--device all`, a list of them), and says whether all are right.
  private func show<Report: Encodable>(
    _ report: (any Backend) throws -> Report, isRight: (Report) -> Bool
  ) throws -> Bool {
    let reports = try device.backends(again: true, limit: limit).map(report)
    if output.isJSON {
      if device.isAll { try Output.json(reports) } else { try Output.json(reports[0]) }
    }
    return reports.allSatisfy(isRight)
  }

  // MARK: - Cases

  func runner(_ backend: any Backend) -> Runner { Runner(backend) }

  private func names(_ backend: any Backend) throws -> CaseNames {
    let runner = Runner(backend)
    let names = CaseNames(device: backend.deviceName, cases: try runner.list(filter.map(runner.pattern)))
    if !output.isJSON { try Output.write(names.cases.map { $0 + "\n" }.joined()) }
    return names
  }

  private func coverage(_ backend: any Backend) throws -> CaseCoverage {
    let coverage = CaseCoverage(device: backend.deviceName, coverage: try Runner(backend).coverage())
    if !output.isJSON { try Output.write(coverage.text) }
    return coverage
  }

  private func check(_ backend: any Backend) throws -> CheckReport {
    let runner = runner(backend)
    let clock = ContinuousClock()
    let start = clock.now
    var total = 0
    var (done, results, failed): (Int, [CaseResult], [CaseResult]) = (0, [], [])
    func finishOperation() throws {
      guard let first = results.first(where: { $0.operation == results.last?.operation }) else { return }
      let all = results.filter { $0.operation == first.operation }
      let counts = [CaseResult.Outcome.passed, .failed, .unsupported].compactMap { outcome in
        let count = all.count { $0.outcome == outcome }
        return count > 0 ? "\(count) \(outcome.rawValue)" : nil
      }
      Terminal.progress("")
      try Output.line(left(first.operation, 18) + counts.joined(separator: ", "))
    }
    try cases(runner, begin: { total = $0 }) { result in
      if !output.isJSON, let last = results.last, last.operation != result.operation { try finishOperation() }
      results.append(result)
      done += 1
      if result.outcome == .failed { failed.append(result) }
      Terminal.progress("\(done) of \(total)  \(result.case)")
    }
    Terminal.progress("")
    let report = CheckReport(device: backend.deviceName, results: results.map(CheckReport.Entry.init))
    if output.isJSON { return report }
    try finishOperation()
    for result in failed { try Output.write(text(result)) }
    let seconds = clock.now.seconds(since: start)
    try Output.line(
      "\(count(results.count - failed.count - report.unsupported, "case")) passed, \(failed.count) failed, "
        + "\(report.unsupported) unsupported on \(backend.deviceName), in \(fixed(seconds, 1)) s")
    return report
  }

  private func text(_ result: CaseResult) -> String {
    let worst = result.worst.map { "  \($0)\n" }.joined()
    let place = device.isAll ? "" : device.device.map { " --device '\($0)'" } ?? ""
    return "\nFAILED \(result.case)\n  \(result.reason ?? "")\n\(worst)  repeat: \(result.command)\(place)\n"
  }
}

extension Runner {
  /// A filter as the runner reads it: an operation's own name means its cases alone, where `rope` as a pattern would also
  /// find the parameters of others.
  func pattern(_ filter: String) -> String {
    cases.contains { $0.operation == filter } ? "^\(filter)\\(" : filter
  }
}

private struct CaseNames: Encodable {
  let device: String
  let cases: [String]
}

private struct CaseCoverage: Encodable {
  let device: String
  let coverage: [Coverage]

  var text: String {
    let types = ElementType.allCases.map(\.rawValue)
    let rows = coverage.map { row in
      [row.operation, row.strategy] + types.map { row.cases[$0].map(String.init) ?? "-" }
    }
    return table([["operation", "strategy"] + types] + rows, right: Set(2..<2 + types.count))
  }
}

private struct CheckReport: Encodable {
  let device: String
  let results: [Entry]

  var failures: Int { results.count { $0.outcome == .failed } }
  var unsupported: Int { results.count { $0.outcome == .unsupported } }

  struct Entry: Encodable {
    let `case`: String
    let operation: String
    let strategy: String
    let type: ElementType
    let outcome: CaseResult.Outcome
    @Nullable var reason: String?
    @Nullable var error: Double?
    @Nullable var tolerance: Double?

    init(_ result: CaseResult) {
      `case` = result.case
      operation = result.operation
      strategy = result.strategy
      type = result.type
      outcome = result.outcome
      reason = result.reason
      error = result.error
      tolerance = result.tolerance
    }
  }
}
