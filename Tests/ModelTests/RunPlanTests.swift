import FlashCL
import FlashCLFiles
import FlashCLModels
import Foundation
import Testing

#if canImport(FlashCLOpenCL)
  import FlashCLOpenCL
  import FlashCLRuntime

  /// What a run takes of the device, and what is known of it before.
  @Suite(.enabled(if: Place.available.contains(.openCL), "needs an OpenCL device"), .serialized)
  struct RunPlanTests {
    private func device() throws -> OpenCLBackend { try OpenCLBackend(Device.select()) }

    private func ids(_ count: Int, _ decoder: any Decoder) -> [Int32] {
      (0..<count).map { Int32(($0 * 7 + 3) % decoder.vocabularySize) }
    }

    /// Counted to the byte: what the run then held at most.
    @Test(arguments: [(5, 1), (5, 9), (40, 3), (600, 40), (1100, 2)], [true, false])
    func theMemoryOfARunIsKnownBefore(run: (prompt: Int, tokens: Int), isGreedy: Bool) throws {
      let (prompt, tokens) = run
      let model = try StretchedModel(2048)
      let backend = try device()
      let plan = try #require(
        try RunPlan(
          ModelSource.open(model.path), prompt: prompt, tokens: tokens, isGreedy: isGreedy, on: backend))
      #expect(backend.peakBytes == 0 && backend.launchedKernels.isEmpty)
      let decoder = try loadDecoder(model.path, on: backend)
      #expect(backend.heldBytes == plan.weightBytes)
      let state = try DecoderState(decoder, capacity: prompt + tokens)
      #expect(backend.heldBytes == plan.weightBytes + plan.cacheBytes)
      func choose(_ prediction: Prediction) throws {
        _ = try isGreedy ? prediction.greatest() : prediction.logits()
      }
      _ = try state.predictions(after: [ids(prompt, decoder)], choose)
      for _ in 1..<tokens { try choose(state.prediction(after: [1])) }
      #expect(backend.peakBytes == plan.bytes)
      try plan.requireRoom()
    }

    /// The host takes part in a mixture of experts: it reads which experts serve, and the twin has nothing to be read.
    @Test func aMixtureOfExpertsIsRehearsedToo() throws {
      let plan = try RunPlan(
        ModelSource.open(Fixtures.path("decoders/mixtral")), prompt: 9, tokens: 3, on: device())
      #expect(try #require(plan).activationBytes > 0)
    }

    /// A prompt of any length is fed in pieces: beside the cache, nothing that they need grows with it.
    @Test func activationsDoNotGrowWithThePrompt() throws {
      let model = try StretchedModel(1 << 17)
      let source = try ModelSource.open(model.path)
      let backend = try device()
      func activations(_ prompt: Int) throws -> Int {
        try #require(try RunPlan(source, prompt: prompt, tokens: 1, on: backend)).activationBytes
      }
      let short = try activations(2048)
      let long = try activations(100_000)
      // The angles of a position are 32 bytes, of which tables of half and a quarter the length may be left.
      #expect(long - short < 98_000 * 128, "\(short) and \(long) bytes")
    }

    @Test func theSameIsSoWhereItIsComputed() throws {
      let model = try StretchedModel(8192)
      func peak(_ prompt: Int) throws -> (activations: Int, last: [Float]) {
        let backend = try device()
        let decoder = try loadDecoder(model.path, on: backend)
        let state = try DecoderState(decoder, capacity: prompt, prefillRows: 128)
        let held = backend.heldBytes
        let logits = try backend.floats(state.prefill(ids(prompt, decoder)))
        return (try #require(backend.peakBytes) - held, logits)
      }
      let (short, long) = (try peak(512).activations, try peak(4096).activations)
      #expect(long - short < 3584 * 128, "\(short) and \(long) bytes")
    }

    @Test(arguments: Place.available) func piecesOfAPromptGiveTheLogitsOfTheWhole(place: Place) throws {
      let model = try StretchedModel(512)
      let decoder = try loadDecoder(model.path, on: place.backend())
      let prompt = ids(200, decoder)
      func logits(_ rows: Int) throws -> [Float] {
        try DecoderState(decoder, capacity: 200, prefillRows: rows).allLogits(prompt)
      }
      let whole = try logits(512)
      for rows in [64, 37] { #expect(try distance(logits(rows), whole) <= 1e-4) }
    }

    @Test func whatDoesNotFitIsSaidBeforeTheRun() throws {
      let model = try StretchedModel(1 << 17)
      let plan = try #require(
        try RunPlan(ModelSource.open(model.path), prompt: 20_000, tokens: 9, on: device()))
      try plan.requireRoom(within: plan.bytes)
      let error = #expect(throws: ModelError.self) { try plan.requireRoom(within: plan.bytes - 1) }
      #expect(error?.description.contains("20000 tokens of a prompt and 9 more do not fit") == true)
    }
  }

  /// The tiny Llama with another context: rotary positions know no end.
  private final class StretchedModel {
    let path: String

    init(_ context: Int) throws {
      let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
        "flashcl-test-\(UUID().uuidString)")
      path = folder.path
      try FileManager.default.copyItem(atPath: Fixtures.path("llama-tied"), toPath: path)
      let config = folder.appendingPathComponent("config.json")
      let text = try String(contentsOf: config, encoding: .utf8)
        .replacing("\"max_position_embeddings\": 128", with: "\"max_position_embeddings\": \(context)")
      try text.write(to: config, atomically: true, encoding: .utf8)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
  }
#endif
