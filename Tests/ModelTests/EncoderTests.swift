import FlashCL
import FlashCLFiles
import FlashCLModels
import Foundation
import Testing

/// Tiny random encoders of every family with every head, against `transformers` (Fixtures/make_encoders.py).
@Suite struct EncoderTests {
  static let models =
    (try? FileManager.default.contentsOfDirectory(atPath: Fixtures.path("encoders")))?.sorted() ?? []

  private struct Truth {
    let batch: TokenBatch
    let hidden, scores: [Float]

    init(_ name: String) throws {
      let lengths = try Fixtures.integers("\(name)/lengths.npy").elements.map { Int($0) }
      func split(_ values: [Int32]) -> [[Int32]] {
        var rest = values[...]
        return lengths.map { length in
          defer { rest = rest.dropFirst(length) }
          return Array(rest.prefix(length))
        }
      }
      let hasSegments = FileManager.default.fileExists(atPath: Fixtures.path("\(name)/segments.npy"))
      batch = TokenBatch(
        split(try Fixtures.integers("\(name)/batch.npy").elements),
        segments: hasSegments ? split(try Fixtures.integers("\(name)/segments.npy").elements) : nil)
      hidden = try Fixtures.floats("\(name)/hidden.npy").elements
      scores = try Fixtures.floats("\(name)/scores.npy").elements
    }
  }

  @Test func everyFamilyIsThere() { #expect(Self.models.count >= 42) }

  /// Sequences of unequal lengths in one call, each as it is alone.
  @Test(arguments: models, Place.available)
  func statesAndScoresAreThoseOfTransformers(name: String, place: Place) throws {
    let truth = try Truth("encoders/\(name)")
    let backend = try place.backend()
    let model = try loadEncoder(Fixtures.path("encoders/\(name)"), on: backend)
    let hidden = try model.hidden(truth.batch)
    #expect(try distance(backend.floats(hidden), truth.hidden) <= 1e-4)
    #expect(try distance(backend.floats(model.scores(hidden, of: truth.batch)), truth.scores) <= 1e-4)
    #expect(model.labels.count == (name.hasSuffix("span") ? 2 : 3))
  }

  /// The same tensors under llama.cpp's names (Fixtures/make_gguf.py), which have no head.
  @Test(arguments: Place.available)
  func ggufHoldsTheSame(place: Place) throws {
    let truth = try Truth("encoders/bert-masked")
    let backend = try place.backend()
    let model = try loadEncoder(Fixtures.path("gguf/bert.gguf"), on: backend)
    #expect(try distance(backend.floats(model.hidden(truth.batch)), truth.hidden) <= 1e-4)
    #expect(model.task == nil)
  }

  @Test(arguments: Place.available)
  func whatDoesNotFitIsRefused(place: Place) throws {
    let model = try loadEncoder(Fixtures.path("encoders/roberta-masked"), on: place.backend())
    // 32 places, of which the padding token's and the one before it hold no token.
    #expect(model.contextLength == 30)
    #expect(throws: ModelError("31 tokens do not fit in the model's context of 30")) {
      try model.hidden(TokenBatch([[Int32](repeating: 5, count: 31)]))
    }
    #expect(throws: ModelError("token id 61 is outside the model's vocabulary of 61")) {
      try model.hidden(TokenBatch([[5], [61]]))
    }
    #expect(throws: ModelError("segment 1 is outside the model's 1")) {
      try model.hidden(TokenBatch([[5]], segments: [[1]]))
    }
    #expect(throws: ModelError("there are no tokens to encode")) { try model.hidden(TokenBatch([[5], []])) }
  }
}
