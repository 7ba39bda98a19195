#if canImport(FlashCLOpenCL)
  // The library examples of README.md, so that they compile; the test below compares the texts.
  // BEGIN
  import FlashCLModels
  import FlashCLOpenCL
  import FlashCLRuntime

  func demo(path: String) async throws {
    let backend = try OpenCLBackend(Device.select("gpu"))
    let model = try LanguageModel(path, on: backend)
    var options = GenerationOptions()
    options.maxTokens = 32
    for try await event in try model.generate("The capital of France is", options) {
      print(event.text, terminator: "")
    }
  }
  // END

  // BEGIN
  import FlashCL

  func look(q: Tensor, k: Tensor, v: Tensor, on backend: any Backend) throws -> Tensor {
    let recent = AttentionMask.window(left: 255, right: 0).or(.global([0]))
    return try backend.attention(
      q, k, v,
      AttentionOptions(
        mask: .causal(.lowerRight).and(recent), alibi: .standard,
        scoreMod: ScoreExpression("h == 0 ? score : 0.5f * score")))
  }
  // END

  import Foundation
  import FlashCLReference
  import Testing

  @Suite struct ReadmeTests {
    @Test func attentionOfTheReadmeAgreesOnBothBackends() throws {
      func result(_ backend: any Backend) throws -> [Float] {
        let x = try backend.tensor((0..<2 * 40 * 8).map { Float($0 % 13) / 13 }, [1, 2, 40, 8])
        return try backend.floats(look(q: x, k: x, v: x, on: backend))
      }
      #expect(try distance(result(OpenCLBackend(Device.select("gpu"))), result(ReferenceBackend())) < 1e-5)
    }

    @Test func theExamplesOfTheReadmeAreThoseThatCompile() throws {
      let lines = try String(contentsOfFile: #filePath, encoding: .utf8).split(
        separator: "\n", omittingEmptySubsequences: false)
      // The conditional compilation indents them by two.
      let examples = lines.indices.filter { lines[$0].hasSuffix("// BEGIN") }.compactMap { begin in
        lines[begin...].firstIndex { $0.hasSuffix("// END") }.map { end in
          lines[(begin + 1)..<end].map { $0.hasPrefix("  ") ? $0.dropFirst(2) : $0 }.joined(separator: "\n")
        }
      }
      #expect(examples.count == 2)
      let readme = Fixtures.folder.deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("README.md")
      let text = try String(contentsOf: readme, encoding: .utf8)
      for example in examples { #expect(text.contains("```swift\n\(example)\n```")) }
    }
  }
#endif
