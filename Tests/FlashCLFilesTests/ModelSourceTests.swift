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

  /// Writes shards with one vector of two numbers each, and an index that lists `map`.
  private func shards(_ folder: TemporaryFolder, _ tensors: [String], _ map: [String: String]) throws {
    try folder.write("{}".utf8, as: "config.json")
    for (place, name) in tensors.enumerated() {
      let header = Safetensors.header([TensorLayout(name: name, shape: [2], typeName: "f32", byteCount: 8)])
      let values: [Float] = [Float(place), Float(place) + 0.5]
      try folder.write(
        header.bytes + values.withUnsafeBytes { Array($0) }, as: "model-\(place + 1).safetensors")
    }
    let members = map.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \"\($0.value)\"" }
    try folder.write(
      "{\"metadata\": {}, \"weight_map\": {\(members.joined(separator: ", "))}}".utf8,
      as: "model.safetensors.index.json")
  }

  @Test func shards() throws {
    let folder = try TemporaryFolder()
    let map = ["b": "model-1.safetensors", "a": "model-2.safetensors"]
    try shards(folder, ["b", "a", "unlisted"], map)
    let source = try ModelSource.open(folder.path)
    #expect(source.tensors.tensors.map(\.name) == ["b", "a"] && source.tensors.files.count == 2)
    #expect(source.tensors.path == folder.file("model.safetensors.index.json"))
    #expect(try floats(source.tensors, "b") == [0, 0.5] && floats(source.tensors, "a") == [1, 1.5])
    let entry = try #require(source.tensors.entry(named: "a"))
    source.tensors.release(entry)
    #expect(try floats(source.tensors, "a") == [1, 1.5])
    // The whole file is taken where there are both.
    try folder.write(MappedFile(folder.file("model-3.safetensors")).contents(), as: "model.safetensors")
    #expect(try ModelSource.open(folder.path).tensors.tensors.map(\.name) == ["unlisted"])
  }

  @Test func refusesBrokenShards() throws {
    let map = ["b": "model-1.safetensors", "a": "model-2.safetensors"]
    func expect(
      _ words: String..., map: [String: String] = map, spoil: (TemporaryFolder) throws -> Void = { _ in }
    ) throws {
      let folder = try TemporaryFolder()
      try shards(folder, ["b", "a"], map)
      try spoil(folder)
      let error = #expect(throws: FileError.self) { try ModelSource.open(folder.path) }
      let text = error?.description ?? ""
      for word in words { #expect(text.contains(word), "\(text)") }
      #expect(!text.contains("\n"))
    }
    try expect("model-2.safetensors", "cannot be opened", "one of 2 shards") {
      try FileManager.default.removeItem(atPath: $0.file("model-2.safetensors"))
    }
    try expect("model-2.safetensors", "is empty") { try $0.write([], as: "model-2.safetensors") }
    for (left, words) in [(4, "header"), (20, "header"), (70, "past the data")] {
      try expect("model-2.safetensors", words, "one of 2 shards") {
        let bytes = try MappedFile($0.file("model-2.safetensors")).contents()
        #expect(bytes.count > left)
        try $0.write(bytes.prefix(min(left, bytes.count - 1)), as: "model-2.safetensors")
      }
    }
    try expect(
      "model-2.safetensors", "lacks the tensor \"c\"", map: map.merging(["c": "model-2.safetensors"]) { $1 })
    for name in ["../model-1.safetensors", "/etc/passwd", ""] {
      try expect("index.json", "tensor \"b\"", "no name in the folder", map: ["b": name])
    }
    try expect("index.json", "no \"weight_map\"", map: [:])
    try expect("index.json", "line 1") { try $0.write("nonsense".utf8, as: "model.safetensors.index.json") }
  }
}
