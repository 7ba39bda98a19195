import ArgumentParser
import FlashCL
import FlashCLCases
import FlashCLOpenCL

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench", abstract: "Times operations, or a model.",
    discussion: """
      'flashcl bench' alone means 'flashcl bench run'; 'flashcl bench run --help' lists its options.
      Example: flashcl bench linear --device gpu --output results.json
      """,
    subcommands: [BenchRun.self], defaultSubcommand: BenchRun.self)
}

struct BenchRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Times every strategy of every operation, or of one; or a model.",
    discussion: """
      A strategy is timed only after it has been proved right; --chosen leaves out those that no model would run here. \
      The ceilings are measured in the same run: a copy for memory, a loop of multiply-adds for arithmetic. With \
      --model, tokens per second of prefill and decode.
      Example: flashcl bench linear --device gpu --output results.json
      """)

  @Argument(help: "An operation, a case's name, or a regular expression that is searched for in names.")
  var operation: String?
  @Flag(help: "Time only the strategy that a model would run.")
  var chosen = false
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption
  @Option(
    name: .customLong("output"), parsing: .unconditional,
    help: "A JSON file for the results, or a folder for a file with the device's name.")
  var path: String?
  @Option(parsing: .unconditional, help: "A model to time instead: a .gguf file, or a folder.")
  var model: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of each prompt (default: 16,128,512).", valueName: "list"),
    transform: Self.lengths)
  var promptLengths: [Int]?
  @Option(parsing: .unconditional, help: "Tokens to decode after each prompt (default: 128).")
  var decode: Int?

  private static func lengths(_ text: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      guard let length = Int(part), length > 0 else {
        throw ValidationError("'\(part)' is no number of tokens; write 16,128,512")
      }
      return length
    }
  }

  func validate() throws {
    if model != nil && operation != nil { throw ValidationError("give an operation or --model, not both") }
    if model != nil && chosen { throw ValidationError("--chosen is for operations, not for --model") }
    if model == nil && (promptLengths != nil || decode != nil) {
      throw ValidationError("--prompt-lengths and --decode are for --model")
    }
    if let decode, decode < 0 { throw ValidationError("--decode must be 0 or more, not \(decode)") }
  }

  func run() throws {
    let backend = try device.backend(profiling: model == nil)
    if let model {
      let report = try ModelBench(
        model, on: backend, lengths: promptLengths, decode: decode ?? 128, isQuiet: output.isJSON)
      return try write(report, backend)
    }
    let report = try time(Runner(backend, purpose: .bench))
    try write(report, backend)
    if let failure = report.failures.first {
      throw Failure("\(count(report.failures.count, "case")) failed and was not timed: \(failure.command)")
    }
  }

  private func write(_ report: some Encodable, _ backend: any Backend) throws {
    if output.isJSON { try Output.json(report) }
    guard let path else { return }
    var isFolder = false
    _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    let words = backend.deviceName.split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
    let name = words.joined(separator: "-").lowercased()
    try Output.json(report, toFile: isFolder ? "\(path)/\(name).json" : path)
  }

  // MARK: - Operations

  private func time(_ runner: Runner) throws -> BenchReport {
    let selected = try runner.select(operation.map(runner.pattern))
    let ceilings = try (runner.backend as? OpenCLBackend)?.measureCeilings()
    if !output.isJSON {
      let text = ceilings.map {
        "ceilings: copy \(fixed($0.copyGBs, 1)) GB/s, multiply-add \(fixed($0.gflops, 0)) GFLOP/s"
      }
      try Output.line(runner.backend.deviceName + (text.map { "\n\($0)" } ?? ""))
      try Output.write(BenchReport.header)
    }
    var (results, failures): ([BenchReport.Entry], [CaseResult]) = ([], [])
    for (index, (item, strategies)) in selected.enumerated() {
      var isChosen = true  // the first that can run: strategies stand in order of preference
      for strategy in strategies where isChosen || !chosen {
        Terminal.progress("\(index + 1) of \(selected.count)  \(item.name(strategy: strategy))")
        let (result, timing) = try runner.time(item, strategy: strategy)
        if result.outcome == .failed { failures.append(result) }
        if result.outcome == .unsupported { continue }
        defer { isChosen = false }
        guard let timing else { continue }
        let entry = BenchReport.Entry(timing, chosen: isChosen, ceilings, parameters: item.name())
        results.append(entry)
        Terminal.progress("")
        if !output.isJSON { try Output.line(entry.text) }
      }
    }
    Terminal.progress("")
    return BenchReport(
      device: runner.backend.deviceName, revision: Revision.current,
      ceilings: ceilings.map { .init(copy_gbytes_per_s: $0.copyGBs, gflops: $0.gflops) }, results: results,
      failures: failures)
  }
}

private struct BenchReport: Encodable {
  let device: String
  let revision: String
  @Nullable var ceilings: Ceiling?
  let results: [Entry]
  let failures: [CaseResult]

  struct Ceiling: Encodable {
    let copy_gbytes_per_s: Double
    let gflops: Double
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
    let gflops: Double
    let gbytes_per_s: Double
    /// The greater share of the two ceilings.
    @Nullable var fraction_of_ceiling: Double?

    /// `parameters` is a case's name, `operation(name=value,…)`.
    init(_ timing: Timing, chosen: Bool, _ ceilings: Ceilings?, parameters name: String) {
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
      gflops = timing.gflops
      gbytes_per_s = timing.gbytesPerSecond
      fraction_of_ceiling = ceilings.map {
        max(timing.gflops / $0.gflops, timing.gbytesPerSecond / $0.copyGBs)
      }
    }

    var text: String {
      let numbers = [
        short(median_s * 1e6), fixed(spread * 100, 0), short(gflops), short(gbytes_per_s),
        fraction_of_ceiling.map { fixed($0 * 100, 0) } ?? "-",
      ]
      let shape = parameters.filter { !["false", "none"].contains($0.value.text) }.sorted { $0.key < $1.key }
        .map { "\($0.key)=\($0.value.text)" }.joined(separator: " ")
      return BenchReport.line("\(operation) \(strategy)\(chosen ? " *" : "")", numbers, shape)
    }
  }

  static let header =
    line("operation, strategy (* chosen)", ["µs", "±%", "GFLOP/s", "GB/s", "% top"], "") + "\n"

  private static func line(_ name: String, _ numbers: [String], _ shape: String) -> String {
    let columns = zip(numbers, [10, 5, 9, 9, 6]).map { right($0, $1) }.joined()
    return left(name, 30) + columns + (shape.isEmpty ? "" : "  " + shape)
  }
}
