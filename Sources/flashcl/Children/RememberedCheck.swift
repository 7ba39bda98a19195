import FlashCL
import FlashCLCases
import FlashCLOpenCL
import FlashCLRuntime

extension Check {
  /// Runs the cases that were asked for, here or in children, and remembers what became of them on that device.
  ///
  /// Calls `begin` with the count of all, and `report` after each. What `deadline` leaves no time for does not run.
  func cases(
    _ runner: Runner, _ deadline: Deadline, begin: (Int) -> Void, report: (CaseResult) throws -> Void
  ) throws {
    guard let backend = runner.backend as? OpenCLBackend else {
      return try inProcess(runner, deadline, begin: begin, report: report)
    }
    let device = backend.queue.device
    var verdicts = try OpenCLBackend.verdicts(on: device)
    var (total, results): (Int?, [CaseResult]) = (nil, [])
    func count(_ all: Int) {
      total = all
      begin(all)
    }
    func keep(_ result: CaseResult) throws {
      results.append(result)
      try report(result)
    }
    // A device that passed once is trusted: the first crash there leaves a sentinel, and then it is not any more.
    let isTrusted = verdicts.checked != nil && verdicts.all.allSatisfy { $0.outcome == .failed }
    var ends: [TrialResult] = []
    // What was found stands also where the rest cannot be tried.
    defer { remember(results, ends, isComplete: results.count == total, in: &verdicts) }
    if isTrusted && !isolated {
      backend.avoid([])  // what failed before is tried again
      try inProcess(runner, deadline, begin: count, report: keep)
    } else {
      let arguments = CommandLine.arguments.drop { $0 != Check.configuration.commandName }.dropFirst()
      let children = CasesInChildren(
        device: device, arguments: Array(arguments), limit: limit, isBitwise: bitwise, deadline: deadline)
      try children.run(runner, ends: &ends, begin: count, report: keep)
    }
  }

  private func inProcess(
    _ runner: Runner, _ deadline: Deadline, begin: (Int) -> Void, report: (CaseResult) throws -> Void
  ) throws {
    try runner.check(
      filter.map(runner.pattern), bitwise: bitwise, report: report, begin: begin,
      isOver: { deadline.isOver })
  }

  /// A case is one trial and its bits are another: neither forgets what the other found.
  private func remember(
    _ results: [CaseResult], _ ends: [TrialResult], isComplete: Bool, in verdicts: inout Verdicts
  ) {
    let ended = Set(ends.map(\.trial))
    let table = Dictionary(grouping: Case.all.filter { $0.purpose == .check }, by: \.operation)
    let large = Dictionary(grouping: Case.all.filter { $0.purpose != .check }, by: \.operation)
    let (mine, theirs) = bitwise ? ("--bitwise ", "") : ("", "--bitwise ")
    var (trials, known, others): ([TrialResult], [String: Set<String>], Set<String>) = (ends, [:], [])
    for result in results where !ended.contains(result.trial) {
      let subject = "\(result.operation).\(result.strategy)"
      if known[subject] == nil {
        let small = (table[result.operation] ?? []).map { $0.name(strategy: result.strategy) }
        let large = (large[result.operation] ?? []).map { "--full \($0.name(strategy: result.strategy))" }
        known[subject] = Set(small.map { mine + $0 })
        others.formUnion(small.map { theirs + $0 } + large.flatMap { [mine + $0, theirs + $0] })
      }
      let failure = result.outcome == .failed ? (Verdict.Outcome.failed, result.reason ?? "") : nil
      trials.append(TrialResult(subject: subject, trial: result.trial, failure: failure))
    }
    let tried = Set(results.map(\.trial))
    let operations = Set(results.map(\.operation))
    let isWhole =
      isComplete && !bitwise && operations.isSuperset(of: table.keys)
      && known.values.allSatisfy { $0.isSubset(of: tried) }
    verdicts.record(trials, known: known, others: others, isWhole: isWhole)
  }
}
