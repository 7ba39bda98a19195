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

/// The programs of a model's first run, built before it in children: drivers build one program of a process at a time, and a
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

  /// Builds what `plan` needs and is not kept, with a line of progress for whoever watches.
  static func makeReady(_ plan: RunPlan, _ model: String, on backend: any Backend) throws {
    let missing = plan.unready
    guard missing > 0, let device = (backend as? OpenCLBackend)?.queue.device,
      let number = try Device.all().firstIndex(where: { $0 === device })
    else { return }
    let parts = min(missing, max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))))
    let (prompt, tokens, cache) = ("\(plan.prompt)", "\(plan.tokens)", plan.cacheType.rawValue)
    let choice = plan.isGreedy ? [] : ["--sampled"]
    let done = Mutex(0)
    @Sendable func say(_ more: Int) {
      done.withLock {
        $0 += more
        Terminal.progress("building programs, once for this device: \($0) of \(missing)")
      }
    }
    say(0)
    DispatchQueue.concurrentPerform(iterations: parts) { part in
      let child = try? Child(
        [
          name, "--number", "\(number)", "--model", model, "--prompt", prompt, "--tokens", tokens,
          "--cache", cache, "--part", "\(part)", "--parts", "\(parts)",
        ] + choice, limit: limit)
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
    let plan = try RunPlan(
      ModelSource.open(model), prompt: prompt, tokens: tokens, isGreedy: !sampled,
      cacheType: CacheOption.type(named: cache), on: OpenCLBackend(devices[number]))
    try plan?.makeReady(part: part, of: parts) { try? Output.line("built") }
  }
}
