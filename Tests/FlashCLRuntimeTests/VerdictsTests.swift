import Glibc
import Testing

@testable import FlashCLRuntime

/// A folder for verdicts of one device.
private struct Desk {
  let folder: TemporaryFolder
  let cache: DiskCache
  let key: Fingerprint

  init() throws {
    folder = try TemporaryFolder()
    cache = DiskCache(folder: folder.path + "/verdicts")
    var key = Fingerprint()
    key.combine("a device")
    self.key = key
  }

  var verdicts: Verdicts { Verdicts(key, cache: cache) }

  /// Leaves the file of a process that ended while it tried these.
  func leave(_ mark: ProcessMark, _ trials: [(subject: String, trial: String, state: String)]) {
    let lines = trials.map { "\(key)\t\($0.subject)\t\($0.trial)\t\($0.state)" }
    let trying = DiskCache(folder: folder.path + "/verdicts/trying")
    trying.store(mark.key, Array(([mark.line] + lines).joined(separator: "\n").utf8))
  }

  var sentinels: Int { DiskCache(folder: folder.path + "/verdicts/trying").keys().count }
}

extension ProcessMark {
  /// Number `getpid()`, but of an earlier process.
  fileprivate static func dead(_ start: Int) -> ProcessMark {
    ProcessMark(place: own.place, boot: own.boot, number: own.number, start: "\(start)")
  }
}

private func failed(_ subject: String, _ trial: String) -> TrialResult {
  TrialResult(subject: subject, trial: trial, failure: (.failed, "1 of 2 elements\nare\twrong"))
}

private func passed(_ subject: String, _ trial: String) -> TrialResult {
  TrialResult(subject: subject, trial: trial)
}

@Suite struct VerdictsTests {
  private let known = ["a.x": Set(["1", "2", "3"])]

  @Test func whatFailedIsRemembered() throws {
    let desk = try Desk()
    #expect(desk.verdicts.all.isEmpty && desk.verdicts.checked == nil)
    var verdicts = desk.verdicts
    verdicts.record([failed("a.x", "1"), failed("a.x", "2"), passed("a.y", "1")], known: known)
    for seen in [verdicts, desk.verdicts] {
      #expect(seen.all.map(\.trial) == ["1", "2"])
      #expect(seen.disabled.map(\.trial) == ["1"])
      let verdict = try #require(seen.objection(to: "a.x"))
      #expect(verdict.outcome == .failed && abs(verdict.time - now()) < 1000)
      #expect(verdict.reason.contains("elements"))
      #expect(seen.objection(to: "a.y") == nil && seen.checked == nil)
    }
    #expect(desk.verdicts.all[0].reason == "1 of 2 elements are wrong")  // a line of its own on disk
    // Another device, or another driver, has a key of its own.
    #expect(Verdicts(Fingerprint(), cache: desk.cache).all.isEmpty)
  }

  /// A run of some cases forgets these alone; nothing that it did not try.
  @Test func onlyWhatPassedIsForgotten() throws {
    let desk = try Desk()
    var verdicts = desk.verdicts
    verdicts.record([failed("a.x", "1"), failed("a.x", "2"), failed("b.z", "1")], known: known)
    verdicts.record([passed("a.x", "1"), passed("a.x", "3")], known: known)
    #expect(desk.verdicts.all.map(\.trial) == ["2", "1"])
    #expect(desk.verdicts.objection(to: "a.x") != nil)
    verdicts.record([passed("a.x", "2")], known: known)
    #expect(desk.verdicts.all.map(\.subject) == ["b.z"])
    verdicts.record([passed("b.z", "1")], known: [:], isWhole: true)
    #expect(desk.verdicts.all.isEmpty && desk.verdicts.checked != nil)
  }

  /// A case that there is no more cannot pass again: its strategy must, in all that there are.
  @Test func whatCannotBeTriedAgainGoesWithTheRest() throws {
    let desk = try Desk()
    var verdicts = desk.verdicts
    verdicts.record([failed("a.x", "of old")], known: known)
    verdicts.record([passed("a.x", "1"), passed("a.x", "2")], known: known)
    #expect(desk.verdicts.objection(to: "a.x") != nil)
    verdicts.record([passed("a.x", "1"), passed("a.x", "2"), failed("a.x", "3")], known: known)
    #expect(desk.verdicts.all.map(\.trial) == ["of old", "3"])
    verdicts.record([failed("a.x", "large")], known: known)
    verdicts.record(["1", "2", "3"].map { passed("a.x", $0) }, known: known, others: ["large"])
    #expect(desk.verdicts.all.map(\.trial) == ["large"])  // there still is this one, and it was not tried
  }

  @Test func twentyPiecesOfGarbageAreNoVerdicts() throws {
    let desk = try Desk()
    var verdicts = desk.verdicts
    verdicts.record([failed("a.x", "1")], known: known)
    let whole = try #require(readFile(desk.folder.path + "/verdicts/\(desk.key)"))
    var random = SystemRandomNumberGenerator()
    for round in 0..<20 {
      var bytes = whole
      switch round % 5 {
      case 0: bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random))
      case 1: bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= UInt8(1 << (round / 5))
      case 2: bytes = (0..<300).map { _ in UInt8.random(in: 0...255, using: &random) }
      case 3: bytes += whole
      default: bytes = Array("never\na.x\t1\tfailed".utf8)
      }
      desk.folder.write("verdicts/\(desk.key)", bytes)
      desk.folder.write("verdicts/trying/\(desk.key)", bytes)
      desk.folder.write("verdicts/trying/garbage-\(round)", bytes)
      #expect(desk.verdicts.all.isEmpty, "round \(round)")
    }
    // Whole by its checksum, but not what is written here: a later version's, say.
    for text in ["never\na.x\t1\tfailed", "never\na.x\t1\tbent\t0\t2\twhy", "never\n\n\n", "\u{0}", "1\t2"] {
      desk.cache.store(desk.key, Array(text.utf8))
      #expect(desk.verdicts.all.isEmpty, "\(text)")
    }
    verdicts.record([failed("a.x", "2")], known: known)
    #expect(desk.verdicts.all.contains { $0.trial == "2" })
  }

  @Test func nobodysChangeIsLost() async throws {
    let desk = try Desk()
    let (key, cache) = (desk.key, desk.cache)
    await withTaskGroup(of: Void.self) { group in
      for task in 0..<8 {
        group.addTask {
          var verdicts = Verdicts(key, cache: cache)
          for trial in 0..<10 {
            verdicts.insert(
              Verdict(subject: "task.\(task)", trial: "\(trial)", outcome: .failed, reason: "a test"))
          }
        }
      }
    }
    #expect(desk.verdicts.all.count == 80)
    #expect(desk.folder.files().allSatisfy { !$0.hasSuffix(".tmp") })
  }

  /// The same with a pause between reading and writing, in which without the lock another would surely write.
  @Test func oneProcessAtATimeChangesAFile() async throws {
    let desk = try Desk()
    let (key, cache) = (desk.key, desk.cache)
    cache.store(key, [0])
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<5 {
            cache.exclusively {
              let count = cache.load(key)?.first ?? 100
              usleep(2000)
              cache.store(key, [count + 1])
            }
          }
        }
      }
    }
    #expect(cache.load(key) == [20])
  }

  @Test func withoutAFolderVerdictsHoldForThemselves() throws {
    for folder in [nil, "/proc/flashcl/verdicts"] {
      var verdicts = Verdicts(Fingerprint(), cache: DiskCache(folder: folder))
      verdicts.record([failed("a.x", "1")], known: known)
      #expect(verdicts.objection(to: "a.x") != nil)
      #expect(Verdicts(Fingerprint(), cache: DiskCache(folder: folder)).all.isEmpty)
    }
  }
}

@Suite struct SentinelTests {
  @Test func twoDeathsDisableAStrategy() throws {
    let desk = try Desk()
    desk.leave(.dead(1), [("a.x", "program 1", "building")])
    #expect(desk.verdicts.disabled.isEmpty && desk.verdicts.suspects("a.x", "program 1"))
    #expect(desk.sentinels == 0)
    desk.leave(.dead(2), [("a.x", "program 1", "building")])
    let verdict = try #require(desk.verdicts.objection(to: "a.x"))
    #expect(verdict.outcome == .crashed)
  }

  /// One that was being built is guilty; of those that ran, nobody knows which.
  @Test func suspicionFallsOnWhatWasBuilt() throws {
    let desk = try Desk()
    desk.leave(.dead(1), [("a.x", "1", "launched"), ("a.y", "2", "building")])
    #expect(desk.verdicts.all.map(\.subject) == ["a.y"])
    desk.leave(.dead(2), [("a.x", "1", "launched"), ("b.z", "3", "launched")])
    #expect(desk.verdicts.all.map(\.subject) == ["a.y", "a.x", "b.z"])
    #expect(desk.verdicts.disabled.isEmpty)
  }

  @Test func successAcquits() throws {
    let desk = try Desk()
    desk.leave(.dead(1), [("a.x", "1", "launched"), ("a.x", "2", "launched")])
    var verdicts = desk.verdicts
    verdicts.acquit("a.x", "1")
    #expect(desk.verdicts.all.map(\.trial) == ["2"])
    desk.leave(.dead(2), [("a.x", "1", "building")])
    #expect(desk.verdicts.disabled.isEmpty)
    verdicts.record([failed("a.x", "3")], known: [:])
    verdicts.acquit("a.x", "3")  // a proof stays
    #expect(desk.verdicts.objection(to: "a.x") != nil)
  }

  @Test func theLivingAndTheForeignAreLeftAlone() throws {
    let desk = try Desk()
    let own = ProcessMark.own
    #expect(!own.isDead && !own.start.isEmpty && !own.boot.isEmpty)
    desk.leave(own, [("a.x", "1", "building")])
    let foreign = ProcessMark(place: "elsewhere", boot: "then", number: 1, start: "1")
    desk.leave(foreign, [("a.x", "1", "building")])
    #expect(desk.verdicts.all.isEmpty && desk.sentinels == 2)
    // The same number before the machine was started anew.
    desk.leave(
      ProcessMark(place: own.place, boot: "then", number: own.number, start: own.start),
      [("a.x", "1", "building")])
    #expect(desk.verdicts.all.count == 1)
  }

  @Test func marksReadWhatTheyWrite() {
    #expect(ProcessMark(line: ProcessMark.own.line) == ProcessMark.own)
    for line in ["", "a\tb", "a\tb\tc\td", "a\tb\t1\td\te"] { #expect(ProcessMark(line: line) == nil) }
  }
}
