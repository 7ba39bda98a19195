import ArgumentParser
import FlashCLFiles

struct BenchCompare: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare", abstract: "Compares two files of results, and fails where something got slower.",
    discussion: """
      Rows are the same where operation, strategy and parameters are. A row is slower, or faster, where the medians lie \
      further apart than half of both spreads and the threshold together.
      Example: flashcl bench compare before.json after.json
      """)

  @Argument(help: "What 'flashcl bench --output' wrote before.")
  var old: String
  @Argument(help: "What it wrote after.")
  var new: String
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Differences up to this are none, whatever the spread.", valueName: "percent"))
  var threshold = 5.0
  @Flag(help: "Print only the rows that differ.")
  var changed = false
  @OptionGroup var output: FormatOption

  func validate() throws {
    guard threshold >= 0, threshold.isFinite else {
      throw ValidationError("--threshold must be 0 or more, not \(threshold)")
    }
  }

  func run() throws {
    let comparison = Comparison(
      try BenchResults(old), try BenchResults(new), threshold: threshold / 100)
    if output.isJSON {
      try Output.json(comparison)
    } else {
      try Output.write(comparison.text(changedOnly: changed))
    }
    if comparison.slower > 0 { throw ExitCode(1) }
  }
}

/// A file of results as `bench` wrote it, now or earlier.
struct BenchResults {
  struct Row {
    /// Operation, strategy and parameters in one line: what makes two rows the same.
    let name: String

    /// The name without parameters of no interest, for people.
    static func brief(_ name: String) -> String {
      let isDull = BenchReport.dullValues
      return name.split(separator: " ").filter { word in
        !isDull.contains { word.hasSuffix("=\($0)") }
      }.joined(separator: " ")
    }

    let seconds: Double
    let spread: Double
  }

  let path: String
  let device: String
  let rows: [Row]

  init(_ path: String) throws {
    let json = try JSON(parsing: String(decoding: try contents(of: path), as: UTF8.self), path: path)
    guard let device = json["device"]?.string, let results = json["results"]?.array else {
      throw Failure(
        "\(path): is no result of 'flashcl bench': it has no \(json["device"]?.string == nil ? "device" : "results")"
      )
    }
    let model = json["model"]?.string
    self.path = path
    self.device = device
    rows = try results.enumerated().flatMap { place, row in
      let found = model.map { Self.modelRows(row, model: $0) } ?? Self.row(row).map { [$0] }
      guard let found else { throw Failure("\(path): results[\(place)] is no row of 'flashcl bench'") }
      return found
    }
  }

  private static func row(_ row: JSON) -> Row? {
    guard let operation = row["operation"]?.string, let strategy = row["strategy"]?.string,
      let parameters = row["parameters"]?.object, let seconds = row["median_s"]?.double, seconds > 0,
      seconds.isFinite
    else { return nil }
    return Row(
      name: "\(operation) \(strategy)" + text(parameters), seconds: seconds, spread: spread(row["spread"]))
  }

  /// Prefill and decode of one prompt.
  private static func modelRows(_ row: JSON, model all: String) -> [Row]? {
    let path = row["model"]?.string ?? all
    let model = path.split(separator: "/").last.map(String.init) ?? path
    guard let most = row["prompt_tokens"]?.int, let prefill = row["prefill_s"]?.double, prefill > 0 else {
      return nil
    }
    let least = row["prompt_tokens_least"]?.int ?? most
    let tokens = least == most ? "\(most)" : "\(least):\(most)"
    let batch = row["batch"]?.int ?? 1
    let cache = row["cache_type"]?.string ?? "f32"
    let shape =
      " \(model)" + (batch == 1 ? "" : " batch=\(batch)") + (cache == "f32" ? "" : " cache=\(cache)")
    var rows = [
      Row(
        name: "prefill\(shape) prompt=\(tokens)", seconds: prefill, spread: spread(row["prefill_spread"]))
    ]
    if let rate = row["decode_tokens_per_s"]?.double, rate > 0 {
      rows.append(
        Row(name: "decode\(shape) after=\(tokens)", seconds: 1 / rate, spread: spread(row["decode_spread"])))
    }
    if let beam = row["beam"]?.int, let step = row["beam_step_s"]?.double, step > 0 {
      rows.append(
        Row(name: "beam=\(beam)\(shape) after=\(tokens)", seconds: step, spread: spread(row["beam_spread"])))
    }
    return rows
  }

  private static func spread(_ value: JSON?) -> Double {
    let spread = value?.double ?? 0
    return spread.isFinite && spread > 0 ? spread : 0
  }

  private static func text(_ parameters: [JSON.Member]) -> String {
    let sorted = parameters.map { (name: $0.key.string, value: $0.value) }.sorted { $0.name < $1.name }
    return sorted.map { " \($0.name)=\(text($0.value))" }.joined()
  }

  private static func text(_ value: JSON) -> String {
    switch value {
    case .int(let number): "\(number)"
    // 1.0 is the same number as 1.
    case .double(let number): value.int.map { "\($0)" } ?? "\(number)"
    case .bool(let truth): "\(truth)"
    default: value.string ?? "?"
    }
  }
}

/// Rows of two files beside each other.
struct Comparison: Encodable {
  enum Verdict: String, Encodable { case slower, faster, same }

  struct Entry: Encodable {
    let row: String
    let old_s: Double
    let new_s: Double
    /// New over old: above 1 is slower.
    let ratio: Double
    let verdict: Verdict
  }

  let old_device: String
  let new_device: String
  let results: [Entry]
  let only_old: [String]
  let only_new: [String]

  var slower: Int { results.count { $0.verdict == .slower } }

  init(_ old: BenchResults, _ new: BenchResults, threshold: Double) {
    (old_device, new_device) = (old.device, new.device)
    let before = Dictionary(old.rows.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    let after = Set(new.rows.map(\.name))
    results = new.rows.compactMap { row in
      guard let first = before[row.name] else { return nil }
      let ratio = row.seconds / first.seconds
      // A spread reaches from the 10th to the 90th percentile: half of it on either side of the median.
      let doubt = 1 + max(threshold, (first.spread + row.spread) / 2)
      return Entry(
        row: row.name, old_s: first.seconds, new_s: row.seconds, ratio: ratio,
        verdict: ratio > doubt ? .slower : ratio < 1 / doubt ? .faster : .same)
    }
    only_old = old.rows.map(\.name).filter { !after.contains($0) }
    only_new = new.rows.map(\.name).filter { before[$0] == nil }
  }

  func text(changedOnly: Bool) -> String {
    var text = ""
    if old_device != new_device {
      text += "the devices differ: \(escaped(old_device)) before, \(escaped(new_device)) after\n"
    }
    let shown = results.filter { !changedOnly || $0.verdict != .same }
    if !shown.isEmpty {
      let rows = shown.map { entry in
        [
          short(entry.old_s * 1e6), short(entry.new_s * 1e6), fixed(entry.ratio, 2),
          entry.verdict == .same ? "" : entry.verdict.rawValue, escaped(BenchResults.Row.brief(entry.row)),
        ]
      }
      text += table([["old µs", "new µs", "ratio", "", "row"]] + rows, right: [0, 1, 2])
    }
    for (name, rows) in [("old", only_old), ("new", only_new)] where !rows.isEmpty {
      text +=
        "only in the \(name) file:\n" + rows.map { "  \(escaped(BenchResults.Row.brief($0)))\n" }.joined()
    }
    let faster = results.count { $0.verdict == .faster }
    return text
      + "\(count(results.count, "row")) compared: \(slower) slower, \(faster) faster, "
      + "\(results.count - slower - faster) the same\n"
  }
}
