import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLTokenizers
import Foundation
import Testing

/// SmolLM2 against `transformers` on the same file dequantised to f32 (Fixtures/make_smollm2.py).
@Suite(.enabled(if: Fetched.hasSmolLM2, "SmolLM2 is not there: make models"), .serialized)
struct SmolLM2Tests {
  struct Prompt: Sendable, CustomStringConvertible {
    let name: String
    let text: String
    let ids: [Int32]
    let best: [Int32]
    let margin: [Float]
    let continuation: String
    var description: String { name }
  }

  static let prompts: [Prompt] = {
    func integers(_ json: JSON?) -> [Int32] { (json?.array ?? []).compactMap { $0.int.map { Int32($0) } } }
    return ((try? Fixtures.json("smollm2/prompts.json"))?.array ?? []).map { prompt in
      Prompt(
        name: prompt["name"]?.string ?? "", text: prompt["text"]?.string ?? "", ids: integers(prompt["ids"]),
        best: integers(prompt["best"]), margin: (prompt["margin"]?.array ?? []).map { Float($0.double ?? 0) },
        continuation: prompt["continuation"]?.string ?? "")
    }
  }()

  @Test func thereAreFivePrompts() { #expect(Self.prompts.count == 5) }

  /// Every 97th logit of every prompt token, within a thousandth of the logits' range.
  @Test(arguments: prompts, Place.available)
  func logits(prompt: Prompt, place: Place) throws {
    // The reference computes for seconds: one prompt of it is enough.
    if place == .cpu && prompt.name != "english" { return }
    let truth = try Fixtures.floats("smollm2/\(prompt.name).npy").elements
    let decoder = try loadDecoder(Fetched.smolLM2, on: place.backend())
    let logits = try DecoderState(decoder, capacity: prompt.ids.count).allLogits(prompt.ids)
    let sampled = prompt.ids.indices.flatMap { row in
      stride(from: 0, to: decoder.vocabularySize, by: 97).map { logits[row * decoder.vocabularySize + $0] }
    }
    let range = (truth.max() ?? 0) - (truth.min() ?? 0)
    #expect(distance(sampled, truth) <= 1e-3 * range)
  }

  /// The greedy continuation, token by token, as long as the two best logits are further apart than the error.
  @Test(arguments: prompts, Place.available)
  func greedyTokens(prompt: Prompt, place: Place) throws {
    if place == .cpu && prompt.name != "chat" { return }
    let model = try LanguageModel(Fetched.smolLM2, on: place.backend())
    #expect(try model.promptTokens(prompt.text) == prompt.ids)
    var options = GenerationOptions()
    options.maxTokens = prompt.best.count
    let generation = try Generation(model, prompt.ids, options)
    var text = ""
    while let event = try generation.next() { text += event.text }
    for (step, id) in generation.tokens.enumerated() {
      // Errors of a few thousandths were allowed above: a closer race may go either way, and all after it.
      if prompt.margin[step] < 0.02 && id != prompt.best[step] { return }
      #expect(id == prompt.best[step], "step \(step), margin \(prompt.margin[step])")
    }
    #expect(generation.tokens == prompt.best)
    // The truth's text spells the token that ended it; ours leaves it out.
    #expect(text == prompt.continuation.replacing("<|im_end|>", with: ""))
  }

  @Test func tokenizerIsThatOfTheTokenizersPackage() throws {
    try compareWithGoldens(TokenizerFiles.load(ModelSource.open(Fetched.smolLM2)), "real_smollm2.json")
  }

  /// A seed repeats a run, another one changes it.
  @Test func samplingIsRepeatable() throws {
    let model = try LanguageModel(
      Fetched.smolLM2, on: Place.available.last.map { try $0.backend() } ?? Place.cpu.backend())
    func run(_ seed: UInt64) throws -> [Int32] {
      var options = GenerationOptions()
      options.maxTokens = 12
      options.sampling.temperature = 1
      options.sampling.topP = 0.95
      options.sampling.seed = seed
      let generation = try Generation(model, model.promptTokens("Once upon a time"), options)
      while try generation.next() != nil {}
      return generation.tokens
    }
    #expect(try run(1) == run(1))
    #expect(try run(1) != run(2))
  }

  @Test func tokensStream() async throws {
    let model = try LanguageModel(
      Fetched.smolLM2, on: Place.available.last.map { try $0.backend() } ?? Place.cpu.backend())
    var options = GenerationOptions()
    options.maxTokens = 6
    var (text, reasons) = ("", [FinishReason?]())
    for try await event in try model.generate("The capital of France is", options) {
      text += event.text
      reasons.append(event.finish)
    }
    #expect(text.hasPrefix(" Paris"))
    #expect(reasons == [nil, nil, nil, nil, nil, .length])
  }
}

/// MiniLM against sentence-transformers (Fixtures/make_minilm.py).
@Suite(.enabled(if: Fetched.hasMiniLM, "MiniLM is not there: make models"), .serialized)
struct MiniLMTests {
  @Test(arguments: Place.available)
  func embeddingsAreThoseOfSentenceTransformers(place: Place) throws {
    let sentences = (try Fixtures.json("minilm/sentences.json").array ?? []).map { $0.string ?? "" }
    let truth = try Fixtures.floats("minilm/embeddings.npy")
    // The reference computes for seconds: a few sentences of it are enough, the empty one among them.
    let count = place == .cpu ? min(6, sentences.count) : sentences.count
    let encoder = try SentenceEncoder(Fetched.miniLM, on: place.backend())
    let vectors = try encoder.encode(Array(sentences.prefix(count)))
    for (index, vector) in vectors.enumerated() {
      let row = truth.elements[index * vector.count..<(index + 1) * vector.count]
      let cosine = zip(vector, row).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
      #expect(cosine >= 0.99999, "sentence \(index)")
    }
    #expect(vectors.count == count)

    // Whoever is nearer by more than the error is nearer here too.
    func cosines(_ rows: [ArraySlice<Float>]) -> [[Double]] {
      rows.map { a in rows.map { b in zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } } }
    }
    let expected = cosines(vectors.indices.map { truth.elements[$0 * 384..<($0 + 1) * 384] })
    let found = cosines(vectors.map { $0[...] })
    var pairs = 0
    for index in vectors.indices {
      let order = vectors.indices.sorted { expected[index][$1] < expected[index][$0] }
      for (near, far) in zip(order, order.dropFirst())
      where expected[index][near] - expected[index][far] > 2e-5 {
        pairs += 1
        #expect(found[index][near] > found[index][far], "of sentence \(index), \(near) and \(far)")
      }
    }
    #expect(pairs > count * (count - 2) * 9 / 10, "too many ties to say anything")
  }

  @Test func tokenizerIsThatOfTheTokenizersPackage() throws {
    try compareWithGoldens(TokenizerFiles.load(ModelSource.open(Fetched.miniLM)), "real_minilm.json")
  }
}

/// Compares with FlashCLTokenizersTests/Fixtures: the texts of strings.json, and their ids in both modes. Characters that Unicode
/// got after version 8 are left to that module's tests, which know the package's older tables.
private func compareWithGoldens(_ tokenizer: any Tokenizer, _ name: String) throws {
  let folder = Fixtures.folder.deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("FlashCLTokenizersTests/Fixtures")
  func read(_ name: String) throws -> JSON {
    let file = try MappedFile(folder.appendingPathComponent(name).path)
    return try withExtendedLifetime(file) { try JSON(parsing: file.bytes, path: file.path) }
  }
  func lists(_ json: JSON?) -> [[Int32]] {
    (json?.array ?? []).map { ($0.array ?? []).compactMap { $0.int.map { Int32($0) } } }
  }
  let strings = (try read("strings.json").array ?? []).map { $0.bytes?.bytes ?? [] }
  let goldens = try read(name)
  let (plain, special) = (lists(goldens["plain"]), lists(goldens["special"]))
  #expect(strings.count >= 200 && plain.count == strings.count && special.count == strings.count)
  for (index, text) in strings.enumerated() {
    let isNew = String(decoding: text, as: UTF8.self).unicodeScalars.contains {
      ($0.properties.age ?? (99, 0)) > (8, 0)
    }
    if isNew && name.contains("minilm") { continue }
    #expect(try tokenizer.encode(text, special: false) == plain[index], "string \(index)")
    #expect(try tokenizer.encode(text, special: true) == special[index], "string \(index)")
  }
}
