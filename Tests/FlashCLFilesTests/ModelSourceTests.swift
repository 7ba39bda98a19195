import Foundation
import Testing

@testable import FlashCLFiles

@Suite struct ModelSourceTests {
  @Test func openEither() throws {
    guard case .gguf(let file) = try ModelSource.open(fixture("types.gguf")) else {
      Issue.record("expected a GGUF file")
      return
    }
    #expect(file.tensors.count == 8)
    for path in [fixture("folder"), fixture("folder") + "/"] {
      let source = try ModelSource.open(path)
      guard case .folder(let folder) = source else {
        Issue.record("expected a folder")
        return
      }
      #expect(folder.config["model_type"]?.string == "fixture")
      #expect(try floats(source.tensors, "weight") == [0, 1, 2, 3, 4, 5])
      #expect(try folder.json("tokenizer.json") == nil)
      #expect(try folder.file("merges.txt") == nil)
      #expect(try folder.file("config.json")?.contents().first == UInt8(ascii: "{"))
    }
  }

  @Test func refusesWhatIsNeither() throws {
    let folder = try TemporaryFolder()
    let expected = "expected a .gguf file, or a folder with config.json and model.safetensors"
    expectError(folder.file("none"), "does not exist", expected) { try ModelSource.open(folder.file("none")) }
    expectError(folder.path, "has no config.json", expected) { try ModelSource.open(folder.path) }
    let text = try folder.write("hello".utf8, as: "notes.txt")
    expectError(text, "is not a GGUF file", expected) { try ModelSource.open(text) }
    try folder.write("{}".utf8, as: "config.json")
    expectError(folder.path, "has no model.safetensors", expected) { try ModelSource.open(folder.path) }
    try folder.write("{".utf8, as: "config.json")
    try folder.write([0], as: "model.safetensors")
    expectError(folder.file("config.json"), "line 1, byte 1") { try ModelSource.open(folder.path) }
  }

  @Test func refusesShards() throws {
    let folder = try TemporaryFolder()
    try folder.write("{}".utf8, as: "config.json")
    let index = #"{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#
    try folder.write(index.utf8, as: "model.safetensors.index.json")
    try folder.write([0], as: "model-1-of-2.safetensors")
    try folder.write([0], as: "other.safetensors")
    expectError(
      folder.path, "sharded weights are not supported yet", "names 2 shards",
      "missing \"model-2-of-2.safetensors\"", "not in the index \"other.safetensors\""
    ) { try ModelSource.open(folder.path) }
    try folder.write("nonsense".utf8, as: "model.safetensors.index.json")
    expectError(folder.path, "sharded weights", "cannot be read") { try ModelSource.open(folder.path) }
  }
}
