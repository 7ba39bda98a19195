import FlashCLKernels
import FlashCLRuntime

/// What is known of the strategies on one device, and the watch over the first launch of each program.
///
/// Before a program is built the sentinel is told, and again after its launch was queued; the next time that the queue is
/// empty anyway, it has passed. A program during whose first launch a process has ended before is waited for at once,
/// alone, so that suspicion falls on none beside it.
final class Trials {
  /// Those that failed here before; a strategy that is named in a call runs all the same.
  private(set) var verdicts: Verdicts
  /// Operation and strategy of the launches that come; nil outside of operations.
  var strategy: (operation: String, name: String)? {
    didSet { abandoned = nil }
  }
  var onTrial: ((String) -> Void)?
  /// True from the making of a program until its first launch is queued.
  private(set) var isBuilding = false
  private var underWay: [(subject: String, program: String)] = []
  private var abandoned: String?  // the program whose first launch ended with an error
  private var hasObjections: Bool
  private var isOverruled = false  // by `avoid`: what is stored does not count
  private let queue: Queue

  init(_ queue: Queue) {
    self.queue = queue
    verdicts = Verdicts(Trials.key(queue.device, queue.capabilities))
    hasObjections = !verdicts.disabled.isEmpty
  }

  /// Everything that a verdict depends on: the device and its driver, how it is seen, and the kernels. A new version
  /// with other kernels knows nothing of them.
  static func key(_ device: Device, _ capabilities: Capabilities) -> Fingerprint {
    var key = kernels
    let limits = "\(device.kind) \(device.maxWorkGroup) \(device.localMemory) \(device.maxAllocation)"
    for text in device.identity + [limits, capabilities.description] { key.combine(text) }
    return key
  }

  private static let kernels: Fingerprint = {
    var key = Fingerprint()
    for index in 0..<flashcl_kernel_file_count() {
      key.combine(String(cString: flashcl_kernel_file_text(index)))
    }
    return key
  }()

  // MARK: - What failed

  /// Why a strategy is not to be chosen; nil when it may be.
  func objection(to strategy: String, of operation: String) -> Verdict? {
    hasObjections ? verdicts.objection(to: "\(operation).\(strategy)") : nil
  }

  /// Takes these strategies for failing, and no others, whatever is known; nothing is stored.
  func avoid(_ subjects: Set<String>) {
    verdicts.replace(
      subjects.sorted().map {
        Verdict(subject: $0, trial: "", outcome: .failed, reason: "in this run")
      })
    hasObjections = !subjects.isEmpty
    isOverruled = true
  }

  // MARK: - First launches

  /// What a sentinel is told of a program of the present strategy; nil outside of operations.
  func trial(of program: String) -> Trial? {
    guard let strategy else { return nil }
    var name = Fingerprint()
    name.combine(program)
    return Trial(subject: "\(strategy.operation).\(strategy.name)", program: "program \(name)")
  }

  /// Says that a program is about to be built.
  func begin(_ program: String) {
    guard let trial = trial(of: program) else { return }
    onTrial?(trial.subject)
    underWay.append((trial.subject, trial.program))
    isBuilding = true
    Sentinel.begin(verdicts.key, trial.subject, trial.program)
  }

  /// True where a process has ended while it tried something: what is tried next is tried alone.
  var hasSuspicions: Bool { verdicts.all.contains { !$0.isProof } }

  /// Says that the program was built and its first launch is queued.
  func launched() throws {
    isBuilding = false
    guard let (subject, program) = underWay.last else { return }
    Sentinel.launched(verdicts.key, subject, program)
    if verdicts.suspects(subject, program) {
      try queue.finish()
      settle()
    }
  }

  /// Says that building ended with an error: the process lives.
  func abandon() {
    guard isBuilding, let (_, program) = underWay.popLast() else { return }
    isBuilding = false
    abandoned = program
    Sentinel.settle(verdicts.key, program)
  }

  /// Remembers that the driver refuses the program that a strategy needed; nil where the error says nothing of the program,
  /// or the strategy was known to fail.
  func refused(_ error: any Error) -> Verdict? {
    defer { abandoned = nil }
    guard let program = abandoned, let strategy, let error = error as? CLError, error.refusesProgram,
      objection(to: strategy.name, of: strategy.operation) == nil
    else { return nil }
    let verdict = Verdict(
      subject: "\(strategy.operation).\(strategy.name)", trial: program, outcome: .failed,
      reason: "\(error)")
    if isOverruled { verdicts.replace(verdicts.all + [verdict]) } else { verdicts.insert(verdict) }
    hasObjections = true
    return verdict
  }

  /// Says that everything that was queued has finished.
  func settle() {
    if underWay.isEmpty { return }
    Sentinel.settle(verdicts.key)
    for (subject, program) in underWay { verdicts.acquit(subject, program) }
    underWay = []
    isBuilding = false
  }

  /// Waits for what is under way, when nobody will any more.
  func finish() {
    if underWay.isEmpty { return }
    try? queue.finish()
    settle()
  }
}
