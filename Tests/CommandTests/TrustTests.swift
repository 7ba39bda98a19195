import Foundation
import Testing

@Suite(.serialized, .enabled(if: BrokenDriver.isThere, "needs a C compiler and an OpenCL device"))
struct TrustTests {
  /// The names of all cases that failed, with their reasons.
  private func failures(_ outcome: Outcome) throws -> [String: String] {
    let results = try #require(try outcome.json()["results"] as? [[String: Any]])
    #expect(!results.isEmpty)
    return Dictionary(
      uniqueKeysWithValues: results.filter { $0["outcome"] as? String == "failed" }
        .map { ($0["case"] as? String ?? "", $0["reason"] as? String ?? "") })
  }

  private let few = "^rms_norm.*type=f32,rows=3,cols=(31|33),"

  @Test(arguments: [
    ("crash:launch:rms_norm_rows", "crashed", "signal 11"), ("skip:launch:rms_norm_rows", "failed", "nan"),
    ("hang:launch:rms_norm_rows", "hung", "no answer within"),
  ])
  func aStrategyThatFailsIsLeftOutUntilItPasses(fault: String, outcome: String, reason: String) throws {
    let driver = BrokenDriver()
    let arguments = ["check", few, "--format", "json", "--isolated", "--limit", "20"]
    let broken = try run(arguments, environment: driver.environment(fault))
    #expect(broken.status == 1)
    let failed = try failures(broken)
    #expect(!failed.isEmpty && failed.keys.allSatisfy { $0.contains("strategy=rows,") }, "\(failed)")
    #expect(failed.values.contains { $0.contains(reason) }, "\(failed)")
    let entry = try #require(try driver.disabled()["rms_norm.rows"])
    #expect(entry["outcome"] as? String == outcome)
    #expect((entry["trial"] as? String)?.hasPrefix("rms_norm(strategy=rows,") == true)

    // A run that does not try the same cases forgets nothing; one that does forgets.
    #expect(try driver(nil, "check", "^rms_norm.*type=f16,rows=3,cols=31,").status == 0)
    #expect(try driver.disabled()["rms_norm.rows"] != nil)
    #expect(try driver(nil, "check", few).status == 0)
    #expect(try driver.disabled().isEmpty)
  }

  /// The time ends while a case hangs: nobody knows whether it would have come to its end.
  @Test func aCaseThatTheTimeCutsOffHasNotFailed() throws {
    let driver = BrokenDriver()
    let fault = "hang:launch:rms_norm_rows"
    let cut = try driver(
      fault, "check", "^rms_norm", "--format", "json", "--isolated", "--limit", "600", "--seconds", "8")
    let json = try cut.json()
    #expect(cut.status == 0 && json["failed"] as? Int == 0, "\(cut.errors)")
    #expect(json["stopped_after_s"] as? Double == 8 && json["not_run"] as? Int != 0)
    #expect(try driver.disabled().isEmpty)
    // What ran by then and failed is a failure nevertheless.
    let hung = try driver(
      fault, "check", few, "--format", "json", "--isolated", "--limit", "3", "--seconds", "600")
    let failed = try hung.json()["failed"] as? Int ?? 0
    #expect(hung.status == 1 && failed > 0)
  }

  /// A part says nothing of the rest.
  @Test func aCheckThatStoppedWasNotTheWhole() throws {
    let driver = BrokenDriver()
    let outcome = try driver(nil, "check", "--seconds", "0.1", "--format", "json")
    let notRun = try outcome.json()["not_run"] as? Int
    #expect(outcome.status == 0 && notRun != 0, "\(outcome.errors)")
    let devices = try driver(nil, "devices", "--format", "json").json()["devices"] as? [[String: Any]]
    #expect(try #require(devices?.first)["checked"] is NSNull)
  }

  /// Timings run in this process: one that hangs has its file from before.
  @Test func aBenchThatHangsHasLeftWhatItHad() throws {
    let driver = BrokenDriver()
    let path = try #require(driver.scratch?.path("b.json"))
    let list = try driver(nil, "check", "^rms_norm.*cols=33,", "--list").output
    let strategies = list.matches(of: #/strategy=(\w+),/#).map { String($0.1) }
    let last = try #require(strategies.last)
    let process = try driver.start(
      "hang:launch:rms_norm_\(last)",
      ["bench", "rms_norm", "--sweep", "rows=3,cols=33", "--seconds", "600", "--output", path])
    for _ in 0..<1200 where !FileManager.default.fileExists(atPath: path) { usleep(50_000) }
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    let json = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(fileURLWithPath: path)))
    let report = try #require(json as? [String: Any])
    #expect((report["results"] as? [Any])?.isEmpty == false && report["not_run"] as? Int ?? 0 > 0)
  }

  /// The strategy that a model takes by itself, broken: another runs, and one line says so.
  @Test func aModelGoesAroundIt() throws {
    let driver = BrokenDriver()
    let list = try driver(nil, "check", "^rms_norm.*cols=31,", "--list").output
    let first = try #require(list.firstMatch(of: #/strategy=(\w+),/#)?.1)  // the preferred one
    let fault = "crash:launch:rms_norm_\(first)"
    #expect(try driver(fault, "check", few).status == 1)
    let outcome = try run(driver.model, environment: driver.environment(fault))
    #expect(outcome.status == 0, "\(outcome.errors)")
    let lines = outcome.errors.split(separator: "\n").filter {
      $0.contains("rms_norm.\(first) crashed before")
    }
    #expect(lines.count == 1, "\(outcome.errors)")
    #expect(lines.first?.contains("runs in its place") == true)
    // A strategy that is named runs all the same: check found it well again.
    #expect(try driver(nil, "check", few).status == 0)
    #expect(try run(driver.model, environment: driver.environment(nil)).errors.contains("before") == false)
  }

  @Test func theOnlyStrategyRunsNevertheless() throws {
    let driver = BrokenDriver()
    #expect(try driver("skip:launch:embedding_items", "check", "^embedding.*type=f32").status == 1)
    let outcome = try run(driver.model, environment: driver.environment(nil))
    #expect(outcome.status == 0)
    #expect(outcome.errors.contains("nothing else serves embedding"), "\(outcome.errors)")
  }

  @Test(arguments: ["crash", "hang"]) func aProbeMayFail(deed: String) throws {
    let driver = BrokenDriver()
    let fault = "\(deed):build:kernel void probe("
    let outcome = try driver(fault, "check", few, "--limit", "10")
    guard outcome.errors.contains("probe.") else { return }  // a device that has nothing to be probed
    #expect(outcome.status == 0, "\(outcome.errors)")
    let probes = try driver.disabled().keys.filter { $0.hasPrefix("probe.") }
    #expect(!probes.isEmpty)
    for probe in probes {
      #expect(
        outcome.errors.split(separator: "\n").count { $0.contains("\(probe) ") } == 1, "\(outcome.errors)")
    }
    // Known from then on: neither tried nor told again, until the next check.
    #expect(try driver(fault, "devices").errors == "")
    #expect(try driver(nil, "check", few).status == 0)
    #expect(try driver.disabled().isEmpty)
  }

  /// Outside of check nothing runs in a child: two processes die, the third goes around.
  @Test func theSentinelCountsToTwo() throws {
    let driver = BrokenDriver()
    let list = try driver(nil, "check", "^rms_norm.*cols=31,", "--list").output
    let first = try #require(list.firstMatch(of: #/strategy=(\w+),/#)?.1)
    let fault = "crash:launch:rms_norm_\(first)"
    for _ in 0..<2 {
      let process = try driver.start(fault, driver.model)
      process.waitUntilExit()
      #expect(process.terminationReason == .uncaughtSignal)
    }
    let outcome = try run(driver.model, environment: driver.environment(fault))
    #expect(outcome.status == 0 && outcome.errors.contains("runs in its place"), "\(outcome.errors)")
    #expect(driver.files("verdicts/trying").isEmpty)
    #expect(try driver(nil, "check", "rms_norm").status == 0)
    #expect(try driver.disabled().isEmpty)
  }

  @Test func whoIsToldToGoHasNotCrashed() throws {
    let driver = BrokenDriver()
    for signal in [SIGTERM, SIGKILL] {  // a shell may have SIGINT ignored
      let process = try driver.start("hang:launch:cache_append_items", driver.model)
      try driver.waitForSentinel()
      kill(process.processIdentifier, signal)
      try driver.end(process)
      #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == signal)
      #expect(driver.files("verdicts/trying").filter { $0.count == 32 }.isEmpty == (signal != SIGKILL))
    }
    #expect(try driver.disabled().isEmpty)  // one end by force is a suspicion
  }

  @Test func nothingOutlivesACheckThatIsKilled() throws {
    let driver = BrokenDriver()
    let results = try Scratch()
    let reports = ["r.html", "r.json"].flatMap { ["--report", results.path($0)] }
    let process = try driver.start("hang:launch:rms_norm_rows", ["check", few, "--isolated"] + reports)
    let list = "/proc/\(process.processIdentifier)/task/\(process.processIdentifier)/children"
    var children: [Substring] = []
    // The first child may be the one that probes; the check's own is there once caches are.
    for _ in 0..<1200 where children.isEmpty || driver.files("verdicts").isEmpty {
      usleep(50_000)
      children = (try? String(contentsOfFile: list, encoding: .utf8))?.split(separator: " ") ?? []
    }
    usleep(1_000_000)
    children = try String(contentsOfFile: list, encoding: .utf8).split(separator: " ")
    let child = try #require(children.first.flatMap { pid_t($0) })
    kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
    for _ in 0..<1200 where kill(child, 0) == 0 { usleep(50_000) }
    #expect(kill(child, 0) != 0)
    #expect(try results.names().isEmpty)  // no half of a result
    #expect(try driver(nil, "check", few).status == 0)
    for folder in ["programs", "verdicts", "verdicts/trying"] {
      #expect(driver.files(folder).allSatisfy { !$0.hasSuffix(".tmp") })
    }
  }

  @Test func processesShareTheirCaches() throws {
    let driver = BrokenDriver()
    let kernels = ["gelu_items", "rope_items", "softmax_rows", "rms_norm_rows"]
    let runs = try kernels.map { kernel in
      let operation = kernel[..<kernel.lastIndex(of: "_")!]  // by the list above
      return try driver.start("skip:launch:\(kernel)", ["check", "^\(operation)\\(.*type=f32", "--isolated"])
    }
    for process in runs {
      process.waitUntilExit()
      #expect(process.terminationReason == .exit && process.terminationStatus == 1)
    }
    let names = ["gelu.items", "rope.items", "softmax.rows", "rms_norm.rows"]
    #expect(Set(try driver.disabled().keys).isSuperset(of: names))
  }

  @Test func aHomeThatCannotBeWrittenIsNoError() throws {
    let driver = BrokenDriver()
    for cache in ["/proc/flashcl", "none"] {
      var environment = driver.environment("skip:launch:rms_norm_rows")
      environment["FLASHCL_CACHE"] = cache
      let outcome = try run(["check", few], environment: environment)
      #expect(outcome.status == 1 && outcome.output.contains("strategy=rows"), "\(outcome)")
      environment["BROKEN_OPENCL"] = nil
      #expect(try run(driver.model, environment: environment).status == 0)
    }
  }
}
