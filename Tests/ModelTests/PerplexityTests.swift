import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference
import Foundation
import Testing

@Suite struct PerplexityTests {
  private struct Golden: Decodable {
    let context, stride, tokens, windows: Int
    let negative_log_likelihood, perplexity: Double
  }

  /// Windows that hold the whole text, overlap, touch, and move on by one token (Fixtures/make_perplexity.py).
  @Test(arguments: ["llama-tied", "gpt2"], Place.available)
  func asTransformers(name: String, place: Place) throws {
    let data = try Data(contentsOf: URL(filePath: Fixtures.path("perplexity.json")))
    let goldens = try #require(try JSONDecoder().decode([String: [Golden]].self, from: data)[name])
    let ids = try Fixtures.integers("\(name)/tokens.npy").elements
    let decoder = try loadDecoder(Fixtures.path(name), on: place.backend())
    for golden in goldens {
      let result = try Perplexity(of: ids, by: decoder, context: golden.context, stride: golden.stride)
      #expect(result.tokens == golden.tokens && result.windows == golden.windows)
      #expect(
        abs(result.negativeLogLikelihood - golden.negative_log_likelihood) < 1e-5
          * golden.negative_log_likelihood)
      #expect(abs(result.value - golden.perplexity) < 1e-4 * golden.perplexity)
    }
  }

  @Test func whatHasNone() throws {
    let decoder = try loadDecoder(Fixtures.path("gpt2"), on: ReferenceBackend())
    for (ids, context, stride) in [
      ([1], 8, 4), ([1, 2], 1, 1), ([1, 2], 65, 4), ([1, 2], 8, 9), ([1, 2], 8, 0),
    ] {
      #expect(throws: ModelError.self) {
        try Perplexity(of: ids.map { Int32($0) }, by: decoder, context: context, stride: stride)
      }
    }
  }
}
