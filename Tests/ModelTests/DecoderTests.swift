import FlashCL
import FlashCLModels
import Foundation
import Testing

/// Tiny random models of every decoder-only architecture against the logits of `transformers`, as folders and, where
/// llama.cpp has names for them, as GGUF (Fixtures/make_decoders.py).
@Suite struct DecoderTests {
  static let names = [
    "mistral", "mistral-gguf", "mistral-full", "mistral-full-gguf", "llama-bias", "llama-bias-gguf",
    "mixtral", "mixtral-gguf", "mixtral-window", "qwen2", "qwen2-gguf", "qwen2-moe", "qwen2-moe-gguf",
    "qwen3", "qwen3-gguf", "qwen3-window", "qwen3-moe", "qwen3-moe-gguf", "qwen3-moe-mixed", "gemma",
    "gemma-gguf", "gemma2", "gemma2-gguf", "gemma3", "gemma3-gguf", "gemma3-images", "phi", "phi-gguf",
    "phi-normed", "phi3", "phi3-gguf", "phi3-short", "phi3-short-gguf", "olmo2", "olmo2-gguf",
    "smollm3", "smollm3-gguf", "smollm3-window", "stablelm", "stablelm-gguf", "stablelm-parallel",
    "stablelm-parallel-gguf", "starcoder2", "starcoder2-gguf", "gpt-neox", "gpt-neox-gguf",
    "gpt-neox-sequential", "gpt-j", "opt", "opt-post", "bloom", "bloom-gguf", "bloom-normed", "mpt",
    "mpt-gguf", "mpt-clipped", "mpt-clipped-gguf", "falcon", "falcon-gguf", "falcon-new",
    "falcon-new-gguf", "falcon-one-norm", "falcon-sequential", "falcon-alibi", "gpt", "rope-linear",
    "rope-linear-gguf", "rope-llama3", "rope-llama3-gguf", "rope-yarn", "rope-yarn-gguf",
    "rope-dynamic", "rope-longrope", "transformer-decoder", "character-decoder",
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
