import Foundation
import Testing

/// libOpenCL with one fault (Fixtures/broken_opencl.c), and a folder for caches: nothing of this machine is touched.
final class BrokenDriver {
  let scratch = try? Scratch()
  private static let library: String? = {
    let source = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Fixtures/broken_opencl.c")
    let target = FileManager.default.temporaryDirectory.appendingPathComponent(
      "flashcl-broken-\(getpid()).so")
    let compiler = Process()
    compiler.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    compiler.arguments = [
      "cc", "-shared", "-fPIC", "-o", target.path, source.path, "-Wl,--no-as-needed", "-l:libOpenCL.so.1",
      "-ldl",
    ]
    compiler.standardError = FileHandle.nullDevice
    guard (try? compiler.run()) != nil else { return nil }
    compiler.waitUntilExit()
    atexit { unlink(FileManager.default.temporaryDirectory.path + "/flashcl-broken-\(getpid()).so") }
    return compiler.terminationStatus == 0 ? target.path : nil
  }()

  /// A compiler is there, and a device to be broken.
  static let isThere: Bool = {
    guard library != nil, let json = try? run("devices", "--format", "json", environment: [:]).json() else {
      return false
    }
    return (json["devices"] as? [Any])?.isEmpty == false
  }()

  var cache: String { scratch?.path("cache") ?? "none" }

  func environment(_ fault: String?) -> [String: String] {
    var all = ["FLASHCL_DEVICE": "gpu", "FLASHCL_CACHE": cache, "SWIFT_BACKTRACE": "enable=no"]
    all["FLASHCL_OPENCL_LIBRARY"] = Self.library
    all["BROKEN_OPENCL"] = fault
    return all
  }

  func callAsFunction(_ fault: String?, _ arguments: String...) throws -> Outcome {
    try run(arguments, environment: environment(fault))
  }

  /// Starts the command and lets it run.
  func start(_ fault: String?, _ arguments: [String]) throws -> Process {
    let process = Process()
    process.executableURL = flashcl
    process.arguments = arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment(fault)) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    // Workers of a test run block all signals, which a child inherits.
    var (none, before) = (sigset_t(), sigset_t())
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    try process.run()
    return process
  }

  /// The arguments that run a model.
  var model: [String] {
    let output = scratch?.path("logits.npy") ?? ""
    return ["logits", "--model", Models.path("llama-tied"), "--tokens", "1,2,3", "--output", output]
  }

  /// What the first device has disabled, by name.
  func disabled() throws -> [String: [String: Any]] {
    let device = try #require(
      (try self(nil, "devices", "--format", "json").json()["devices"] as? [[String: Any]])?.first)
    let list = try #require(device["disabled"] as? [[String: Any]])
    return Dictionary(list.map { ($0["name"] as? String ?? "", $0) }) { first, _ in first }
  }

  func files(_ folder: String) -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: cache + "/" + folder)) ?? []
  }

  /// Waits for the end of a process, for a minute.
  func end(_ process: Process) throws {
    for _ in 0..<1200 where process.isRunning { usleep(50_000) }
    let isRunning = process.isRunning
    if isRunning { kill(process.processIdentifier, SIGKILL) }
    process.waitUntilExit()
    try #require(!isRunning, "\(process.arguments ?? []) did not end")
  }

  /// Waits until a sentinel stands.
  func waitForSentinel() throws {
    for _ in 0..<1200 where files("verdicts/trying").filter({ $0.count == 32 }).isEmpty { usleep(50_000) }
    try #require(!files("verdicts/trying").isEmpty, "no sentinel within a minute")
  }
}
