import FlashCL
import FlashCLFiles
import FlashCLTokenizers

/// A conversation with a model: its history stays in the key-value cache, so that each turn computes new tokens only.
///
///     let session = try ChatSession(model, system: "Answer in one sentence.")
///     let answer = try session.say("Who wrote Faust?")
///     while let event = try answer.next() { print(event.text, terminator: "") }
///
/// What the template writes need not extend what the cache holds (it may leave earlier thoughts out): the longest common
/// beginning is kept.
public final class ChatSession {
  public private(set) var conversation: Conversation
  /// The most tokens of the conversation with its answers: a limit, for which no memory is taken before they come.
  public var capacity: Int { state.capacity }
  private let model: LanguageModel
  private let template: ChatTemplate
  private let options: GenerationOptions
  private let state: DecoderState
  private let beginning: Conversation
  private let ends: Set<Int32>
  /// The tokens whose keys and values are in the cache.
  private var cached: [Int32] = []
  private var turns: UInt64 = 0

  /// Memory is taken as the conversation grows, up to `context` tokens; without a number as many as the model has.
  ///
  /// Throws where the model has no chat template, or no such context.
  public init(
    _ model: LanguageModel, system: String? = nil, context: Int? = nil, reserve: Int = 256,
    _ options: GenerationOptions = .init()
  ) throws {
    try options.validate()
    self.model = model
    self.options = options
    template = try model.chatTemplate()
    state = try DecoderState(
      model.decoder, capacity: context ?? model.decoder.unstretchedLength, reserve: reserve,
      cacheType: options.cacheType)
    let end = try template.endOfTurn.flatMap { try model.tokenizer().id(ofPiece: $0) }
    ends = model.special.ends.union(end.map { [$0] } ?? [])
    beginning = Conversation(system.map { [Conversation.message("system", $0)] } ?? [])
    conversation = beginning
  }

  /// Goes back to the beginning: nothing but the system's message.
  public func reset() { conversation = beginning }

  /// Goes on with another conversation; throws, and keeps the old one, where the template refuses it or it does not fit.
  public func resume(_ conversation: Conversation) throws {
    if !conversation.messages.isEmpty { _ = try tokens(conversation, addGenerationPrompt: false) }
    self.conversation = conversation
  }

  private func tokens(_ conversation: Conversation, addGenerationPrompt: Bool) throws -> [Int32] {
    let text = try template.render(conversation, addGenerationPrompt: addGenerationPrompt)
    let ids = try model.tokenizer().ids(ofRendered: text)
    guard ids.count <= capacity else {
      throw ModelError(
        "the context is full: the conversation has \(ids.count) tokens, and there is room for \(capacity)")
    }
    return ids
  }

  /// Adds what the user says; the answer comes token by token. Where that throws, the conversation is as it was.
  public func say(_ text: String) throws -> Answer {
    var next = conversation
    next.messages.append(Conversation.message("user", text))
    let ids = try tokens(next, addGenerationPrompt: true)
    guard !ids.isEmpty else { throw ModelError("the chat template writes nothing") }
    var common = zip(ids, cached).prefix { $0 == $1 }.count
    common = min(common, ids.count - 1, state.count)  // the last token is fed, for its logits
    try state.keep(common)
    cached.removeSubrange(min(common, cached.count)...)
    var options = options
    options.sampling.seed &+= turns
    let generation = try Generation(model, ids, options, state, ends: ends)
    return Answer(generation, of: self, to: next, kept: common)
  }

  /// What the model says in one turn.
  public final class Answer {
    public private(set) var text = ""
    public private(set) var finish: FinishReason?
    /// Tokens of the conversation that were in the cache, and that were not.
    public let kept: Int
    public var computed: Int { generation.prompt.count - kept }
    public let generation: Generation
    private let session: ChatSession
    private let conversation: Conversation
    private var isOver = false

    fileprivate init(
      _ generation: Generation, of session: ChatSession, to conversation: Conversation, kept: Int
    ) {
      self.generation = generation
      self.session = session
      self.conversation = conversation
      self.kept = kept
    }

    /// True where the answer ended because the session has no more room.
    public var filledContext: Bool {
      finish == .length && generation.prompt.count + generation.tokens.count > session.capacity
    }

    /// The next token, or nil after the last.
    ///
    /// Where `isStopped`, which is asked between tokens and while the prompt is fed, says so, the answer ends as by `stop`.
    public func next(unless isStopped: (() -> Bool)? = nil) throws -> GenerationEvent? {
      if isOver { return nil }
      guard isStopped?() != true, let event = try generation.next(unless: isStopped) else {
        stop()
        return nil
      }
      text += event.text
      if let reason = event.finish {
        finish = reason
        end()
      }
      return event
    }

    /// True where the answer was stopped before its first token: the conversation is as it was before the message.
    public var isTakenBack: Bool { isOver && generation.tokens.isEmpty }

    /// Ends the answer where it is: what was said of it stays in the conversation.
    public func stop() { if !isOver { end() } }

    private func end() {
      isOver = true
      let fed = generation.prompt + generation.tokens
      session.cached = Array(fed.prefix(session.state.count))
      if isTakenBack { return }
      session.turns += 1
      session.conversation = conversation
      session.conversation.messages.append(Conversation.message("assistant", text))
    }
  }
}
