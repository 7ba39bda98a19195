#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// This program, started once more for what a driver may not survive; it answers in lines on its standard output.
///
/// Its standard error is dropped (a dying compiler prints pages), and its standard input is a pipe that ends with this
/// process, so that it never outlives it.
final class Child {
  enum End: CustomStringConvertible {
    case exited(Int32), crashed(Int32), hung(Double)

    var description: String {
      if case .crashed = self { return "crashed: \(reason)" }
      return reason
    }

    var reason: String {
      switch self {
      case .exited(let status): "ended with status \(status)"
      case .crashed(let signal): "signal \(signal) (\(String(cString: strsignal(signal))))"
      case .hung(let seconds): "no answer within \(fixed(seconds, seconds < 10 ? 1 : 0)) s"
      }
    }
  }

  private let process: pid_t
  private let lifeline, answers: Int32
  private let limit: Double
  private var bytes: [UInt8] = []  // of lines that nobody took yet
  private var hasEnded = false
  private(set) var hasHung = false
  /// No line came within the time that was left for it.
  private(set) var isLate = false
  /// Seconds until a process that was killed is gone, unless a driver holds it.
  private static let patience = 5.0

  /// `limit`: seconds until the next line, after which the child is ended.
  init(_ arguments: [String], limit: Double) throws {
    var (input, output): ([Int32], [Int32]) = ([-1, -1], [-1, -1])
    guard pipe(&input) == 0, pipe(&output) == 0 else {
      throw Failure("no pipe: \(String(cString: strerror(errno)))")
    }
    for end in input + output { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, input[0], 0)
    posix_spawn_file_actions_adddup2(&actions, output[1], 1)
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
    // It starts with every signal at its default and none blocked, whatever this process does with them.
    var (attributes, none, all) = (posix_spawnattr_t(), sigset_t(), sigset_t())
    sigemptyset(&none)
    sigfillset(&all)
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setsigdefault(&attributes, &all)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
    // Swift's own account of a crash takes a second, and nobody would read it.
    let environment = ProcessInfo.processInfo.environment.merging(["SWIFT_BACKTRACE": "enable=no"]) { $1 }
      .map { "\($0)=\($1)" }
    var child: pid_t = 0
    let code = (["flashcl"] + arguments).withCStrings { arguments in
      environment.withCStrings { environment in
        posix_spawn(&child, "/proc/self/exe", &actions, &attributes, arguments, environment)
      }
    }
    close(input[0])
    close(output[1])
    (lifeline, answers, process, self.limit) = (input[1], output[0], child, limit)
    if code != 0 {
      hasEnded = true
      throw Failure("a child process cannot be started: \(String(cString: strerror(code)))")
    }
  }

  deinit {
    if !hasEnded {
      isLate = true  // nobody wants the rest
      _ = end()
    }
    close(lifeline)
    close(answers)
  }

  /// The next line; nil when there comes none, within `seconds` where those are fewer than the limit.
  func next(within seconds: Double = .infinity) -> String? {
    let clock = ContinuousClock()
    let deadline = clock.now + .seconds(min(limit, seconds))
    while true {
      if let end = bytes.firstIndex(of: 10) {
        defer { bytes.removeSubrange(...end) }
        return String(decoding: bytes[..<end], as: UTF8.self)
      }
      let rest = (deadline - clock.now) / .seconds(1)
      var waiting = pollfd(fd: answers, events: Int16(POLLIN), revents: 0)
      let ready = rest > 0 ? poll(&waiting, 1, Int32(min(rest * 1000 + 1, 1e9))) : 0
      if ready < 0 && errno == EINTR { continue }
      if ready == 0 {
        if rest > 0 { continue }
        if seconds < limit { isLate = true } else { hasHung = true }
        return nil
      }
      var piece = [UInt8](repeating: 0, count: 1 << 16)
      let count = read(answers, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      if count <= 0 { return nil }
      bytes += piece[..<count]
    }
  }

  /// How the child ended; one that did not is ended now.
  func end() -> End {
    hasEnded = true
    let isKilled = hasHung || isLate
    if isKilled { kill(process, SIGKILL) }
    var status: Int32 = 0
    let clock = ContinuousClock()
    let deadline = clock.now + .seconds(isKilled ? min(limit, Self.patience) : limit)
    // A driver that hangs in the kernel keeps a process that was killed; no one waits for it for ever.
    while true {
      let done = waitpid(process, &status, WNOHANG)
      if done == process || (done < 0 && errno != EINTR) { break }
      if clock.now > deadline {
        kill(process, SIGKILL)
        hasHung = true
        break
      }
      usleep(2000)
    }
    if hasHung { return .hung(limit) }
    return status & 0x7f == 0 ? .exited(status >> 8 & 0xff) : .crashed(status & 0x7f)
  }

  /// Ends this process when its parent does: for the child's side.
  static func leaveWithParent() {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { _ in
        var byte: UInt8 = 0
        while true {
          let count = read(0, &byte, 1)
          if count == 0 || (count < 0 && errno != EINTR) { break }
        }
        _exit(1)
      }, nil)
  }
}

extension [String] {
  /// The strings as C wants a list of them.
  fileprivate func withCStrings<R>(_ body: ([UnsafeMutablePointer<CChar>?]) -> R) -> R {
    let copies = map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
  }
}
