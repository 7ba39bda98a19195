#if canImport(FlashCLOpenCL)
  // The library example of README.md, so that it compiles; the test below compares the two texts.
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

  import Foundation
  import Testing

  @Suite struct ReadmeTests {
    @Test func theExampleOfTheReadmeIsTheOneThatCompiles() throws {
      let lines = try String(contentsOfFile: #filePath, encoding: .utf8).split(
        separator: "\n", omittingEmptySubsequences: false)
      let begin = try #require(lines.firstIndex { $0.hasSuffix("// BEGIN") })
      let end = try #require(lines.firstIndex { $0.hasSuffix("// END") })
      // The conditional compilation indents it by two.
      let example = lines[(begin + 1)..<end].map { $0.hasPrefix("  ") ? $0.dropFirst(2) : $0 }.joined(
        separator: "\n")
      let readme = Fixtures.folder.deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("README.md")
      #expect(try String(contentsOf: readme, encoding: .utf8).contains("```swift\n\(example)\n```"))
    }
  }
#endif
