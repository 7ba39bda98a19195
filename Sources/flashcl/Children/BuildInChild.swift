import ArgumentParser
import Dispatch
import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLOpenCL
import FlashCLRuntime
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The programs of a model, built before it is loaded and run, in children: drivers build one program of a process at a time, and a
/// compiler that crashes costs this process nothing. A child builds one after the other, and its own sentinel says at which
/// it ended; what it leaves the run builds itself.
struct BuildInChild: ParsableCommand {
  static let name = "build-in-child"
  static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

  @Option var number: Int
  @Option(parsing: .unconditional) var model: String
  @Option var prompt: Int
  @Option var tokens: Int
  @Option var cache: String
  @Flag var sampled = false
  @Option var part: Int
  @Option var parts: Int

  /// Seconds for one program: the slowest compiler that is known takes 30.
  private static let limit = 300.0

  /// What is gone through before it is known which programs are needed.
  struct Run {
    let prompt, tokens: Int
    let isGreedy: Bool
    let cacheType: ElementType

    init(prompt: Int, tokens: Int, isGreedy: Bool, cacheType: ElementType) {
      (self.prompt, self.tokens) = (prompt, tokens)
      (self.isGreedy, self.cacheType) = (isGreedy, cacheType)
    }

    init(prompt: Int, tokens: Int, options: GenerationOptions) {
      self.init(
        prompt: prompt, tokens: tokens, isGreedy: options.sampling.isGreedy, cacheType: options.cacheType)
    }
  }

  /// Builds what loading a model and a run of it need and what is not kept, with a line of progress for whoever watches.
  ///
  /// Without a twin that has gone through the run, one of its own does.
  static func makeReady(
    _ model: String, for run: Run, rehearsedWith given: ModelTwin? = nil, on backend: any Backend
  ) throws {
    guard let twin = try given ?? ModelTwin(ModelSource.open(model), on: backend) else { return }
    if given == nil {
      try twin.rehearse(
        prompt: run.prompt, tokens: run.tokens, isGreedy: run.isGreedy, cacheType: run.cacheType)
    }
    let missing = twin.unready
    guard missing > 0, let device = (backend as? OpenCLBackend)?.queue.device,
      let number = try Device.all().firstIndex(where: { $0 === device })
    else { return }
    let parts = min(missing, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    let arguments =
      [
        name, "--number", "\(number)", "--model", model, "--prompt", "\(run.prompt)", "--tokens",
        "\(run.tokens)", "--cache", run.cacheType.rawValue, "--parts", "\(parts)",
      ] + (run.isGreedy ? [] : ["--sampled"])
    let done = Mutex(0)
    @Sendable func say(_ more: Int) {
      done.withLock {
        $0 += more
        Terminal.progress("building programs, once for this device: \($0) of \(missing)")
      }
    }
    say(0)
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      let child = try? Child(arguments + ["--part", "\(part)"], limit: limit)
      while child?.next() != nil { say(1) }
      _ = child?.end()
    }
    Terminal.progress("")
  }

  /// The child's side.
  func run() throws {
    Child.leaveWithParent()
    let devices = try Device.all()
    guard devices.indices.contains(number) else { throw Failure("there is no device \(number)") }
    let twin = try ModelTwin(ModelSource.open(model), on: OpenCLBackend(devices[number]))
    try twin?.rehearse(
      prompt: prompt, tokens: tokens, isGreedy: !sampled, cacheType: CacheOption.type(named: cache))
    try twin?.makeReady(part: part, of: parts) { try? Output.line("built") }
  }
}
