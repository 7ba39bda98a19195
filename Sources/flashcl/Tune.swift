import ArgumentParser
import FlashCL
import FlashCLCases
import FlashCLOpenCL

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct Tune: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tune",
    abstract: "Finds what a device likes: sizes of tiles and splits, and which strategy first.",
    discussion: """
      Tries the numbers of every operation's kernels, or of one, on shapes of real models, first those that the roofline of \
      the device suggests. Each candidate is checked before \
      it is timed, and stays only where it is faster than what was there, twice. The winners are kept for this device and \
      driver and used from then on; nothing else depends on them. A table can be taken elsewhere by --export and --import.
      Example: flashcl tune attention --seconds 60
      """)

  @Argument(help: "An operation, such as attention or linear; all of them where none is given.")
  var operation: String?
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption
  @Option(
    parsing: .unconditional, help: "How long the search may take (default: 120).", transform: Deadline.parse)
  var seconds: Double?
  @Option(parsing: .unconditional, help: ArgumentHelp("Write the table to a file.", valueName: "file"))
  var export: String?
  @Option(
    name: .customLong("import"), parsing: .unconditional,
    help: ArgumentHelp("Take the table of a file instead of searching.", valueName: "file"))
  var imported: String?
  @Flag(help: "Forget what was found, of one operation or of all.")
  var reset = false

  func validate() throws {
    if imported != nil && (reset || operation != nil) {
      throw ValidationError("--import takes a whole table: no operation and no --reset beside it")
    }
  }

  func run() throws {
    let deadline = Deadline(seconds ?? 120)
    guard let backend = try device.backend(profiling: true) as? OpenCLBackend else {
      throw Failure("the CPU reference has nothing to tune; name an OpenCL device")
    }
    if let operation, !Case.all.contains(where: { $0.operation == operation }) {
      throw Failure("no operation '\(operation)'; there are \(Tuner.operations.joined(separator: ", "))")
    }
    let before = backend.tuning
    var changes: [Tuner.Change] = []
    var ceilings: Ceilings?
    if let imported {
      try backend.tune(TuningFile.read(imported))
    } else if reset {
      var tuning = before
      for name in operation.map({ [$0] }) ?? Tuner.operations { tuning.reset(name) }
      try backend.tune(tuning)
    } else if export == nil || operation != nil {
      let tuner = try Tuner(backend, deadline)
      ceilings = tuner.ceilings
      changes = try tuner.search(operation)
    }
    if backend.tuning != before { backend.tuning.store(for: backend.queue.device) }
    if let export { try TuningFile(backend).write(export) }
    let report = Report(
      device: backend.deviceName, guesses: ceilings.map { Guesses($0, operation) }, changes: changes,
      tuning: backend.tuning.lines)
    if output.isJSON { try Output.json(report) } else { try Output.write(report.text) }
  }

  private struct Report: Encodable {
    let device: String
    /// Of a search.
    @Nullable var guesses: Guesses?
    let changes: [Tuner.Change]
    let tuning: [String]

    var text: String {
      let rows = changes.map { change in
        [
          change.operation, change.what, change.before, change.after, fixed(change.seconds_before * 1e6, 1),
          fixed(change.seconds_after * 1e6, 1), fixed(change.seconds_before / change.seconds_after, 2),
        ]
      }
      let head = ["operation", "what", "was", "is", "µs before", "µs after", "gain"]
      let found = changes.isEmpty ? "" : table([head] + rows, right: [4, 5, 6])
      let used = tuning.isEmpty ? "the defaults are in use\n" : tuning.map { $0 + "\n" }.joined()
      return "\(device)\n\(guesses?.text ?? "")\(found)\(used)"
    }
  }

  /// Where the search began.
  private struct Guesses: Encodable {
    let gflops: Double
    let copy_gbytes_per_s: Double
    /// By "operation.number".
    let values: [String: Int]

    init(_ ceilings: Ceilings, _ operation: String?) {
      (gflops, copy_gbytes_per_s) = (ceilings.gflops, ceilings.copyGBs)
      values = Tunable.all.filter { operation == nil || $0.operation == operation }
        .reduce(into: [:]) { $0[$1.id] = $1.guess(ceilings) }
    }

    var text: String {
      let list = values.sorted { $0.key < $1.key }.map { ", \($0.key) = \($0.value)" }.joined()
      return "roofline: \(fixed(gflops, 0)) GFLOP/s over \(fixed(copy_gbytes_per_s, 0)) GB/s\(list)\n"
    }
  }
}

/// A tuning table on its way from one machine to another.
private struct TuningFile: Codable {
  /// Says what the file is, and the version of its layout.
  static let format = "flashcl tuning 1"
  var format = Self.format
  let device: String
  let driver: String
  let tuning: [String]

  init(_ backend: OpenCLBackend) {
    device = backend.deviceName
    driver = backend.queue.device.driverVersion
    tuning = backend.tuning.lines
  }

  func write(_ path: String) throws { try Output.json(self, toFile: path) }

  static func read(_ path: String) throws -> Tuning {
    let bytes = try contents(of: path)
    guard let file = try? JSONDecoder().decode(TuningFile.self, from: Data(bytes)),
      file.format == TuningFile.format
    else { throw Failure("\(path): no tuning table; 'flashcl tune --export FILE' writes one") }
    do { return try Tuning(text: file.tuning.joined(separator: "\n")) } catch {
      throw Failure("\(path): \(error)")
    }
  }
}
