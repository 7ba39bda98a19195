import ArgumentParser
import FlashCL
import FlashCLCases
import FlashCLOpenCL
import FlashCLRuntime

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

struct Capsule: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capsule",
    abstract: "Keeps the launches of one case in a file, to be replayed on another device.",
    discussion: """
      The file holds the kernels' texts, their arguments and every buffer before and after. It is written anew before each \
      launch, so that it is there when a driver crashes. CASE is a name as 'flashcl check' prints it. With --unlaunched the \
      device only holds the buffers: nothing is built or launched, for a case that would end the process or hang.
      Example: flashcl capsule 'softmax(strategy=group,type=f32,rows=3,cols=257)' --output fault.capsule
      """)

  @ArgumentParser.Argument(help: "The case, with its strategy.")
  var `case`: String
  @OptionGroup var device: DeviceOption
  @Option(name: .customLong("output"), parsing: .unconditional, help: "The capsule's file.")
  var path: String
  @Flag(help: "Write the launches down without making them.")
  var unlaunched = false
  @Flag(help: "Take the launches of 'check --bitwise': of a second run, and of sequences and rows alone.")
  var bitwise = false
  /// What 'check' found to be wrong, which may have been another device's state or luck.
  @Option(parsing: .unconditional, help: .hidden) var outcome: String?

  /// False where another library launches its own kernels.
  static func canHold(_ strategy: String) -> Bool { strategy != "clblast" }

  func run() throws {
    guard let backend = try device.backend() as? OpenCLBackend else {
      throw Failure("the CPU reference launches no kernels; name an OpenCL device")
    }
    let runner = Runner(backend, extent: .full)
    let selected = try runner.select(`case`)
    guard selected.count == 1, selected[0].strategies.count == 1 else {
      let number = selected.reduce(0) { $0 + $1.strategies.count }
      throw Failure("'\(`case`)' means \(number) cases; a capsule holds one, named with its strategy")
    }
    let (item, strategy) = (selected[0].case, selected[0].strategies[0])
    func save(_ recording: Recording, _ outcome: String) throws {
      let about = CapsuleFile.About(
        case: item.name(strategy: strategy), device: backend.deviceName,
        driver: backend.queue.device.driverVersion,
        outcome: self.outcome ?? outcome)
      try CapsuleFile(about: about, recording: recording).write(path)
    }
    guard Capsule.canHold(strategy) else {
      throw Failure(
        "\(item.name(strategy: strategy)): the library's own launches cannot be written down; 'flashcl check' repeats it"
      )
    }
    var isWritten = false
    let (result, recording) = try backend.queue.record(
      launching: !unlaunched,
      beforeLaunch: {
        if unlaunched { return }
        try save($0, "\($0.launches.last?.kernel ?? "a launch") did not come back")
        isWritten = true
      }
    ) { runner.check(item, strategy: strategy, bitwise: bitwise) }
    let judged = try result.get()
    guard !recording.launches.isEmpty, judged.outcome != .unsupported else {
      if isWritten { unlink(path) }  // what came before the strategy was asked
      throw Failure(
        "\(judged.case) is not launched on \(backend.deviceName): \(judged.reason ?? "nothing to do")")
    }
    let outcome = judged.outcome == .passed ? "" : judged.reason ?? judged.outcome.rawValue
    try save(recording, unlaunched ? "not launched there" : outcome)
    let bytes = recording.buffers.reduce(0) { $0 + $1.before.count }
    let launches = recording.launches.count == 1 ? "1 launch" : "\(recording.launches.count) launches"
    try Output.line(
      "\(path): \(launches), \(count(recording.buffers.count, "buffer")) of \(size(bytes)), "
        + "\(unlaunched ? "not launched" : judged.outcome.rawValue) on \(backend.deviceName)")
  }
}

struct Replay: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "Repeats the launches of a capsule, and compares what they leave behind.",
    discussion: """
      Each buffer is compared, as 32-bit words, with what the device of the capsule left in it. Devices round differently: \
      floats that differ in the last places are no fault, words that have nothing in common are.
      Example: flashcl replay fault.capsule --device gpu:1
      """)

  @ArgumentParser.Argument(help: "The capsule.")
  var path: String
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption

  func run() throws {
    let capsule = try CapsuleFile(reading: path)
    guard let backend = try device.backend() as? OpenCLBackend else {
      throw Failure("the CPU reference launches no kernels; name an OpenCL device")
    }
    let after = try backend.queue.replay(capsule.recording)
    let compared = zip(capsule.recording.buffers, after).enumerated().compactMap { n, pair in
      Comparison(n, pair.0, now: pair.1)
    }
    let report = Report(
      about: capsule.about, device: backend.deviceName, kernels: capsule.recording.launches.map(\.kernel),
      buffers: compared)
    if output.isJSON { try Output.json(report) } else { try Output.write(report.text) }
  }

  /// A buffer that a launch changed, here or there.
  private struct Comparison: Encodable {
    let buffer: Int
    let words: Int
    /// Words whose bits differ; nil where the capsule has nothing to compare with.
    @Nullable var different: Int?
    /// The greatest difference of two words as floats, over the greatest of the buffer; nil where one is not finite.
    @Nullable var worst: Float?

    init?(_ number: Int, _ contents: Recording.Contents, now: [UInt8]) {
      guard contents.after != contents.before || now != contents.before else { return nil }
      buffer = number
      words = now.count / 4
      guard let after = contents.after else {
        (different, worst) = (nil, nil)
        return
      }
      let (a, b) = (Self.floats(after), Self.floats(now))
      different = zip(a, b).count { $0.bitPattern != $1.bitPattern }
      let greatest = a.lazy.filter(\.isFinite).map(abs).max() ?? 0
      var worst: Float? = 0
      for (x, y) in zip(a, b) where x.bitPattern != y.bitPattern && !(x.isNaN && y.isNaN) {
        let difference = abs(x - y)
        worst = difference.isFinite ? worst.map { max($0, difference) } : nil
      }
      self.worst = worst.map { $0 == 0 ? 0 : $0 / max(greatest, .leastNormalMagnitude) }
    }

    private static func floats(_ bytes: [UInt8]) -> [Float] {
      bytes.withUnsafeBytes { raw in
        (0..<raw.count / 4).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
      }
    }
  }

  private struct Report: Encodable {
    let about: CapsuleFile.About
    let device: String
    let kernels: [String]
    let buffers: [Comparison]

    var text: String {
      var text = "\(about.case)\nrecorded on \(about.device), driver \(about.driver)"
      text += about.outcome.isEmpty ? ", passed there\n" : ": \(about.outcome)\n"
      text += "replayed on \(device): \(kernels.joined(separator: ", "))\n"
      let rows = buffers.map { buffer in
        [
          "buffer \(buffer.buffer)", count(buffer.words, "word"),
          buffer.different.map { $0 == 0 ? "the same bits" : "\($0) differ" } ?? "nothing to compare with",
          buffer.different == 0 || buffer.different == nil
            ? ""
            : buffer.worst.map { "at most \(short(Double($0))) of the greatest" } ?? "not all are finite",
        ]
      }
      return text + table(rows)
    }
  }
}
