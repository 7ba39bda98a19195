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
    commandName: "bench", abstract: "Times operations over sweeps of sizes, or a model; compares results.",
    discussion: """
      'flashcl bench' alone means 'flashcl bench run'; 'flashcl bench run --help' lists its options.
      Example: flashcl bench attention --sweep "N=128:4096:x2,causal=0|1" --plot attention.svg
      """,
    subcommands: [BenchRun.self, BenchCompare.self, BenchClaims.self], defaultSubcommand: BenchRun.self)
}

/// How results of a benchmark are printed.
enum BenchFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
  case text, json, csv
}

struct BenchRun: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run", abstract: "Times every strategy of every operation, or of one; or a model.",
    discussion: """
      A strategy is timed only after it has been proved right; --chosen leaves out those that no model would run here. \
      The ceilings are measured in the same run: a copy for memory, a loop of multiply-adds and a matrix product for \
      arithmetic. With --model, tokens per second of prefill and decode.
      With --seconds, nothing further is timed when the time is over, nor what would take longer than is left; all \
      results, files and plots are of what ran and say what did not; the file of --output is kept up to date meanwhile. The exit status is 1 where something failed, else 0.
      --sweep combines values of an operation's keys: ranges first:last:xK (times K) and first:last:+K, lists a|b.
      \(SweepHelp.keys)
      Example: flashcl bench attention --sweep "N=128:4096:x2,causal=0|1,type=f16|f32" --output b.json --plot b.svg
      """)

  @Argument(help: "An operation, a case's name, or a regular expression that is searched for in names.")
  var operation: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sizes to combine, as N=128:4096:x2,D=64|128.", valueName: "keys"),
    transform: { text in
      do { return try Sweep(text) } catch { throw ValidationError("\(error)") }
    })
  var sweep: Sweep?
  @Flag(help: "Time only the strategy that a model would run.")
  var chosen = false
  @OptionGroup var device: DeviceOption
  @Option(help: ArgumentHelp("How to print the result.", valueName: "text|json|csv"))
  var format = BenchFormat.text
  @Option(
    name: .customLong("output"), parsing: .unconditional,
    help: "A JSON file for the results, or a folder for a file with the device's name.")
  var path: String?
  @Option(parsing: .unconditional, help: "An .svg or .png of the sweep's rates: a line a strategy.")
  var plot: String?
  @Option(parsing: .unconditional, help: "An .svg or .png of all results under the device's ceilings.")
  var roofline: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Leave out strategies, other than the chosen one, that would take longer than this for one run.",
      valueName: "seconds"))
  var patience = 3.0
  @Option(
    parsing: .unconditional,
    help: "How long it may take, all in all; what was timed by then is reported, the rest is not run.",
    transform: Deadline.parse)
  var seconds: Double?
  @OptionGroup var model: ModelBenchOptions

  func validate() throws {
    if model.isGiven {
      if operation != nil { throw ValidationError("give an operation or --\(model.name), not both") }
      if chosen { throw ValidationError("--chosen is for operations, not for --\(model.name)") }
      if sweep != nil || roofline != nil {
        throw ValidationError("--sweep and --roofline are for operations, not for --\(model.name)")
      }
    } else {
      if sweep != nil && operation == nil { throw ValidationError("--sweep needs an operation") }
      if plot != nil && sweep == nil { throw ValidationError("--plot needs --sweep or a model") }
      if let sweep, plot != nil { try BenchPlot.requireAxis(sweep) }
      do { if let sweep, let operation { _ = try sweep.cases(operation) } } catch {
        throw ValidationError("\(error)")
      }
    }
    guard patience > 0 else { throw ValidationError("--patience must be above 0, not \(patience)") }
  }

  func run() throws {
    let deadline = Deadline(seconds)
    for picture in [plot, roofline].compactMap({ $0 }) { try Picture.requireWritable(picture) }
    let backend = try device.backend(profiling: !model.isGiven)
    if model.isGiven {
      let report = try ModelBench(model, on: backend, deadline, isQuiet: format != .text)
      try write(report, csv: report.csv, backend)
      if let plot { try Picture.write(ModelPlot(report: report).plot.svg, to: plot) }
      return
    }
    let bench = OperationBench(
      backend: backend, chosenOnly: chosen, patience: patience, deadline: deadline,
      keep: { try save($0, backend) }, isQuiet: format != .text)
    let report = try bench.run(operation, sweep)
    try write(report, csv: report.csv, backend)
    if let plot, let sweep {
      let rates = BenchPlot(report: report, operation: operation ?? "", sweep: sweep)
      try Picture.write(rates.plot.svg, to: plot)
    }
    if let roofline { try Picture.write(BenchPlot.roofline(report).svg, to: roofline) }
    if let failure = report.failures.first {
      throw Failure("\(count(report.failures.count, "case")) failed and was not timed: \(failure.command)")
    }
  }

  private func write(_ report: some Encodable, csv: String, _ backend: any Backend) throws {
    switch format {
    case .text: break
    case .json: try Output.json(report)
    case .csv: try Output.write(csv)
    }
    try save(report, backend)
  }

  private func save(_ report: some Encodable, _ backend: any Backend) throws {
    guard let path else { return }
    var isFolder = false
    _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
    let words = backend.deviceName.split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
    let name = words.joined(separator: "-").lowercased()
    try Output.json(report, toFile: isFolder ? "\(path)/\(name).json" : path)
  }
}

/// The keys that a sweep knows, for the help.
enum SweepHelp {
  static var keys: String {
    "Keys: "
      + Sweep.operations.map { "\($0.name): \($0.keys.joined(separator: ", "))" }.joined(separator: "; ")
      + "."
  }
}
