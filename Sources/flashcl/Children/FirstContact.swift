import ArgumentParser
import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// The first meeting with a device, in a child: its probes may crash or hang the driver.
///
/// A probe at which the child dies, or that gives wrong results, is a capability less. The child begins each probe with a
/// line, so its last line names the culprit, and the next child leaves that one out.
enum FirstContact {
  /// Sees to it that the capabilities of `device` are known. With `again`, what failed before is tried once more.
  ///
  /// `limit`: seconds for one probe. The slowest compiler that is known takes 5.
  static func meet(_ device: Device, again: Bool = false, limit: Double = 60) throws {
    let known = device.knownCapabilities()
    let mayProbe = ProcessInfo.processInfo.environment["FLASHCL_CAPABILITIES"] != "none"
    if known != nil && !(again && mayProbe && !device.probeVerdicts.all.isEmpty) { return }
    guard let number = try Device.all().firstIndex(where: { $0 === device }) else { return }

    var results: [String: TrialResult] = [:]
    var wrong: Set<String> = []  // in one language; another may do better
    var found: Capabilities?
    while found == nil {
      let failed = results.values.filter { $0.failure != nil }.map(\.subject)
      let child: Child
      do {
        child = try Child(
          [ProbeInChild.name, "--number", "\(number)", "--without", failed.joined(separator: ",")],
          limit: limit)
      } catch {
        return  // no child can be made here: the device is probed in this process
      }
      var current = "probe.start"
      while found == nil, let line = child.next() {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        guard words.count == 2 else { continue }
        switch words[0] {
        case "begins": current = words[1]
        case "passed": results[words[1]] = TrialResult(subject: words[1], trial: "probe")
        case "wrong": wrong.insert(words[1])
        case "found": found = Capabilities(words[1])
        default: break
        }
      }
      guard found == nil else { break }
      let end = child.end()
      // The child died although it was told to leave the culprit out: then nothing can be probed here.
      if results[current]?.failure != nil || current == "probe.start" { found = Capabilities.none }
      fail(current, child.hasHung ? .hung : .crashed, end.reason)
    }
    for subject in wrong.sorted() where results[subject] == nil {
      fail(subject, .failed, "its results are wrong")
    }
    device.adopt(found ?? .none, store: true)
    var verdicts = device.probeVerdicts
    let trials = Dictionary(uniqueKeysWithValues: results.keys.map { ($0, Set(["probe"])) })
    verdicts.record(Array(results.values), known: trials, isWhole: true)

    func fail(_ subject: String, _ outcome: Verdict.Outcome, _ reason: String) {
      results[subject] = TrialResult(subject: subject, trial: "probe", failure: (outcome, reason))
      Terminal.say("flashcl: \(subject) \(outcome.rawValue) on \(device): \(reason); FlashCL does without it")
    }
  }
}

/// The child's side.
struct ProbeInChild: ParsableCommand {
  static let name = "probe-in-child"
  static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

  @Option var number: Int
  @Option var without = ""

  func run() throws {
    Child.leaveWithParent()
    Sentinel.switchOff()
    let devices = try Device.all()
    guard devices.indices.contains(number) else { throw Failure("there is no device \(number)") }
    let leftOut = Set(without.split(separator: ",").map(String.init))
    let found = devices[number].probe(leavingOut: leftOut) { event in
      switch event {
      case .begins(let probe): try? Output.line("begins \(probe)")
      case .passed(let probe): try? Output.line("passed \(probe)")
      case .wrong(let probe): try? Output.line("wrong \(probe)")
      }
    }
    try Output.line("found \(found)")
  }
}
