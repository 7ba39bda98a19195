import FlashCL
import FlashCLCases
import FlashCLOpenCL
import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// What a check found on one device: what is printed as JSON, and what the other formats are made from.
struct CheckReport: Encodable {
  let device: String
  /// Of the OpenCL device; null for the reference.
  @Nullable var platform: String?
  @Nullable var version: String?
  @Nullable var driver_version: String?
  let revision: String
  /// When it began, as ISO 8601 in UTC.
  let date: String
  let extent: Extent
  let bitwise: Bool
  @Nullable var filter: String?
  var seconds = 0.0
  var passed = 0
  var failed = 0
  var unsupported = 0
  /// The time that was given, where cases did not run for it.
  @Nullable var stopped_after_s: Double?
  /// How many; null where the time was over before they were counted.
  @Nullable private(set) var not_run: Int? = 0
  var results: [Entry] = []

  var stop: Stop? {
    didSet { (stopped_after_s, not_run) = (stop?.seconds, stop.map(\.notRun) ?? 0) }
  }

  /// What follows a repeat command, and what stands before it.
  private let place, environment: String
  /// "gpu:0"; nil for the reference, which launches no kernels.
  let rank: String?

  private enum CodingKeys: String, CodingKey {
    case device, platform, version, driver_version, revision, date, extent, bitwise, filter, seconds, passed
    case failed, unsupported, stopped_after_s, not_run, results
  }

  /// `place` is the --device that was asked for; nil for one among all.
  init(_ backend: any Backend, extent: Extent, isBitwise: Bool, filter: String?, place: String?) {
    device = backend.deviceName
    let opened = (backend as? OpenCLBackend)?.queue.device
    platform = opened.map { "\($0.platformName), \($0.platformVersion)" }
    version = opened?.version
    driver_version = opened?.driverVersion
    revision = Revision.current
    date = timestamp(Int(Date().timeIntervalSince1970))
    self.extent = extent
    bitwise = isBitwise
    self.filter = filter
    rank = opened.flatMap(Self.rank)
    let isOnly = (try? Device.all())?.count == 1
    self.place = (place ?? (isOnly ? nil : rank)).map { " --device '\($0)'" } ?? ""
    environment = opened?.pretence.map { "FLASHCL_PRETEND=\($0.name) " } ?? ""
  }

  private static func rank(_ device: Device) -> String? {
    (try? Device.all())?.indices.map { "gpu:\($0)" }.first { (try? Device.select($0)) === device }
  }

  mutating func append(_ result: CaseResult, seconds: Double) {
    var (command, capsule): (String?, CapsuleCommand?)
    if result.outcome == .failed {
      command = environment + result.command + place
      if rank != nil && Capsule.canHold(result.strategy) {
        capsule = CapsuleCommand(result, environment: environment, place: place)
      }
    }
    results.append(Entry(result, command: command, capsule: capsule, seconds: seconds))
    switch result.outcome {
    case .passed: passed += 1
    case .failed: failed += 1
    case .unsupported: unsupported += 1
    }
  }

  var failures: [Entry] { results.filter { $0.outcome == .failed } }

  /// One line that says it all.
  var verdict: String {
    "\(count(passed, "case")) passed, \(failed) failed, \(unsupported) unsupported on \(device), in \(fixed(seconds, 1)) s"
      + (stop.map { "; " + $0.text("case") } ?? "")
  }

  struct Entry: Encodable {
    let `case`: String
    let operation: String
    let strategy: String
    let type: ElementType
    let outcome: CaseResult.Outcome
    @Nullable var reason: String?
    @Nullable var error: Double?
    @Nullable var tolerance: Double?
    /// The command that repeats a failure.
    @Nullable var command: String?
    /// The command that keeps its launches in a file, and that file where it was written.
    @Nullable var capsule_command: String?
    @Nullable var capsule: String?
    let seconds: Double
    /// Of a failure, a line for each of the worst elements.
    let worst: [String]
    /// How a child makes the capsule; nil where it can hold nothing.
    let capsuleMaker: CapsuleCommand?

    private enum CodingKeys: String, CodingKey {
      case `case`, operation, strategy, type, outcome, reason, error, tolerance, command, capsule_command
      case capsule, seconds
    }

    init(_ result: CaseResult, command: String?, capsule: CapsuleCommand?, seconds: Double) {
      `case` = result.case
      operation = result.operation
      strategy = result.strategy
      type = result.type
      outcome = result.outcome
      reason = result.reason
      error = result.error
      tolerance = result.tolerance
      self.command = command
      capsule_command = capsule?.text
      self.capsule = nil
      capsuleMaker = capsule
      self.seconds = seconds
      worst = result.worst.map(\.description)
    }

    /// A failure in full: the case, what is wrong with it, and how to see it again.
    var text: String { "\(`case`)\n\(details)" }

    var details: String {
      let kept = capsule.map { "capsule: \($0)" } ?? capsule_command.map { "capsule: \($0)" }
      let lines = [reason ?? ""] + worst + [command.map { "repeat: \($0)" }, kept].compactMap { $0 }
      return lines.map { "  \($0)\n" }.joined()
    }

    /// The share of its tolerance that the worst element used.
    var share: Double? {
      guard let error, let tolerance else { return nil }
      return tolerance > 0 ? error / tolerance : error > 0 ? .infinity : 0
    }
  }
}

/// How many cases had which outcome.
struct Tally {
  var passed = 0
  var failed = 0
  var unsupported = 0

  init(_ entries: some Sequence<CheckReport.Entry>) {
    for entry in entries {
      switch entry.outcome {
      case .passed: passed += 1
      case .failed: failed += 1
      case .unsupported: unsupported += 1
      }
    }
  }

  var text: String {
    [(passed, "passed"), (failed, "failed"), (unsupported, "unsupported")].filter { $0.0 > 0 }
      .map { "\($0.0) \($0.1)" }.joined(separator: ", ")
  }
}

/// The outcomes in rows of operations and strategies and columns of types.
struct OutcomeMatrix {
  struct Row {
    let operation: String
    let strategy: String
    /// One for each type; nil where the operation has no case of it.
    let cells: [Cell?]
  }

  struct Cell {
    let tally: Tally
    /// The entry that used most of its tolerance.
    let worst: CheckReport.Entry?
    /// Why the strategy runs none of these cases.
    let reason: String?

    init(_ entries: [CheckReport.Entry]) {
      tally = Tally(entries)
      worst = entries.filter { $0.share != nil }.max { ($0.share ?? 0) < ($1.share ?? 0) }
      reason = entries.lazy.compactMap(\.reason).first
    }
  }

  let types: [ElementType]
  let rows: [Row]

  init(_ report: CheckReport) {
    var groups: [String: [ElementType: [CheckReport.Entry]]] = [:]
    var order: [(String, String)] = []
    for entry in report.results {
      let key = "\(entry.operation) \(entry.strategy)"
      if groups[key] == nil {
        // Strategies of one operation stand together, whatever the order of the cases.
        let place = order.lastIndex { $0.0 == entry.operation }.map { $0 + 1 } ?? order.count
        order.insert((entry.operation, entry.strategy), at: place)
      }
      groups[key, default: [:]][entry.type, default: []].append(entry)
    }
    let types = ElementType.allCases.filter { type in groups.values.contains { $0[type] != nil } }
    self.types = types
    rows = order.map { operation, strategy in
      let group = groups["\(operation) \(strategy)"] ?? [:]
      return Row(
        operation: operation, strategy: strategy, cells: types.map { type in group[type].map(Cell.init) })
    }
  }
}
