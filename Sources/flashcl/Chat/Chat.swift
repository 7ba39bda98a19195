import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels

struct Chat: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chat", abstract: "Talks with a model.",
    discussion: """
      Each line is a message; the answer is written as it comes. Ctrl-C ends an answer and keeps the session. Lines that \
      begin with a slash are for the session: /save FILE and /load FILE keep conversations as JSON, /reset begins anew, \
      /exit ends; two slashes begin a message with one. Without a terminal, lines are read from standard input, and the \
      first failure ends the command.
      Example: flashcl chat --model SmolLM2.gguf --system 'Answer in one sentence.'
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption

  @Option(parsing: .unconditional, help: "What the model is told before all else.")
  var system: String?
  @Option(parsing: .unconditional, help: "The first message.")
  var message: String?
  @Flag(help: "Write the answer to --message, and end.")
  var once = false
  @Option(
    parsing: .unconditional,
    help: "The most tokens of the conversation, the model's own unless given; memory is taken as they come.")
  var context: Int?
  @OptionGroup var sampling: GenerationArguments

  func validate() throws {
    if once && message == nil { throw ValidationError("--once needs a --message") }
    if output.isJSON && !once { throw ValidationError("--format json is for --once") }
    if message == "" { throw ValidationError("the message is empty") }
    if let context, context < 1 { throw ValidationError("--context must be 1 or more, not \(context)") }
  }

  func run() throws {
    let backend = try device.backend()
    // A message and an answer of any length need the same programs.
    try BuildInChild.makeReady(
      model.model, for: .init(prompt: 64, tokens: 8, options: sampling.options), on: backend)
    let language = try LanguageModel(model.model, on: backend, progress: Terminal.loading)
    let session = try ChatSession(language, system: system, context: context, sampling.options)
    if once, let message {
      let answer = try write(session.say(message), streams: !output.isJSON)
      if output.isJSON { try Output.json(Report(answer, device: backend.deviceName)) }
      return
    }
    try Conversing(with: session, answer: { _ = try write($0, streams: true) }).run(first: message)
  }

  /// Writes an answer as it comes, until its end or Ctrl-C.
  private func write(_ answer: ChatSession.Answer, streams: Bool) throws -> ChatSession.Answer {
    try Interrupt.caught {
      while let event = try answer.next(unless: { Interrupt.isAsked }) {
        if streams && !event.text.isEmpty { try Output.write(event.text) }
      }
    }
    if answer.isTakenBack { throw Failure("interrupted before the answer; the message is taken back") }
    if streams { try Output.write("\n") }
    if answer.filledContext {
      Terminal.say("flashcl: the context is full, and the answer ends there; /reset begins anew")
    }
    return answer
  }

  private struct Report: Encodable {
    let text: String
    @Nullable var finish_reason: FinishReason?
    let prompt_tokens: [Int32]
    let tokens: [Int32]
    let device: String

    init(_ answer: ChatSession.Answer, device: String) {
      text = answer.text
      finish_reason = answer.finish
      prompt_tokens = answer.generation.prompt
      tokens = answer.generation.tokens
      self.device = device
    }
  }
}
