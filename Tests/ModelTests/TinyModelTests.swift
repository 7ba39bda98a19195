import FlashCL
import FlashCLFiles
import FlashCLModels
import Testing

/// Tiny random models against the logits that `transformers` computed for them (Fixtures/make_models.py).
@Suite struct TinyModelTests {
  static let decoders = [
    "llama-tied", "llama-untied", "gpt2", "llama-gguf/model.gguf", "llama-quantised/model.gguf",
    "gpt2-gguf/model.gguf",
  ]

  private func folder(_ name: String) -> String { String(name.split(separator: "/")[0]) }

  @Test(arguments: decoders, Place.available)
  func logitsAreThoseOfTransformers(name: String, place: Place) throws {
    let ids = try Fixtures.integers("\(folder(name))/tokens.npy").elements
    let truth = try Fixtures.floats("\(folder(name))/logits.npy")
    let decoder = try loadDecoder(Fixtures.path(name), on: place.backend())
    let logits = try DecoderState(decoder, capacity: ids.count).allLogits(ids)
    #expect(distance(logits, truth.elements) <= 1e-4)
  }

  @Test(arguments: decoders, Place.available)
  func prefillEqualsDecodeTokenByToken(name: String, place: Place) throws {
    let ids = try Fixtures.integers("\(folder(name))/tokens.npy").elements
    let truth = try Fixtures.floats("\(folder(name))/logits.npy").elements
    let decoder = try loadDecoder(Fixtures.path(name), on: place.backend())
    let state = try DecoderState(decoder, capacity: ids.count)
    var logits: [Float] = []
    for id in ids { logits += try decoder.backend.floats(state.decode(id)) }
    #expect(distance(logits, truth) <= 1e-4)
    #expect(try distance(DecoderState(decoder, capacity: ids.count).allLogits(ids), logits) <= 1e-4)
  }

  /// Of several rows, with logits that are bounded and logits that are not.
  @Test(arguments: ["llama-quantised/model.gguf", "gpt2", "decoders/gemma2"], Place.available)
  func theGreatestIsThatOfAllLogits(name: String, place: Place) throws {
    let decoder = try loadDecoder(Fixtures.path(name), on: place.backend())
    let backend = decoder.backend
    for count in [1, 5] {
      let ids = (0..<count).map { Int32(7 * $0 + 3) }
      let (a, b) = (
        try DecoderState(decoder, capacity: 9, sequences: count),
        try DecoderState(decoder, capacity: 9, sequences: count)
      )
      for _ in 0..<4 {
        let greatest = try backend.integers(a.prediction(after: ids).greatest())
        #expect(try greatest == backend.integers(backend.argmax(b.decode(ids))))
      }
    }
  }

  /// A prompt in two pieces, as a second question to the same cache.
  @Test(arguments: Place.available)
  func aPromptMayComeInPieces(place: Place) throws {
    let ids = try Fixtures.integers("llama-tied/tokens.npy").elements
    let truth = try Fixtures.floats("llama-tied/logits.npy").elements
    let decoder = try loadDecoder(Fixtures.path("llama-tied"), on: place.backend())
    let state = try DecoderState(decoder, capacity: ids.count)
    let logits = try state.allLogits(Array(ids[..<17])) + state.allLogits(Array(ids[17...]))
    #expect(distance(logits, truth) <= 1e-4)
  }

  /// Prompts of unequal lengths in calls of seven tokens, which cut them; then steps, in which one sequence rests.
  @Test(arguments: ["llama-tied", "gpt2"], Place.available)
  func sequencesSideBySideAreAsAlone(name: String, place: Place) throws {
    let ids = try Fixtures.integers("\(name)/tokens.npy").elements
    let truth = try Fixtures.floats("\(name)/logits.npy")
    let vocabulary = truth.shape[1]
    let decoder = try loadDecoder(Fixtures.path(name), on: place.backend())
    func row(_ token: Int) -> ArraySlice<Float> {
      truth.elements[token * vocabulary..<(token + 1) * vocabulary]
    }
    for lengths in [[9, 1], [9, 1, 17, 2, 7, 5]] {
      let state = try DecoderState(decoder, capacity: ids.count, sequences: lengths.count, prefillRows: 7)
      let first = try state.prefill(lengths.map { Array(ids[..<$0]) })
      for (logits, length) in zip(first, lengths) {
        #expect(try distance(decoder.backend.floats(logits), row(length - 1)) <= 1e-4)
      }
      let second = try decoder.backend.floats(state.decode(lengths.map { ids[$0] }))
      #expect(distance(second, lengths.flatMap { row($0) }) <= 1e-4)
      // One in the middle rests, the others go on by two tokens.
      let resting = lengths.count / 2
      let steps = lengths.enumerated().map { $0 == resting ? [] : [ids[$1 + 1], ids[$1 + 2]] }
      let third = try decoder.backend.floats(
        decoder.logits(state.hidden(steps, phase: .decode), phase: .prefill))
      let rows = lengths.enumerated().flatMap { $0 == resting ? [] : row($1 + 1) + row($1 + 2) }
      #expect(distance(third, rows) <= 1e-4)
      #expect(state.counts == lengths.enumerated().map { $1 + ($0 == resting ? 1 : 3) })
    }
  }

  @Test(arguments: ["llama-tied", "gpt2"], Place.available)
  func everyLayerIsThatOfTransformers(name: String, place: Place) throws {
    let ids = try Fixtures.integers("\(name)/tokens.npy").elements
    let truth = try Fixtures.floats("\(name)/layers.npy")
    let decoder = try loadDecoder(Fixtures.path(name), on: place.backend())
    var layers: [Float] = []
    _ = try DecoderState(decoder, capacity: ids.count).hidden(ids, phase: .prefill) { _, hidden in
      layers += try decoder.backend.floats(hidden)
    }
    #expect(layers.count == truth.elements.count)
    #expect(distance(layers, truth.elements) <= 1e-4)
  }

  @Test(arguments: Place.available)
  func causality(place: Place) throws {
    // What a token gives must not change when another follows.
    let ids = try Fixtures.integers("llama-tied/tokens.npy").elements
    let decoder = try loadDecoder(Fixtures.path("llama-tied"), on: place.backend())
    let short = try DecoderState(decoder, capacity: 8).allLogits(Array(ids[..<4]))
    let long = try DecoderState(decoder, capacity: 8).allLogits(Array(ids[..<5]))
    #expect(Array(long[..<short.count]) == short)
  }

  @Test(arguments: Place.available)
  func bertIsThatOfTransformers(place: Place) throws {
    let ids = try Fixtures.integers("bert/tokens.npy").elements
    let backend = try place.backend()
    let model = try loadEncoder(Fixtures.path("bert"), on: backend)
    let logits = try backend.floats(model.scores(model.hidden(TokenBatch([ids]))))
    #expect(try distance(logits, Fixtures.floats("bert/logits.npy").elements) <= 1e-4)
  }

  @Test(arguments: Place.available)
  func sentencesOfUnequalLengths(place: Place) throws {
    let batch = try Fixtures.integers("bert-padded/batch.npy")
    let lengths = try Fixtures.integers("bert-padded/lengths.npy").elements.map { Int($0) }
    let longest = batch.shape[1]
    let sentences = lengths.enumerated().map { Array(batch.elements[$0 * longest..<$0 * longest + $1]) }
    let backend = try place.backend()
    let model = try loadEncoder(Fixtures.path("bert"), on: backend)
    let real = try backend.floats(model.hidden(TokenBatch(sentences)))
    #expect(try distance(real, Fixtures.floats("bert-padded/hidden.npy").elements) <= 1e-4)
    // The same sentence alone: the truth needs no padding.
    let alone = try backend.floats(model.hidden(TokenBatch([sentences[0]])))
    #expect(distance(alone, real[..<alone.count]) <= 1e-5)
  }

  // MARK: What is refused

  @Test func whatDoesNotFitIsRefused() throws {
    let decoder = try loadDecoder(Fixtures.path("gpt2"), on: Place.cpu.backend())
    #expect(throws: ModelError("65 tokens do not fit in the model's context of 64")) {
      try DecoderState(decoder, capacity: 65)
    }
    let state = try DecoderState(decoder, capacity: 4)
    #expect(throws: ModelError("token id 131 is outside the model's vocabulary of 131")) {
      try state.decode(131)
    }
    #expect(throws: ModelError("token id -1 is outside the model's vocabulary of 131")) {
      try state.decode(-1)
    }
    #expect(throws: ModelError("5 tokens do not fit in the 4 that the sequence has room for")) {
      try state.hidden([1, 2, 3, 4, 5], phase: .prefill)
    }
  }
}
