import FlashCLFiles
import Testing

@testable import FlashCLModels
@testable import FlashCLTokenizers

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// Folders with a SentencePiece model and no tokenizer.json, against each family's own tokenizer in
/// `transformers`.
@Suite struct FamilyTests {
  struct Family: Decodable {
    var type: String
    var files: [String: String]
    var config: [String: JSONValue]
    var texts: [[String?]]
    var vocab: [String]?
    var target_vocab: [String]?
    var target_ids: String?
  }

  /// A number or a string of tokenizer_config.json.
  struct JSONValue: Decodable {
    var text: String

    init(from decoder: any Swift.Decoder) throws {
      let value = try decoder.singleValueContainer()
      if let number = try? value.decode(Int.self) {
        text = "\(number)"
      } else {
        text = "\"\(try value.decode(String.self))\""
      }
    }
  }

  static let names = ["t5", "llama", "albert", "xlm_roberta", "mbart", "deberta", "marian"]

  /// Writes the folder of a family, with weights of no tensor.
  private static func withFolder(
    _ family: Family, texts: [String: String] = [:], _ body: (ModelFolder) throws -> Void
  ) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "flashcl-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    func write(_ name: String, _ bytes: some Sequence<UInt8>) throws {
      try Data(bytes).write(to: folder.appending(path: name))
    }
    try write("config.json", "{\"model_type\": \"\(family.type)\"}".utf8)
    try write("model.safetensors", [8, 0, 0, 0, 0, 0, 0, 0] + Array("{}      ".utf8))
    let settings = family.config.map { "\"\($0)\": \($1.text)" }.joined(separator: ",")
    try write("tokenizer_config.json", "{\(settings)}".utf8)
    for (name, model) in family.files { try write(name, Fixture.read(bytes: "\(model).model")) }
    for (name, pieces) in [("vocab.json", family.vocab), ("target_vocab.json", family.target_vocab)] {
      guard let pieces else { continue }
      let members = try pieces.enumerated().map { id, piece in
        "\(String(decoding: try JSONEncoder().encode(piece), as: UTF8.self)):\(id)"
      }
      try write(name, "{\(members.joined(separator: ","))}".utf8)
    }
    for (name, text) in texts { try write(name, text.utf8) }
    try body(ModelFolder(folder.path()))
  }

  private static func numbers(_ text: String?) -> [Int32] {
    (text ?? "").split(separator: " ").compactMap { Int32($0) }
  }

  @Test(arguments: names)
  func idsAreTheFamilysOwn(name: String) throws {
    let family = try #require(Fixture.read("families.json", as: [String: Family].self)[name])
    try Self.withFolder(family) { folder in
      let tokenizer = try TokenizerFiles.load(.folder(folder))
      for text in family.texts {
        let comment = Comment(rawValue: text[0]?.debugDescription ?? "")
        let encoding = try tokenizer.encode(text[0] ?? "", pair: text[1], special: true)
        #expect(encoding.ids == Self.numbers(text[2]), comment)
        #expect(encoding.segments == Self.numbers(text[3]), comment)
      }
      let target = try TokenizerFiles.loadTarget(.folder(folder))
      guard let ids = family.target_ids else { return }
      #expect(try target.encode("look back", special: true) == Self.numbers(ids))
      #expect(try target.decode(Self.numbers(ids)) == "look back")
    }
  }

  /// RoBERTa's old form, vocab.json and merges.txt, against its tokenizer.json.
  @Test func bytePairsInTwoFiles() throws {
    let text = String(decoding: try Fixture.read(bytes: "roberta.tokenizer.json"), as: UTF8.self)
    let json = try JSON(parsing: text.replacing("\"ignore_merges\":true", with: "\"ignore_merges\":false"))
    let expected = try TokenizerJSON.load(json)
    var family = try #require(Fixture.read("families.json", as: [String: Family].self)["llama"])
    (family.type, family.files) = ("roberta", [:])
    family.vocab = try (0..<Int32(expected.vocabularySize)).map { try expected.piece(of: $0) }
    let merges = (json["model"]?["merges"]?.array ?? []).map {
      "\($0[0]?.string ?? "") \($0[1]?.string ?? "")\n"
    }
    let files = [
      "merges.txt": "#version: 0.2\n" + merges.joined(),
      "tokenizer_config.json": "{\"add_prefix_space\": true}",
    ]
    try Self.withFolder(family, texts: files) { folder in
      let tokenizer = try TokenizerFiles.load(.folder(folder))
      for text in try Fixture.read("span_texts.json", as: [String].self) {
        let comment = Comment(rawValue: text.debugDescription)
        let encoding = try tokenizer.encode(text, pair: "é x", special: true)
        #expect(try encoding == expected.encode(text, pair: "é x", special: true), comment)
      }
    }
  }

  @Test func whatIsMissingIsNamed() throws {
    var family = try #require(Fixture.read("families.json", as: [String: Family].self)["marian"])
    family.vocab = nil
    try Self.withFolder(family) { folder in
      let error = #expect(throws: ModelError.self) { try TokenizerFiles.load(.folder(folder)) }
      #expect(error.map { "\($0)".contains("vocab.json") } == true)
    }
    family.files = ["spiece.model": "bpe"]
    for (type, word) in [("no-such", "no-such"), ("albert", "[MASK]")] {
      family.type = type
      try Self.withFolder(family) { folder in
        let error = #expect(throws: ModelError.self) { try TokenizerFiles.load(.folder(folder)) }
        #expect(error.map { "\($0)".contains(word) } == true)
      }
    }
  }
}
