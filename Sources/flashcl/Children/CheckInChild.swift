import ArgumentParser
import FlashCL
import FlashCLCases
import FlashCLOpenCL
import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Runs the cases of a check in children, one after the other until all have a result.
///
/// The whole check runs in one child as it would run in this process, so an honest driver costs one start more. The child
/// names each case and each strategy whose program it is about to build; when it dies or stays silent, what it named last
/// has failed, and another child goes on behind that case. Nothing else would tell a crash from a case that passed without
/// a process for each of thousands of cases.
struct CasesInChildren {
  let device: Device
  /// The arguments of `flashcl check`: the child reads the same.
  let arguments: [String]
  /// Seconds for one case.
  let limit: Double
  let isBitwise: Bool
  /// When no further case begins; one that does not come to its end in the grace after it is ended, and counts as not run.
  let deadline: Deadline

  /// What a driver did not survive so often is left alone for the rest of the check.
  private static let patience = 2

  /// Calls `begin` with the count of all cases, and `report` after each; `ends` takes what a child did not survive.
  func run(
    _ runner: Runner, ends: inout [TrialResult], begin: (Int) -> Void, report: (CaseResult) throws -> Void
  ) throws {
    guard let number = try Device.all().firstIndex(where: { $0 === device }) else { return }
    let capabilities = try device.capabilities()
    var (done, hasBegun) = (0, false)
    while !(hasBegun && deadline.isOver) {
      let counts = Dictionary(grouping: ends, by: \.subject).mapValues { ends in
        ends.contains { $0.failure?.outcome == .hung } ? Self.patience : ends.count
      }
      let given = counts.filter { $0.value >= Self.patience }.keys.sorted()
      let child = try Child(
        [
          CheckInChild.name, "--number", "\(number)", "--capabilities", "\(capabilities)", "--skip",
          "\(done)",
          "--without", counts.keys.sorted().joined(separator: ","), "--given-up",
          given.joined(separator: ","), "--",
        ] + arguments, limit: limit)
      var (name, culprit): (String?, String?) = (nil, nil)
      while let line = child.next(within: deadline.rest + Deadline.grace) {
        let words = line.split(separator: " ", maxSplits: 1).map(String.init)
        guard words.count == 2 else { continue }
        switch words[0] {
        case "total":
          begin(Int(words[1]) ?? 0)
          hasBegun = true
        case "case":
          if deadline.isOver { return }
          (name, culprit) = (words[1], nil)
        case "tries": culprit = words[1]
        case "result":
          let decoder = JSONDecoder()
          decoder.nonConformingFloatDecodingStrategy = .convertFromString(
            positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
          try report(decoder.decode(CaseResult.self, from: Data(words[1].utf8)))
          done += 1
          name = nil
        case "error": throw Failure(words[1])
        case "done": return
        default: break
        }
      }
      if child.isLate { return }
      let end = child.end()
      guard let name, let (item, strategy) = runner.find(name) else {
        throw Failure(
          "\(device) cannot be checked: before the first case\(culprit.map { ", at \($0)," } ?? "") \(end)")
      }
      let subject = "\(item.operation).\(strategy)"
      let reason = "\(end)" + (culprit.map { $0 == subject ? "" : ", while \($0) was built for it" } ?? "")
      let lost = runner.lost(item, strategy, reason, bitwise: isBitwise)
      try report(lost)
      let outcome = child.hasHung ? Verdict.Outcome.hung : .crashed
      ends.append(
        TrialResult(subject: culprit ?? subject, trial: lost.trial, failure: (outcome, end.reason)))
      done += 1
    }
  }
}

/// The child's side.
struct CheckInChild: ParsableCommand {
  static let name = "check-in-child"
  static let configuration = CommandConfiguration(commandName: name, shouldDisplay: false)

  @Option var number: Int
  @Option var capabilities: String
  @Option var skip: Int
  /// Strategies that are not chosen for what a case needs besides its own, and those whose cases are given up.
  @Option var without: String
  @Option var givenUp: String
  @ArgumentParser.Argument(parsing: .captureForPassthrough) var arguments: [String] = []

  func run() throws {
    Child.leaveWithParent()
    Sentinel.switchOff()
    do {
      try check()
      try Output.line("done .")
    } catch let error as ClosedPipe {
      throw error
    } catch {
      try Output.line("error \(error)")
    }
  }

  private func check() throws {
    let devices = try Device.all()
    guard devices.indices.contains(number), let capabilities = Capabilities(capabilities) else {
      throw Failure("there is no device \(number)")
    }
    devices[number].adopt(capabilities, store: false)
    let check = try Check.parse(arguments.filter { $0 != "--" })
    let backend = try OpenCLBackend(devices[number])
    func list(_ text: String) -> Set<String> { Set(text.split(separator: ",").map(String.init)) }
    backend.avoid(list(without))
    backend.onTrial = { try? Output.line("tries \($0)") }
    let runner = check.runner(backend)
    let filter = check.filter.map(runner.pattern)
    let lost = list(givenUp)
    func before(_ name: String, _ subject: String) throws -> String? {
      try Output.line("case \(name)")
      return lost.contains(subject) ? "not run: \(subject) has ended the process before" : nil
    }
    try runner.check(
      filter, bitwise: check.bitwise, skipping: skip,
      report: { try Output.line("result \(Output.jsonText($0))") }, begin: { try Output.line("total \($0)") },
      before: before)
  }
}

extension Runner {
  /// The case and the strategy that a name means.
  func find(_ name: String) -> (Case, String)? {
    guard let match = name.firstMatch(of: #/\(strategy=([^,]*),/#) else { return nil }
    let bare = name.replacing(#/\(strategy=[^,]*,/#, with: "(")
    return cases.first { $0.name() == bare }.map { ($0, String(match.1)) }
  }
}
