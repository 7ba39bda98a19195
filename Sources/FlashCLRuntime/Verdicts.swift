#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Seconds since 1970.
public func now() -> Int { time(nil) }

/// One thing that failed on a device with its driver: a strategy in one case, or a probe.
public struct Verdict: Sendable, Equatable {
  public enum Outcome: String, Sendable {
    /// A result was wrong, or an error was thrown.
    case failed
    /// The process ended by a signal.
    case crashed
    /// No answer came within the time limit.
    case hung
  }

  /// What failed: "attention.lanes", or "probe.half".
  public let subject: String
  /// Where: the name of a case, after the option of `check` that tried it so, or the program that was being tried.
  public let trial: String
  public let outcome: Outcome
  public let reason: String
  /// Seconds since 1970.
  public let time: Int
  /// How often: a process that ended without a word may have had other reasons, so one such end is only a suspicion.
  public let count: Int

  public init(
    subject: String, trial: String, outcome: Outcome, reason: String,
    time: Int = now(), count: Int = Verdict.proof
  ) {
    self.subject = subject
    self.trial = trial
    self.outcome = outcome
    self.reason = reason
    self.time = time
    self.count = count
  }

  /// From this count on a suspicion is a proof.
  public static let proof = 2
  public var isProof: Bool { count >= Verdict.proof }

  /// The options that a trial's name begins with, each with a space after it: "--bitwise " of "--bitwise gelu(…)".
  public var trialOptions: Substring {
    guard trial.hasPrefix("--") else { return "" }
    let name = trial.prefix { $0 != "(" }
    return name[...(name.lastIndex(of: " ") ?? name.startIndex)]
  }
}

/// What became of one trial, for `Verdicts.record`.
public struct TrialResult: Sendable {
  public let subject, trial: String
  /// Nil where all was well.
  public let failure: (outcome: Verdict.Outcome, reason: String)?

  public init(
    subject: String, trial: String, failure: (outcome: Verdict.Outcome, reason: String)? = nil
  ) {
    self.subject = subject
    self.trial = trial
    self.failure = failure
  }
}

/// What is known to fail on one device, remembered on disk until it is seen to work.
///
/// The key holds everything that a verdict depends on: the device, its driver, and what was run. When any of it changes,
/// nothing is known. Where nothing can be stored, verdicts hold for this value alone.
public struct Verdicts: Sendable {
  /// In the order in which they were found.
  public private(set) var all: [Verdict] = []
  /// When everything was last tried, in seconds since 1970; nil before that.
  public private(set) var checked: Int?
  package let key: Fingerprint
  private let cache: DiskCache

  /// What is remembered under `key`, with what other processes left behind when they ended while they tried something.
  package init(_ key: Fingerprint, cache: DiskCache = .standard("verdicts")) {
    Sentinel.collect(into: cache)
    self.init(uncollected: key, cache: cache)
  }

  init(uncollected key: Fingerprint, cache: DiskCache) {
    self.key = key
    self.cache = cache
    load()
  }

  /// What is not to be used: the first proof of each subject.
  public var disabled: [Verdict] {
    var seen: Set<String> = []
    return all.filter { $0.isProof && seen.insert($0.subject).inserted }
  }

  /// Why `subject` is not to be used; nil when it may be.
  public func objection(to subject: String) -> Verdict? {
    all.first { $0.subject == subject && $0.isProof }
  }

  /// True when a process has ended once while it tried this: it is to be waited for.
  package func suspects(_ subject: String, _ trial: String) -> Bool {
    all.contains { $0.subject == subject && $0.trial == trial && !$0.isProof }
  }

  // MARK: - Changes

  /// Replaces everything, in memory alone.
  package mutating func replace(_ verdicts: [Verdict]) { all = verdicts }

  /// Remembers that something failed.
  public mutating func insert(_ verdict: Verdict) {
    change { $0.put(verdict) }
  }

  /// Forgets a suspicion: what ended a process before has worked now.
  package mutating func acquit(_ subject: String, _ trial: String) {
    guard suspects(subject, trial) else { return }
    change { $0.all.removeAll { $0.subject == subject && $0.trial == trial && !$0.isProof } }
  }

  /// Takes in what a run has shown, of as many trials as it made.
  ///
  /// What failed is remembered, what passed is forgotten; so a run of a few trials forgets these alone. `known` names the
  /// trials that prove a subject: when all of them passed, a verdict on what can be tried no more (a suspicion, or a case
  /// that there was) is forgotten too; `others` can still be tried. `isWhole` says that everything was tried.
  public mutating func record(
    _ results: [TrialResult], known: [String: Set<String>], others: Set<String> = [], isWhole: Bool = false
  ) {
    var passed: [String: Set<String>] = [:]
    var failed: [Verdict] = []
    for result in results {
      if let failure = result.failure {
        failed.append(
          Verdict(
            subject: result.subject, trial: result.trial, outcome: failure.outcome, reason: failure.reason))
      } else {
        passed[result.subject, default: []].insert(result.trial)
      }
    }
    change { [passed, failed] verdicts in
      verdicts.all.removeAll { verdict in
        guard let passed = passed[verdict.subject] else { return false }
        if passed.contains(verdict.trial) { return true }
        guard let trials = known[verdict.subject], !trials.contains(verdict.trial),
          !others.contains(verdict.trial)
        else { return false }
        return trials.isSubset(of: passed)
      }
      for verdict in failed { verdicts.put(verdict) }
      if isWhole { verdicts.checked = now() }
    }
  }

  /// One more suspicion; two make a proof.
  mutating func suspect(_ subject: String, _ trial: String, _ reason: String) {
    change { verdicts in
      let before = verdicts.all.first { $0.subject == subject && $0.trial == trial }?.count ?? 0
      verdicts.put(
        Verdict(
          subject: subject, trial: trial, outcome: .crashed, reason: reason,
          count: min(before + 1, Verdict.proof)
        ))
    }
  }

  private mutating func put(_ verdict: Verdict) {
    all.removeAll { $0.subject == verdict.subject && $0.trial == verdict.trial }
    all.append(verdict)
  }

  private mutating func change(_ body: (inout Verdicts) -> Void) {
    cache.exclusively {
      load()
      body(&self)
      cache.store(key, Array(encoded.utf8))
    }
  }

  // MARK: - The file

  /// Replaces everything by what is on disk, where something is.
  private mutating func load() {
    guard let bytes = cache.load(key) else { return }
    let lines = String(decoding: bytes, as: UTF8.self).split(
      separator: "\n", omittingEmptySubsequences: false)
    let read = lines.dropFirst().map { Verdict(line: $0) }
    guard let first = lines.first, !read.contains(nil) else { return }
    checked = Int(first)
    all = read.compactMap { $0 }
  }

  private var encoded: String {
    ([checked.map { "\($0)" } ?? "never"] + all.map(\.line)).joined(separator: "\n")
  }
}

extension Verdict {
  fileprivate var line: String {
    [subject, trial, outcome.rawValue, "\(time)", "\(count)", reason].map(Verdict.plain).joined(
      separator: "\t")
  }

  fileprivate init?(line: Substring) {
    let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    guard fields.count == 6, let outcome = Outcome(rawValue: fields[2]), let time = Int(fields[3]),
      let count = Int(fields[4])
    else { return nil }
    self.init(
      subject: fields[0], trial: fields[1], outcome: outcome, reason: fields[5], time: time, count: count)
  }

  /// One line without the bytes that part fields; a compiler's words may be long.
  private static func plain(_ text: String) -> String {
    var plain = String.UnicodeScalarView()
    for scalar in text.unicodeScalars.prefix(500) {
      plain.append(scalar.properties.generalCategory == .control ? " " : scalar)
    }
    return String(plain)
  }
}
