import ArgumentParser

/// The end of a time that was given, or of none: what runs then comes to its end, and nothing more begins.
struct Deadline {
  /// What was given, from the start of the command; nil for as long as it takes.
  let seconds: Double?
  private let end: ContinuousClock.Instant?

  init(_ seconds: Double?) {
    self.seconds = seconds
    end = seconds.map { ContinuousClock.now + .seconds($0) }
  }

  /// Seconds that what runs in a child has left when the time is over.
  static let grace = 5.0

  /// Seconds that are left, 0 at least.
  var rest: Double { end.map { max(0, $0.seconds(since: .now)) } ?? .infinity }

  var isOver: Bool { rest <= 0 }

  /// Whether less is left than the `needed` seconds that the next piece of work takes; they are asked for while some are.
  func isOver(needed: @autoclosure () throws -> Double) rethrows -> Bool {
    if end == nil || isOver { return isOver }
    return try rest <= needed()
  }

  /// `--seconds` as it was written; throws for what is no time.
  static func parse(_ text: String) throws -> Double {
    guard let seconds = Double(text), seconds > 0, seconds <= 1e6 else {
      throw ValidationError("--seconds must be above 0 and at most 1000000, not '\(text)'")
    }
    return seconds
  }
}

/// What a report says of work that its time did not allow.
struct Stop: Equatable {
  /// The time that was given.
  let seconds: Double
  let ran: Int
  /// Of how many; nil where the time was over before they were counted.
  let total: Int?

  /// Nil where everything ran.
  init?(_ deadline: Deadline, ran: Int, of total: Int?) {
    guard let seconds = deadline.seconds, total.map({ ran < $0 }) ?? true else { return nil }
    (self.seconds, self.ran, self.total) = (seconds, ran, total)
  }

  var notRun: Int? { total.map { $0 - ran } }

  /// Under a plot.
  static func notes(_ stop: Stop?, _ noun: String) -> [String] {
    stop.map { ["This is a part: \($0.text(noun))."] } ?? []
  }

  /// `noun` is what is counted, in the singular.
  func text(_ noun: String) -> String {
    let time = "stopped after \(seconds == seconds.rounded() ? fixed(seconds, 0) : short(seconds)) s"
    guard let total else { return "\(time), before the first \(noun)" }
    return "\(time) with \(ran) of \(count(total, noun)) done; the rest did not run"
  }
}
