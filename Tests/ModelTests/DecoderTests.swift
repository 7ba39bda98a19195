import FlashCL
import FlashCLModels
import Foundation
import Testing

/// Tiny random models of every decoder-only architecture against the logits of `transformers`, as folders and, where
/// llama.cpp has names for them, as GGUF (Fixtures/make_decoders.py).
@Suite struct DecoderTests {
  static let names = [
    "mistral", "qwen2", "qwen2-gguf", "mixtral", "mixtral-gguf", "gemma", "gemma-gguf", "gemma2",
    "gemma2-gguf", "phi", "phi-gguf", "gpt-neox", "gpt-neox-gguf", "gpt-neox-sequential", "gpt-j", "opt",
    "opt-post", "bloom", "bloom-gguf", "mpt", "mpt-gguf", "falcon", "falcon-gguf", "falcon-new",
    "falcon-new-gguf", "falcon-alibi", "gpt", "rope-linear", "rope-linear-gguf", "rope-llama3",
    "rope-llama3-gguf", "rope-yarn", "rope-yarn-gguf", "rope-dynamic",
    "transformer-decoder", "character-decoder",
  ]

  private func load(_ name: String, _ place: Place) throws -> (any Decoder, ids: [Int32], truth: [Float]) {
    let file = name.hasSuffix("-gguf") ? "/model.gguf" : ""
    return (
      try loadDecoder(Fixtures.path("decoders/\(name)\(file)"), on: place.backend()),
      try Fixtures.integers("decoders/\(name)/tokens.npy").elements,
      try Fixtures.floats("decoders/\(name)/logits.npy").elements
    )
  }

  @Test func everyFixtureIsTested() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Fixtures.path("decoders"))
    #expect(folders.sorted() == Self.names.sorted())
  }

  @Test(arguments: names, Place.available)
  func logitsAreThoseOfTransformers(name: String, place: Place) throws {
    let (decoder, ids, truth) = try load(name, place)
    let logits = try DecoderState(decoder, capacity: ids.count).allLogits(ids)
    #expect(distance(logits, truth) <= 1e-4)
  }

  /// A prompt, then token by token, beside a shorter sequence that must not matter.
  @Test(arguments: names, Place.available)
  func decodingGoesOnWherePrefillEnded(name: String, place: Place) throws {
    let (decoder, ids, truth) = try load(name, place)
    let state = try DecoderState(decoder, capacity: ids.count, sequences: 2)
    let (begin, vocabulary) = (21, decoder.vocabularySize)
    _ = try state.prefill([Array(ids[..<begin]), Array(ids[..<3])])
    for index in begin..<ids.count {
      let logits = try decoder.backend.floats(state.decode([ids[index], ids[index - begin + 3]]))
      let row = truth[index * vocabulary..<(index + 1) * vocabulary]
      #expect(distance(logits[..<vocabulary], row) <= 1e-4, "token \(index)")
    }
  }
}
