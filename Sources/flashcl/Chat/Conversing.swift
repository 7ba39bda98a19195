import FlashCLFiles
import FlashCLModels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The lines of a session: messages, and what begins with a slash.
struct Conversing {
  private let session: ChatSession
  private let answer: (ChatSession.Answer) throws -> Void
  private let isInteractive = isatty(0) == 1

  init(with session: ChatSession, answer: @escaping (ChatSession.Answer) throws -> Void) {
    self.session = session
    self.answer = answer
  }

  func run(first message: String?) throws {
    if isInteractive { Interrupt.hint() }
    if let message { try attempt { try answer(session.say(message)) } }
    var input = InputLines(prompt: isInteractive && Terminal.isWatched ? "> " : "")
    while let line = try input.next() {
      guard let text = String(validating: line, as: UTF8.self) else {
        try attempt { throw Failure("the message is not valid UTF-8") }
        continue
      }
      let words = text.split(separator: " ", maxSplits: 1)
      guard let first = words.first else { continue }
      if first == "/exit" { return }
      try attempt {
        if first.hasPrefix("/") && !first.hasPrefix("//") {
          try command(String(first), words.count > 1 ? String(words[1]) : nil)
        } else {
          try answer(session.say(text.hasPrefix("//") ? String(text.dropFirst()) : text))
        }
      }
    }
  }

  /// A person is told what failed, and goes on; a script ends.
  private func attempt(_ body: () throws -> Void) throws {
    do {
      try body()
    } catch  where isInteractive && !(error is ClosedPipe) {
      Terminal.say("flashcl: \(error)")
    }
  }

  private func command(_ name: String, _ argument: String?) throws {
    func file() throws -> String {
      guard let argument else { throw Failure("\(name) needs the name of a file") }
      return argument
    }
    switch name {
    case "/save":
      try Output.json(session.conversation.json, toFile: file())
      Terminal.say("saved \(count(session.conversation.messages.count, "message")) to \(argument ?? "")")
    case "/load":
      let path = try file()
      try session.resume(Conversation(JSON(MappedFile(path)), name: path))
      Terminal.say("loaded \(count(session.conversation.messages.count, "message")) from \(path)")
    case "/reset": session.reset()
    default: throw Failure("\(name) is unknown; there are /save FILE, /load FILE, /reset and /exit")
    }
  }
}

/// Lines of standard input, as they come.
private struct InputLines {
  let prompt: String
  private var buffer: [UInt8] = []
  private var isAtEnd = false

  init(prompt: String) { self.prompt = prompt }

  /// The next line without its end, or nil after the last.
  mutating func next() throws -> [UInt8]? {
    Terminal.show(prompt)
    while true {
      if let end = buffer.firstIndex(of: 10) {
        defer { buffer.removeSubrange(...end) }
        return Array(buffer[..<end])
      }
      if isAtEnd {
        defer { buffer = [] }
        return buffer.isEmpty ? nil : buffer
      }
      var piece = [UInt8](repeating: 0, count: 1 << 12)
      let count = read(0, &piece, piece.count)
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw Failure("standard input cannot be read") }
      if count == 0 { isAtEnd = true }
      buffer += piece[..<count]
    }
  }
}

/// Ctrl-C: while an answer is written the first one ends the answer, a second one the command; where a person is asked for
/// a message it tells how to leave.
enum Interrupt {
  private typealias Handler = @convention(c) (Int32) -> Void

  /// Set by a handler, which may do no more than that.
  nonisolated(unsafe) private static var asked: sig_atomic_t = 0
  /// What ended the command before the session began.
  nonisolated(unsafe) private static var ending: Handler?

  static var isAsked: Bool { asked != 0 }

  /// From here on Ctrl-C between answers ends nothing.
  static func hint() {
    let before = signal(SIGINT) { _ in writeHint() }
    if ending == nil { ending = before }
  }

  static func caught(_ body: () throws -> Void) throws {
    asked = 0
    let around = signal(SIGINT) { number in
      guard Interrupt.asked == 0 else {
        _ = signal(number, Interrupt.ending)
        raise(number)
        return
      }
      Interrupt.asked = 1
    }
    if ending == nil { ending = around }
    defer { _ = signal(SIGINT, around) }
    try body()
  }
}

/// Written as it is: objects with their members, numbers as numbers.
extension JSON: Encodable {
  private struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(_ text: String) { stringValue = text }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public func encode(to encoder: any Encoder) throws {
    switch self {
    case .object(let members):
      var container = encoder.container(keyedBy: Key.self)
      for member in members { try container.encode(member.value, forKey: Key(member.key.string)) }
    case .array(let items):
      var container = encoder.unkeyedContainer()
      for item in items { try container.encode(item) }
    default:
      var container = encoder.singleValueContainer()
      switch self {
      case .bool(let flag): try container.encode(flag)
      case .int(let number): try container.encode(number)
      case .double(let number): try container.encode(number)
      case .string(let text): try container.encode(text.string)
      default: try container.encodeNil()
      }
    }
  }
}

/// Written by a signal handler, which may allocate nothing.
private func writeHint() {
  let text: StaticString = "\n(/exit ends the session)\n> "
  _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
}
