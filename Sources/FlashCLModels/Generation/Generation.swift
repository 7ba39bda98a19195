import FlashCL
import FlashCLTokenizers

/// How to continue a prompt.
public struct GenerationOptions: Sendable {
  /// The most tokens to generate; 1 or more.
  public var maxTokens = 256
  /// How keys and values are kept: f32, f16, bf16, or q8_0 where heads are multiples of 32. f16 and bf16 take half of f32's memory, and
  /// let matrix units that a device has read them; queries are then rounded likewise.
  public var cacheType = ElementType.f32
  public var sampling = SamplingOptions()
  /// Texts that end generation; they are not part of the result.
  public var stop: [String] = []

  public init() {}

  /// Throws unless every number is in its range.
  public func validate() throws {
    guard maxTokens > 0 else { throw ModelError("at least 1 token must be asked for, not \(maxTokens)") }
    try sampling.validate()
  }
}

/// Why generation ended.
public enum FinishReason: String, Sendable, Codable {
  /// A token that ends a text, or a stop string.
  case stop
  /// As many tokens as were asked for, or as fit in the context.
  case length
}

/// One generated token and the text that it completed; the last event has a reason.
public struct GenerationEvent: Sendable {
  public let id: Int32
  /// Whole characters only; empty while a character or a possible stop string is incomplete.
  public let text: String
  public let finish: FinishReason?
}

/// One run of a model: prefill, then a token at each `next`, until a reason to stop.
public final class Generation {
  public let prompt: [Int32]
  public private(set) var tokens: [Int32] = []
  private let state: DecoderState
  private let limit: Int
  private let ends: Set<Int32>
  private var sampler: Sampler
  private var decoder: StreamingDecoder
  private var stops: StopStrings
  private var isFinished = false

  /// Throws where the prompt does not fit in the context.
  public convenience init(_ model: LanguageModel, _ prompt: [Int32], _ options: GenerationOptions) throws {
    let context = model.decoder.contextLength
    guard !prompt.isEmpty else { throw ModelError("the prompt has no tokens") }
    guard prompt.count <= context else {
      throw ModelError("the prompt has \(prompt.count) tokens, the model's context \(context)")
    }
    try options.validate()
    let limit = min(options.maxTokens, context - prompt.count + 1)
    let state = try DecoderState(
      model.decoder, capacity: min(context, prompt.count + limit), cacheType: options.cacheType)
    try self.init(model, prompt, options, state, ends: model.special.ends)
  }

  /// Goes on from a state that holds the beginning of the prompt, and not all of it.
  init(
    _ model: LanguageModel, _ prompt: [Int32], _ options: GenerationOptions, _ state: DecoderState,
    ends: Set<Int32>
  ) throws {
    self.prompt = prompt
    self.state = state
    self.ends = ends
    // The last token is not fed, so that a full context still yields one.
    limit = min(options.maxTokens, state.capacity - prompt.count + 1)
    sampler = try Sampler(options.sampling)
    decoder = StreamingDecoder(try model.tokenizer(), skipSpecial: true)
    stops = StopStrings(options.stop)
  }

  /// The next token, or nil after the last; nil too where `isStopped`, which is asked while the prompt is fed, said so.
  public func next(unless isStopped: (() -> Bool)? = nil) throws -> GenerationEvent? {
    if isFinished { return nil }
    guard
      let prediction = try tokens.last.map({ try state.prediction(after: [$0]) })
        ?? state.prefill(Array(prompt[state.count...]), unless: isStopped)
    else { return nil }
    let id = try sampler.pick(prediction, history: prompt + tokens)
    tokens.append(id)
    if ends.contains(id) { return finish(id, .stop, stops.push(decoder.finish()).text) }
    let (text, stopped) = stops.push(try decoder.push(id))
    if stopped { return finish(id, .stop, text, flush: false) }
    if tokens.count == limit {
      let (rest, stopped) = stops.push(decoder.finish())
      return finish(id, stopped ? .stop : .length, text + rest, flush: !stopped)
    }
    return GenerationEvent(id: id, text: text, finish: nil)
  }

  private func finish(_ id: Int32, _ reason: FinishReason, _ text: String, flush: Bool = true)
    -> GenerationEvent
  {
    isFinished = true
    return GenerationEvent(id: id, text: flush ? text + stops.finish() : text, finish: reason)
  }
}

/// Finds stop strings in streamed text, and holds back what may be the beginning of one.
struct StopStrings {
  private let stops: [[UInt8]]
  private var held: [UInt8] = []

  init(_ stops: [String]) { self.stops = stops.map { Array($0.utf8) }.filter { !$0.isEmpty } }

  /// The text that is certain now, up to the first stop string, and whether one was found.
  mutating func push(_ text: String) -> (text: String, stopped: Bool) {
    held += text.utf8
    // The earliest end of a stop string wins, as if characters came one by one.
    for end in held.indices.map({ $0 + 1 }) {
      for stop in stops where held[..<end].suffix(stop.count).elementsEqual(stop) {
        defer { held = [] }
        return (String(decoding: held[..<(end - stop.count)], as: UTF8.self), true)
      }
    }
    let keep = stops.flatMap { stop in
      (0..<stop.count).filter { held.suffix($0).elementsEqual(stop.prefix($0)) }
    }
    let certain = held.count - (keep.max() ?? 0)
    defer { held.removeFirst(certain) }
    return (String(decoding: held[..<certain], as: UTF8.self), false)
  }

  /// What was held back, at the end of the text.
  mutating func finish() -> String {
    defer { held = [] }
    return String(decoding: held, as: UTF8.self)
  }
}
