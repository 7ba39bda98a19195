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
      OpenCL device in turn.

      --quick takes the fewest and smallest cases in which each strategy of each operation still meets, in prefill and in \
      decode, every type and every word that a parameter may be (masks, score kinds, storage of keys, activations …); \
      shapes on both sides of a tile's border are left to the whole run. The selection follows from the names of the cases and from \
      what the device can run: it is the same every time, and --quick --list prints it. --full adds the shapes of real \
      models that 'bench' times; of large results at least 64 rows are compared.

      What failed is remembered for the device, its driver and these kernels: 'flashcl devices' lists it, and other \
      commands leave those strategies out until they pass here. On a device that was never checked whole, and where one \
      crashed or hung before, the cases run in a process of their own, whose end is a failure of one case.

      With --seconds, no further case begins when the time is over, and a case in a process of its own is ended \(count(Int(Deadline.grace), "second")) \
      later; the cases of the quick selection come first, then the rest, those of every operation in turn. All results and \
      reports are of what ran and say what did not; the exit status is 1 where something that ran failed, else 0. Such a \
      check does not count as the whole.

      With --bitwise, results must have the same bits on a second run, and each sequence or row of a call the same alone \
      as among its neighbours. With --model, a model runs on the device and on the reference, and its layers are compared.

      --format junit and markdown are for the pages of a CI. --report also writes a file, in the format that its name \
      ends with: .html (one page of its own, with a matrix of operations and types), .xml (JUnit), .md or .json; it may \
      be repeated. A failure names the command that keeps its launches in a file, a capsule, which 'flashcl replay' repeats \
      on another device; --capsules writes them at once.
      Example: flashcl check 'attention.*f16' --device gpu:1 --report attention.html
      """)

  /// How a check is printed.
  enum Form: String, ExpressibleByArgument, CaseIterable {
    case text, json, junit, markdown
  }

  @Argument(help: "Which cases to run.")
  var filter: String?
  @OptionGroup var device: DeviceOption
  @Option(help: ArgumentHelp("How to print the result.", valueName: "text|json|junit|markdown"))
  var format = Form.text
  @Option(
    name: .customLong("report"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A file for the result too: .html, .xml, .md or .json.", valueName: "file"),
    transform: ReportFile.init)
  var reports: [ReportFile] = []
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("A folder for the capsules of cases that fail, of up to 20.", valueName: "folder"))
  var capsules: String?
  @Flag(help: "Run the fewest cases that reach every strategy, type and option.")
  var quick = false
  @Flag(help: "Run the shapes of real models too.")
  var full = false
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
  @Option(
    parsing: .unconditional,
    help: "How long the check may take, all in all; what ran by then is reported, the rest is not run.",
    transform: Deadline.parse)
  var seconds: Double?
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
    if quick && full { throw ValidationError("give --quick or --full, not both") }
    if model != nil && (quick || full) {
      throw ValidationError("--quick and --full are for cases, not for --model")
    }
    if list || coverage || model != nil {
      let mode = list ? "--list" : coverage ? "--coverage" : "--model"
      if seconds != nil { throw ValidationError("--seconds is for cases that run, not for \(mode)") }
      if format == .junit || format == .markdown {
        throw ValidationError("\(mode) is printed as text or json, not as \(format.rawValue)")
      }
      if !reports.isEmpty { throw ValidationError("--report is for cases that run, not for \(mode)") }
      if capsules != nil { throw ValidationError("--capsules is for cases that run, not for \(mode)") }
    }
  }

  func run() throws {
    for report in reports { try report.requireFolder() }
    let folder = try capsules.map(CapsuleFolder.init)
    let isRight: Bool
    if list {
      isRight = try show(names) { _ in true }
    } else if coverage {
      isRight = try show(coverage) { _ in true }
    } else if let model, let tokens {
      isRight = try show({ try ModelCheck(model, tokens, on: $0, isQuiet: format == .json) }) {
        $0.departs == nil
      }
    } else {
      let deadline = Deadline(seconds)
      let checks = try device.backends(again: true, limit: limit).map { try check($0, folder, deadline) }
      switch format {
      case .text: break  // printed as it came
      case .json: try print(checks)
      case .junit: try Output.write(JUnit(checks).text)
      case .markdown: try Output.write(Markdown(checks).text)
      }
      for report in reports { try report.write(checks, isList: device.isAll) }
      isRight = checks.allSatisfy { $0.failed == 0 }
    }
    if !isRight { throw ExitCode(1) }
  }

  /// Makes a report of each device that was asked for, prints it as JSON where that is wanted, and says whether all are right.
  private func show<Report: Encodable>(
    _ report: (any Backend) throws -> Report, isRight: (Report) -> Bool
  ) throws -> Bool {
    let reports = try device.backends(again: true, limit: limit).map(report)
    if format == .json { try print(reports) }
    return reports.allSatisfy(isRight)
  }

  /// One object, or, with `--device all`, a list of them.
  private func print(_ reports: [some Encodable]) throws {
    if device.isAll { try Output.json(reports) } else { try Output.json(reports[0]) }
  }

  func runner(_ backend: any Backend) -> Runner {
    Runner(backend, extent: quick ? .quick : full ? .full : .standard, breadthFirst: seconds != nil)
  }

  private func names(_ backend: any Backend) throws -> CaseNames {
    let runner = runner(backend)
    let names = CaseNames(device: backend.deviceName, cases: try runner.list(filter.map(runner.pattern)))
    if format == .text { try Output.write(names.cases.map { $0 + "\n" }.joined()) }
    return names
  }

  private func coverage(_ backend: any Backend) throws -> CaseCoverage {
    let coverage = CaseCoverage(device: backend.deviceName, coverage: try runner(backend).coverage())
    if format == .text { try Output.write(coverage.text) }
    return coverage
  }

  // MARK: - Running

  private func check(
    _ backend: any Backend, _ folder: CapsuleFolder?, _ deadline: Deadline
  ) throws -> CheckReport {
    let runner = runner(backend)
    let clock = ContinuousClock()
    let start = clock.now
    var total: Int?
    var report = CheckReport(
      backend, extent: runner.extent, isBitwise: bitwise, filter: filter,
      place: device.isAll ? nil : device.device)
    var last = start
    try cases(runner, deadline, begin: { total = $0 }) { result in
      let now = clock.now
      if format == .text, !runner.isBreadthFirst, let before = report.results.last,
        before.operation != result.operation
      {
        try finish(before.operation, report)
      }
      report.append(result, seconds: now.seconds(since: last))
      last = now
      Terminal.progress("\(report.results.count) of \(total ?? 0)  \(result.case)")
    }
    report.seconds = clock.now.seconds(since: start)
    folder?.fill(&report, limit: limit, deadline)
    report.stop = Stop(deadline, ran: report.results.count, of: total)
    Terminal.progress("")
    report.results = report.results.grouped(by: \.operation)
    if format == .text {
      let operations = report.results.map(\.operation).distinct
      for operation in runner.isBreadthFirst ? operations : operations.suffix(1) {
        try finish(operation, report)
      }
      for failure in report.failures { try Output.write("\nFAILED " + failure.text) }
      try Output.line(report.verdict)
    }
    return report
  }

  private func finish(_ operation: String, _ report: CheckReport) throws {
    Terminal.progress("")
    let counts = Tally(report.results.filter { $0.operation == operation })
    try Output.line(left(operation, 18) + counts.text)
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
