import FlashCL
import FlashCLModels
import Foundation
import Testing

/// Conversations with a tiny Llama, whose template writes one token for each character.
@Suite final class ChatSessionTests {
  private let folder = FileManager.default.temporaryDirectory.appending(path: "flashcl-\(UUID().uuidString)")

  init() throws {
    try FileManager.default.copyItem(at: Fixtures.folder.appending(path: "llama-tied"), to: folder)
    var pieces = ["<unk>", "<s>", "</s>"] + (33...126).map { String(UnicodeScalar(UInt8($0))) } + ["Ġ", "Ċ"]
    pieces += (pieces.count..<151).map { "piece\($0)" }  // what the model may say beside
    try write(
      "tokenizer.json",
      [
        "model": [
          "type": "BPE", "vocab": Dictionary(uniqueKeysWithValues: pieces.enumerated().map { ($1, $0) }),
          "merges": [String](),
        ],
        "pre_tokenizer": ["type": "ByteLevel", "add_prefix_space": false, "use_regex": true],
        "added_tokens": (0..<3).map { ["id": $0, "content": pieces[$0], "special": true] as [String: Any] },
      ])
    try write(
      "tokenizer_config.json",
      [
        "chat_template": "{% for m in messages %}<s>{{ m.role[0] }}{{ m.content }}{% endfor %}"
          + "{% if add_generation_prompt %}<s>a{% endif %}"
      ])
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  private func write(_ name: String, _ json: [String: Any]) throws {
    try JSONSerialization.data(withJSONObject: json).write(to: folder.appending(path: name))
  }

  private func model(_ place: Place) throws -> LanguageModel {
    try LanguageModel(folder.path, on: place.backend())
  }

  private static func options(tokens: Int, temperature: Float = 0) -> GenerationOptions {
    var options = GenerationOptions()
    options.maxTokens = tokens
    options.sampling.temperature = temperature
    return options
  }

  /// The tokens of the whole answer.
  private func tokens(_ session: ChatSession, _ message: String) throws -> [Int32] {
    let answer = try session.say(message)
    while try answer.next() != nil {}
    return answer.generation.tokens
  }

  // MARK: - The cache grows

  @Test(arguments: Place.available)
  func growthChangesNoToken(place: Place) throws {
    let model = try model(place)
    let grown = try ChatSession(model, reserve: 1, Self.options(tokens: 9))
    let whole = try ChatSession(model, reserve: 128, Self.options(tokens: 9))
    for message in ["hello", "and a longer one", "x", "the last one of them all"] {
      #expect(try tokens(grown, message) == tokens(whole, message))
    }
    #expect(grown.conversation.messages.count == 8)
    // To the bit, from before the first block is full to the end of the context.
    let ids = try Fixtures.integers("llama-tied/tokens.npy").elements
    func logits(reserve: Int) throws -> [[Float]] {
      let state = try DecoderState(model.decoder, capacity: ids.count, reserve: reserve)
      return try [model.decoder.backend.floats(state.prefill(Array(ids[..<9])))]
        + ids[9...].map { try model.decoder.backend.floats(state.decode($0)) }
    }
    #expect(try logits(reserve: 1) == logits(reserve: ids.count))
  }

  /// A context of 200,000 tokens would be a cache of 77 MB, and a table of 13 MB of angles.
  @Test(arguments: Place.available.filter { $0 != .cpu })
  func memoryFollowsWhatIsUsed(place: Place) throws {
    let config = try JSONSerialization.jsonObject(
      with: Data(contentsOf: folder.appending(path: "config.json")))
    var changed = try #require(config as? [String: Any])
    changed["max_position_embeddings"] = 200_000
    try write("config.json", changed)
    let model = try model(place)
    let session = try ChatSession(model, Self.options(tokens: 3))
    #expect(session.capacity == 200_000)
    #expect(try tokens(session, "hello").count == 3)
    #expect(try #require(model.decoder.backend.peakBytes) < 5_000_000)
  }

  @Test(arguments: Place.available)
  func aFullContextEndsAnswersAndKeepsTheSession(place: Place) throws {
    let session = try ChatSession(model(place), context: 16, Self.options(tokens: 99))
    let first = try tokens(session, "hello")
    // The prompt has nine tokens, and the last token of an answer is not fed.
    #expect(first.count == 8)
    #expect(throws: ModelError.self) { try session.say("more") }
    let error = #expect(throws: ModelError.self) { try session.say("more") }
    #expect(error?.description.contains("the context is full") == true)
    session.reset()
    let answer = try session.say("hello")
    while try answer.next() != nil {}
    #expect(answer.filledContext && answer.generation.tokens == first)
  }

  // MARK: - Answers are stopped

  /// Stopped after so many looks, within the prompt's layers: the message was never said.
  @Test(arguments: [0, 1, 3], Place.available)
  func aStoppedPromptIsTakenBack(looks: Int, place: Place) throws {
    let model = try model(place)
    let options = Self.options(tokens: 7, temperature: 1)
    let (session, other) = (try ChatSession(model, options), try ChatSession(model, options))
    #expect(try tokens(session, "hello") == tokens(other, "hello"))
    var count = 0
    let answer = try session.say("a message that is never read to its end")
    let event = try answer.next {
      count += 1
      return count > looks
    }
    #expect(event == nil && answer.isTakenBack && answer.text.isEmpty)
    #expect(count == looks + 1)
    #expect(try answer.next() == nil)
    #expect(session.conversation.messages.count == 2)
    #expect(try tokens(session, "hello again") == tokens(other, "hello again"))
  }

  @Test func aStoppedAnswerStays() throws {
    let session = try ChatSession(model(.cpu), Self.options(tokens: 7))
    let answer = try session.say("hello")
    _ = try answer.next()
    _ = try answer.next()
    #expect(try answer.next { true } == nil)
    #expect(!answer.isTakenBack && answer.generation.tokens.count == 2)
    #expect(session.conversation.messages.count == 2)
  }

  /// Whole pieces of a stopped prompt stay in the cache, and what follows them is as if nothing had been stopped.
  @Test(arguments: Place.available)
  func piecesBeforeAStopStay(place: Place) throws {
    let ids = try Fixtures.integers("llama-tied/tokens.npy").elements
    let truth = try Fixtures.floats("llama-tied/logits.npy")
    let decoder = try loadDecoder(Fixtures.path("llama-tied"), on: place.backend())
    let state = try DecoderState(decoder, capacity: ids.count, reserve: 1, prefillRows: 7)
    var looks = 0  // four in each piece: after the embedding and after three layers
    let stopped = try state.prefill(Array(ids[..<25])) {
      looks += 1
      return looks == 10
    }
    #expect(stopped == nil && state.count == 14)
    let last = try #require(try state.prefill(Array(ids[14..<25]), unless: { false }))
    let vocabulary = truth.shape[1]
    #expect(
      try distance(decoder.backend.floats(last.logits()), truth.elements[24 * vocabulary..<25 * vocabulary])
        <= 1e-4)
  }
}
