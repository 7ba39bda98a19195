import FlashCL
import FlashCLCases
import FlashCLOpenCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Searches the numbers of kernels, one after the other, on shapes of real models.
///
/// A number is judged by the shapes whose chosen strategy reads it: the geometric mean of their times must fall by 3 % or
/// more, twice, in turn with the number that was there (a machine drifts under both alike). First comes the roofline's guess, then
/// what lies beside it. A candidate that fails its check on one shape is out. Last, the strategies themselves: one that is faster by as much over all shapes that both can run goes
/// first.
struct Tuner {
  struct Change: Encodable {
    let operation: String
    let what: String
    let before: String
    let after: String
    /// Geometric means over the shapes.
    let seconds_before: Double
    let seconds_after: Double
  }

  /// Operations that have something to tune.
  static let operations = Tunable.all.map(\.operation).reduce(into: [String]()) { names, name in
    if names.last != name { names.append(name) }
  }

  /// Of the device, as the roofline has them.
  let ceilings: Ceilings
  private let backend: OpenCLBackend
  private let runner: Runner
  private let deadline: Deadline
  private let needed = 0.97

  init(_ backend: OpenCLBackend, _ deadline: Deadline) throws {
    self.backend = backend
    runner = Runner(backend, purpose: .bench)
    self.deadline = deadline
    Terminal.progress("the device's ceilings")
    ceilings = try backend.measureCeilings()
  }

  private var isOver: Bool { deadline.isOver }

  func search(_ operation: String?) throws -> [Change] {
    var changes: [Change] = []
    for name in operation.map({ [$0] }) ?? Self.operations where !isOver {
      changes += try numbers(of: name) + strategies(of: name)
    }
    Terminal.progress("")
    if isOver { Terminal.say("flashcl: the time is over; what was found by then is kept") }
    return changes
  }

  // MARK: - Numbers

  private func numbers(of operation: String) throws -> [Change] {
    var changes: [Change] = []
    for tunable in Tunable.all where tunable.operation == operation && !isOver {
      let shapes = try shapes(operation) { tunable.strategies.contains($0) }
      guard !shapes.isEmpty else { continue }
      let standard = backend.tuning
      let before = backend.number(tunable)
      var best = (value: before, seconds: Double.infinity)
      var first: Double?
      for value in candidates(tunable) where value != best.value && !isOver {
        func seconds(_ value: Int) throws -> Double? {
          Terminal.progress("\(tunable.id) = \(value)")
          var tuning = backend.tuning
          tuning[tunable] = value
          try backend.tune(tuning)
          return try mean(shapes)
        }
        // In turn, and once more before a change is believed.
        guard let old = try seconds(best.value), let new = try seconds(value) else { continue }
        first = first ?? old
        guard new < needed * old, let again = try seconds(best.value), let last = try seconds(value),
          last < needed * again
        else { continue }
        best = (value, last)
      }
      var tuning = standard
      if best.seconds < .infinity, let first {
        changes.append(
          Change(
            operation: operation, what: tunable.name, before: "\(before)",
            after: "\(best.value)", seconds_before: first, seconds_after: best.seconds))
        tuning[tunable] = best.value
      }
      try backend.tune(tuning)
    }
    return changes
  }

  /// The values in the order in which they are tried: from the roofline's guess, or else the number that is there, outwards.
  private func candidates(_ tunable: Tunable) -> [Int] {
    let start = tunable.guess(ceilings) ?? backend.number(tunable)
    let origin = tunable.values.firstIndex(of: start) ?? 0
    return tunable.values.enumerated().sorted { abs($0.offset - origin) < abs($1.offset - origin) }
      .map(\.element)
  }

  // MARK: - Strategies

  /// Strategies in the order of their speed, where that is not the order that the kernels state.
  private func strategies(of operation: String) throws -> [Change] {
    let shapes = try shapes(operation) { _ in true }
    var wins: [String: [(from: String, old: Double, new: Double)]] = [:]
    for (item, chosen) in shapes where !isOver {
      // The library's sums may depend on the size of a call, and what rounds more than others is no faster way to the same:
      // neither becomes a default by its speed.
      for report in try runner.reports(item).strategies where report.unsupported == nil && !isOver {
        let other = report.name
        guard other != chosen, other != "clblast", report.rounding == nil else { continue }
        Terminal.progress("\(operation): \(other) or \(chosen)")
        guard let old = try seconds(item, chosen), let new = try seconds(item, other) else { continue }
        wins[other, default: []].append((chosen, old, new))
      }
    }
    var (changes, preferred): ([Change], [String]) = ([], [])
    for (strategy, results) in wins.sorted(by: { $0.key < $1.key }) {
      let (old, new) = (geometricMean(results.map(\.old)), geometricMean(results.map(\.new)))
      guard new < needed * old, results.allSatisfy({ $0.new < $0.old }) else { continue }
      preferred.append(strategy)
      changes.append(
        Change(
          operation: operation, what: "strategy", before: results[0].from, after: strategy,
          seconds_before: old,
          seconds_after: new))
    }
    var tuning = backend.tuning
    if !preferred.isEmpty {
      tuning.prefer(preferred, for: operation)
      try backend.tune(tuning)
    }
    return changes
  }

  // MARK: - Measuring

  /// At most three shapes of an operation's prefill and three of its decode whose chosen strategy is wanted, none so large that
  /// few candidates could be tried.
  private func shapes(_ operation: String, _ isWanted: (String) -> Bool) throws -> [(
    case: Case, strategy: String
  )] {
    let all = try runner.cases.filter { $0.operation == operation }.compactMap {
      item -> (case: Case, strategy: String)? in
      let (strategies, cost) = try runner.reports(item)
      guard cost.flops <= 2e9 else { return nil }
      let chosen = strategies.first(where: \.chosen)?.name
      return chosen.flatMap { isWanted($0) ? (case: item, strategy: $0) : nil }
    }
    let decode = all.filter { $0.case.name().contains("phase=decode") }
    let rest = all.filter { !$0.case.name().contains("phase=decode") }
    return [rest, decode].flatMap { list in
      list.count <= 3 ? list : [list[0], list[list.count / 2], list[list.count - 1]]
    }
  }

  private func mean(_ shapes: [(case: Case, strategy: String)]) throws -> Double? {
    var times: [Double] = []
    for (item, strategy) in shapes {
      guard let seconds = try seconds(item, strategy) else { return nil }
      times.append(seconds)
    }
    return geometricMean(times)
  }

  /// Nil where the case fails its check, or cannot run.
  private func seconds(_ item: Case, _ strategy: String) throws -> Double? {
    try runner.time(item, strategy: strategy, duration: 0.1).1?.seconds
  }
}

private func geometricMean(_ values: [Double]) -> Double {
  exp(values.reduce(0) { $0 + log($1) } / Double(values.count))
}
