import Foundation
import Testing

/// What becomes of a fault: the strategy is gone around, and its launches can be kept in a file.
@Suite(.serialized, .enabled(if: BrokenDriver.isThere, "needs a C compiler and an OpenCL device"))
struct FaultTests {
  private let few = "^rms_norm.*type=f32,rows=3,cols=33,data=(normal|offset),"

  private func results(_ outcome: Outcome) throws -> [[String: Any]] {
    let all = try #require(try outcome.json()["results"] as? [[String: Any]])
    return all.filter { $0["outcome"] as? String == "failed" }
  }

  // MARK: - Capsules

  @Test(arguments: [
    "skip:launch:rms_norm_rows", "crash:launch:rms_norm_rows", "hang:launch:rms_norm_rows",
    "crash:build:rms_norm_rows",
  ])
  func failuresLeaveCapsules(fault: String) throws {
    let driver = BrokenDriver()
    let folder = try #require(driver.scratch).path("a/capsules")  // made on the way
    let arguments = ["check", few, "--isolated", "--limit", "10", "--capsules", folder, "--format", "json"]
    let failed = try results(try run(arguments, environment: driver.environment(fault)))
    var kept = 0
    for entry in failed {
      let (name, reason) = (entry["case"] as? String ?? "", entry["reason"] as? String ?? "")
      let command = try #require(entry["capsule_command"] as? String)
      #expect(command.hasPrefix("flashcl capsule ") && command.contains("'\(name)' --output rms_norm-"))
      #expect(command.contains(" --unlaunched ") == !fault.hasPrefix("skip"))
      guard let file = entry["capsule"] as? String else {
        #expect(reason.hasPrefix("not run"), "\(name): \(reason)")
        continue
      }
      kept += 1
      let replayed = try driver(nil, "replay", file, "--format", "json").json()
      let about = try #require(replayed["about"] as? [String: Any])
      #expect(about["case"] as? String == name && about["outcome"] as? String == reason)
      let buffers = try #require(replayed["buffers"] as? [[String: Any]])
      // What was launched can be compared: here nothing is left out.
      let different = buffers.compactMap { $0["different"] as? Int }
      #expect(fault.hasPrefix("skip") ? different.contains { $0 > 0 } : different.isEmpty)
      #expect(!buffers.isEmpty && (replayed["kernels"] as? [String])?.count == 1)
    }
    #expect(kept > 0)
    let names = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(names.count == kept && names.allSatisfy { $0.hasSuffix(".capsule") }, "\(names)")
  }

  /// As it is printed, in every format; and at most twenty files.
  @Test func theCommandIsPrinted() throws {
    let driver = BrokenDriver()
    let scratch = try #require(driver.scratch)
    let folder = scratch.path("capsules")
    let reports = ["r.html", "r.xml", "r.md"].map(scratch.path)
    let all = try run(
      ["check", "^rms_norm\\(strategy=rows,type=f32", "--capsules", folder]
        + reports.flatMap { ["--report", $0] }, environment: driver.environment("skip:launch:rms_norm_rows"))
    let files = try FileManager.default.contentsOfDirectory(atPath: folder)
    #expect(files.count == 20)
    for file in files { #expect(all.output.contains("capsule: \(folder)/\(file)")) }
    let line = try #require(all.output.firstMatch(of: #/capsule: (flashcl capsule .*)/#)?.1)
    for report in reports {
      let text = try String(contentsOfFile: report, encoding: .utf8)
      #expect(text.contains("capsule: flashcl capsule '") && text.contains("capsule: \(folder)"), "\(report)")
    }
    let shell = Process()
    shell.executableURL = URL(fileURLWithPath: "/bin/sh")
    shell.arguments = ["-c", String(line)]
    shell.currentDirectoryURL = scratch.folder
    shell.environment = ProcessInfo.processInfo.environment.merging(driver.environment(nil)) { $1 }
      .merging(["PATH": flashcl.deletingLastPathComponent().path + ":/usr/bin:/bin"]) { $1 }
    shell.standardOutput = FileHandle.nullDevice
    shell.standardError = FileHandle.nullDevice
    try shell.run()
    shell.waitUntilExit()
    let names = try scratch.names()
    #expect(shell.terminationStatus == 0 && names.contains { $0.hasPrefix("rms_norm-rows-f32-") }, "\(names)")
  }

  @Test func aFolderThatCannotBeIsRefusedAtOnce() throws {
    let scratch = try Scratch()
    _ = try scratch.file("x")
    let refused = try run("check", "softmax", "--capsules", scratch.path("x"))
    #expect(refused.status == 1 && refused.output == "" && refused.errors.contains(scratch.path("x")))
    #expect(try run("check", "--capsules", scratch.path("y"), "--list").status == 2)
    #expect(try scratch.names() == ["x"])
  }

  // MARK: - Bits

  /// Other bits on a second run: remembered apart from the case itself.
  @Test func otherBitsAreAVerdict() throws {
    let driver = BrokenDriver()
    let list = try driver(nil, "check", "^rms_norm.*cols=31,", "--list").output
    let first = try #require(list.firstMatch(of: #/strategy=(\w+),/#)?.1)  // the preferred one
    let one = "^rms_norm.*strategy=\(first),type=f32,rows=3,cols=33,data=normal,form=plain"
    let fault = "blink:launch:rms_norm_\(first)"
    let failed = try results(try driver(fault, "check", one, "--bitwise", "--format", "json"))
    #expect(failed.count == 1)
    #expect((failed.first?["command"] as? String)?.hasPrefix("flashcl check --bitwise 'rms_norm(") == true)
    #expect((failed.first?["capsule_command"] as? String)?.hasPrefix("flashcl capsule --bitwise '") == true)
    let trial = try #require(try driver.disabled()["rms_norm.\(first)"]?["trial"] as? String)
    #expect(trial.hasPrefix("--bitwise rms_norm("))
    let model = try run(driver.model, environment: driver.environment(nil))
    #expect(
      model.status == 0 && model.errors.contains("'flashcl check --bitwise rms_norm'"), "\(model.errors)")
    // The case itself passes, and says nothing of its bits.
    #expect(try driver(nil, "check", one).status == 0)
    #expect(try driver.disabled()["rms_norm.\(first)"] != nil)
    #expect(try driver(nil, "check", one, "--bitwise").status == 0)
    #expect(try driver.disabled().isEmpty)
  }

  @Test func aCrashIsRepeatedAsItCame() throws {
    let driver = BrokenDriver()
    let fault = "crash:launch:rms_norm_rows"
    let failed = try results(
      try driver(fault, "check", few, "--bitwise", "--isolated", "--format", "json"))
    #expect(!failed.isEmpty)
    for entry in failed {
      #expect((entry["command"] as? String)?.hasPrefix("flashcl check --bitwise 'rms_norm(") == true)
    }
    #expect((try driver.disabled()["rms_norm.rows"]?["trial"] as? String)?.hasPrefix("--bitwise ") == true)
  }

  // MARK: - Programs that are refused

  /// The attention of a prompt, refused by the compiler or at its launch: another strategy runs at once, and one line says so.
  @Test func aProgramThatIsRefusedIsGoneAround() throws {
    let whole = BrokenDriver()
    let right = try run(whole.model, environment: whole.environment(nil))
    #expect(right.status == 0)
    var fault = #"refuse:build:1 "attention_blocks.cl""#
    for _ in 0..<2 {
      let driver = BrokenDriver()
      let first = try run(driver.model, environment: driver.environment(fault))
      #expect(first.status == 0, "\(first.errors)")
      let notices = first.errors.split(separator: "\n").filter { $0.contains("runs in its place") }
      #expect(notices.count == 1 && !first.errors.contains("before"), "\(first.errors)")
      let (logits, truth) = (try FloatArray(driver.model[6]), try FloatArray(whole.model[6]))
      #expect(distance(logits.elements, truth.elements) < 1e-4)
      let (name, verdict) = try #require(try driver.disabled().first)
      #expect(name.hasPrefix("attention.") && verdict["outcome"] as? String == "failed")
      #expect((verdict["trial"] as? String)?.hasPrefix("program ") == true)
      // Known from now on: nothing is built in vain.
      let second = try run(driver.model, environment: driver.environment(nil))
      #expect(second.status == 0 && second.errors.contains("\(name) failed before"), "\(second.errors)")
      fault = "refuse:launch:" + name.replacing(".", with: "_")
    }
  }

  @Test(arguments: [
    (#"memory:build:1 "attention_blocks.cl""#, false), ("refuse:build:cache_append.cl", true),
  ])
  func whatNothingElseMends(fault: String, isVerdict: Bool) throws {
    let driver = BrokenDriver()
    let outcome = try run(driver.model, environment: driver.environment(fault))
    #expect(outcome.status == 1 && outcome.errors.contains("clBuildProgram failed"), "\(outcome.errors)")
    #expect(try driver.disabled().isEmpty != isVerdict)
    #expect(try run(driver.model, environment: driver.environment(nil)).status == 0)
  }
}
