import FlashCL
import FlashCLModels
import Testing

/// Decode steps that are captured once and repeated give what each gives by itself.
@Suite struct ReplayTests {
  private func load(_ name: String, _ place: Place) throws -> (any Decoder, any Backend) {
    let backend = try place.backend()
    return (try loadDecoder(Fixtures.path(name), on: backend), backend)
  }

  /// The same tokens through `hidden`, of which nothing is repeated.
  private func step(_ state: DecoderState, _ id: Int32) throws -> [Float] {
    let hidden = try state.hidden([id], phase: .decode)
    return try state.decoder.backend.floats(state.decoder.logits(hidden, phase: .decode))
  }

  /// Past the 128 tokens after which a step's shape changes, with caches that grow on the way, and what is taken back.
  @Test(arguments: ["llama-tied", "gpt2", "decoders/mixtral"], Place.available)
  func aReplayIsWhatItRepeats(model: String, place: Place) throws {
    let (decoder, backend) = try load(model, place)
    let length = min(decoder.contextLength, place == .cpu ? 40 : 150)
    let repeated = try DecoderState(decoder, capacity: length, reserve: 16)
    let anew = try DecoderState(decoder, capacity: length, reserve: 16)
    let other = try DecoderState(decoder, capacity: length)
    for place in 0..<length {
      let id = Int32((place * 13 + 5) % decoder.vocabularySize)
      #expect(try backend.floats(repeated.decode(id)) == step(anew, id), "token \(place)")
      // Another sequence in between has steps of its own.
      if place < length / 2 { _ = try other.decode(3) }
    }
    for state in [repeated, anew] { try state.keep(length - 3) }
    #expect(try backend.floats(repeated.decode(7)) == step(anew, 7))
  }

  /// Queries turned and keys appended, attention, and all linear layers up to the next of these: three kernels a layer on a CPU
  /// device. Elsewhere the four linear layers are apart, and splits of keys are merged. Six more come before and after the layers.
  @Test(arguments: Place.available) func launchesOfAToken(place: Place) throws {
    let (decoder, backend) = try load("gpt2", place)
    guard backend.launches != nil else { return }
    let each = backend.deviceName.contains("(CPU") ? 3 : 7
    let state = try DecoderState(decoder, capacity: 20)
    for _ in 0..<4 { _ = try backend.integers(backend.argmax(state.decode(1))) }
    let before = backend.launches ?? 0
    _ = try backend.integers(backend.argmax(state.decode(1)))
    let launches = (backend.launches ?? 0) - before
    #expect(launches <= each * decoder.cacheShape.layers + 6)
  }
}
