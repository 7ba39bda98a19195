import FlashCLCases
import FlashCLOpenCL

/// What a benchmark of operations measured; its JSON is the interface that `bench compare` reads.
struct BenchReport: Encodable {
  let device: String
  let revision: String
  @Nullable var ceilings: Ceiling?
  /// The sweep as it was given.
  @Nullable var sweep: String?
  /// The time that was given, where strategies were not timed for it.
  @Nullable var stopped_after_s: Double?
  /// How many of them.
  let not_run: Int
  let results: [Entry]
  /// Strategies that would have taken too long.
  let skipped: [Skipped]
  let failures: [CaseResult]
  let stop: Stop?

  private enum CodingKeys: String, CodingKey {
    case device, revision, ceilings, sweep, stopped_after_s, not_run, results, skipped, failures
  }

  init(
    device: String, ceilings: Ceiling?, sweep: String?, stop: Stop?, results: [Entry], skipped: [Skipped],
    failures: [CaseResult]
  ) {
    self.device = device
    revision = Revision.current
    self.ceilings = ceilings
    self.sweep = sweep
    self.stop = stop
    (stopped_after_s, not_run) = (stop?.seconds, stop?.notRun ?? 0)
    (self.results, self.skipped, self.failures) = (results, skipped, failures)
  }

  struct Ceiling: Encodable {
    let copy_gbytes_per_s: Double
    let gflops: Double
    @Nullable var matrix_gflops: Double?
    let matrix_size: Int

    init(_ ceilings: Ceilings) {
      copy_gbytes_per_s = ceilings.copyGBs
      gflops = ceilings.gflops
      matrix_gflops = ceilings.matrixGFLOPS
      matrix_size = ceilings.matrixSize
    }
  }

  struct Skipped: Encodable {
    let `case`: String
    let expected_s: Double
  }

  /// A parameter's value as a case's name spells it: a number or a truth value where it reads as one.
  struct Parameter: Encodable {
    let text: String

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      if let number = Int(text) { return try container.encode(number) }
      if let truth = Bool(text) { return try container.encode(truth) }
      if let number = Double(text), number.isFinite { return try container.encode(number) }
      try container.encode(text)
    }
  }

  struct Entry: Encodable {
    let operation: String
    let strategy: String
    /// True for the strategy that a model would run.
    let chosen: Bool
    let parameters: [String: Parameter]
    let median_s: Double
    @Nullable var device_s: Double?
    let spread: Double
    let runs: Int
    let gflops: Double
    let gbytes_per_s: Double
    /// The greater share of the two ceilings: of what the roofline allows for this many operations a byte.
    @Nullable var fraction_of_ceiling: Double?
    /// The sweep's own values at this point.
    let swept: [String: String]

    private enum CodingKeys: String, CodingKey {
      case operation, strategy, chosen, parameters, median_s, device_s, spread, runs, gflops, gbytes_per_s
      case fraction_of_ceiling
    }

    /// `parameters` is a case's name, `operation(name=value,…)`.
    init(
      _ timing: Timing, chosen: Bool, _ ceilings: Ceilings?, parameters name: String, swept: [String: String]?
    ) {
      operation = timing.operation
      strategy = timing.strategy
      self.chosen = chosen
      let pairs = name.dropFirst(timing.operation.count + 1).dropLast().split(separator: ",")
      parameters = Dictionary(
        pairs.map { $0.split(separator: "=", maxSplits: 1) }.map {
          (String($0[0]), Parameter(text: String($0.last ?? "")))
        },
        uniquingKeysWith: { first, _ in first })
      median_s = timing.seconds
      device_s = timing.deviceSeconds
      spread = timing.spread
      runs = timing.runs
      gflops = timing.gflops
      gbytes_per_s = timing.gbytesPerSecond
      fraction_of_ceiling = ceilings.map {
        max(timing.gflops / $0.gflops, timing.gbytesPerSecond / $0.copyGBs)
      }
      self.swept = swept ?? [:]
    }
  }
}

// MARK: - Text

extension BenchReport {
  /// Values of parameters that say nothing, left out of tables for people.
  static let dullValues: Set<String> = ["false", "none", "default", "all", "normal", "dense"]

  static func text(_ ceilings: Ceilings) -> String {
    "ceilings: copy \(fixed(ceilings.copyGBs, 1)) GB/s, multiply-add \(fixed(ceilings.gflops, 0)) GFLOP/s, "
      + (ceilings.matrixGFLOPS.map {
        "matrix product of \(ceilings.matrixSize) \(fixed($0, 0)) GFLOP/s"
      } ?? "the matrix product is wrong: run flashcl check linear")
  }

  static let header =
    line("operation, strategy (* chosen)", ["µs", "device µs", "±%", "GFLOP/s", "GB/s", "% top"], "") + "\n"

  fileprivate static func line(_ name: String, _ numbers: [String], _ shape: String) -> String {
    let columns = zip(numbers, [10, 11, 5, 9, 9, 6]).map { right($0, $1) }.joined()
    return left(name, 30) + columns + (shape.isEmpty ? "" : "  " + shape)
  }
}

extension BenchReport.Entry {
  var text: String {
    let numbers = [
      short(median_s * 1e6), device_s.map { short($0 * 1e6) } ?? "-", fixed(spread * 100, 0), short(gflops),
      short(gbytes_per_s), fraction_of_ceiling.map { fixed($0 * 100, 0) } ?? "-",
    ]
    let isDull = BenchReport.dullValues
    let shape = parameters.filter { !isDull.contains($0.value.text) }.sorted { $0.key < $1.key }
      .map { "\($0.key)=\($0.value.text)" }.joined(separator: " ")
    return BenchReport.line("\(operation) \(strategy)\(chosen ? " *" : "")", numbers, shape)
  }
}

// MARK: - CSV

extension BenchReport {
  /// RFC 4180 with a line of names; every parameter of any row has a column.
  var csv: String {
    let keys = Set(results.flatMap(\.parameters.keys)).sorted()
    let names =
      ["operation", "strategy", "chosen"] + keys
      + ["median_s", "device_s", "spread", "runs", "gflops", "gbytes_per_s", "fraction_of_ceiling"]
    let rows = results.map { entry -> [String] in
      [entry.operation, entry.strategy, "\(entry.chosen)"] + keys.map { entry.parameters[$0]?.text ?? "" } + [
        "\(entry.median_s)", entry.device_s.map { "\($0)" } ?? "", "\(entry.spread)", "\(entry.runs)",
        "\(entry.gflops)", "\(entry.gbytes_per_s)", entry.fraction_of_ceiling.map { "\($0)" } ?? "",
      ]
    }
    return CSV.text([names] + rows)
  }
}

enum CSV {
  /// Rows of cells; those that need it are quoted.
  static func text(_ rows: [[String]]) -> String {
    rows.map { row in
      row.map { cell in
        cell.contains { ",\"\r\n".contains($0) } ? "\"\(cell.replacing("\"", with: "\"\""))\"" : cell
      }.joined(separator: ",") + "\r\n"
    }.joined()
  }
}
