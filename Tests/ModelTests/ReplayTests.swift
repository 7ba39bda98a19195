import FlashCL
import Testing

@testable import FlashCLModels

#if canImport(FlashCLOpenCL)
  import FlashCLOpenCL
  @testable import FlashCLRuntime
#endif

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

  #if canImport(FlashCLOpenCL)
    /// Attention, which turns queries and appends keys, and all linear layers up to the next: two kernels a layer on a CPU device,
    /// five on a GPU, where the four linear layers are apart. Five more come before and after the layers, of which one chooses the
    /// token on a CPU device, and on a GPU six, of which two do.
    @Test(
      .enabled(if: Place.available.contains(.openCL)), arguments: ["gpt2", "smollm2-135m:q4_0"],
      [nil, "turing"])
    func launchesOfAToken(model: String, pretence: String?) throws {
      let device = try Device.select(nil, from: Device.list(as: Pretence.named(pretence)))
      let backend = try OpenCLBackend(device)
      let decoder =
        if case .decoder(let random)? = try? Architectures.random(ModelShape(model), on: backend) {
          random
        } else {
          try loadDecoder(Fixtures.path(model), on: backend)
        }
      let state = try DecoderState(decoder, capacity: min(decoder.contextLength, 150))
      try state.skip(state.capacity - 10)  // past one split of the keys, where the model goes so far
      func decode() throws { _ = try backend.integers(state.prediction(after: [1]).greatest()) }
      for _ in 0..<4 { try decode() }
      let before = backend.launches ?? 0
      try decode()
      let launches = (backend.launches ?? 0) - before
      let isCPU = device.kind == .cpu
      #expect(launches <= (isCPU ? 2 : 5) * decoder.cacheShape.layers + (isCPU ? 5 : 6))
    }

    /// The strategies of GPUs, which this machine may not have, token by token through two splits of the keys.
    @Test(.enabled(if: Place.available.contains(.openCL)), arguments: ["llama-tied", "decoders/gemma2"])
    func strategiesOfGPUs(model: String) throws {
      let device = try Device.select(nil, from: Device.list(as: Pretence.named("turing")))
      let decoder = try loadDecoder(Fixtures.path(model), on: OpenCLBackend(device))
      let (truth, reference) = try load(model, .openCL)
      let length = min(decoder.contextLength, 134)
      let ids = (0..<length - 4).map { Int32($0 * 13 % decoder.vocabularySize) }
      let (state, other) = (
        try DecoderState(decoder, capacity: length), try DecoderState(truth, capacity: length)
      )
      _ = try (state.prefill(ids), other.prefill(ids))
      for id in 0..<4 as Range<Int32> {
        let (one, two) = (
          try decoder.backend.floats(state.decode(id)), try reference.floats(other.decode(id))
        )
        #expect(zip(one, two).allSatisfy { abs($0 - $1) < 1e-4 }, "token \(id)")
      }
    }
  #endif
}
