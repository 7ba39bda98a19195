import FlashCLFiles
import Testing

@testable import FlashCLModels
@testable import FlashCLTokenizers

/// Ids, splits and text against the `tokenizers` package.
@Suite struct GoldenTests {
  @Test(arguments: Small.names)
  func smallVocabularies(name: String) throws {
    try check(try Small.make(name), against: Fixture.read("goldens_\(name).json"))
  }

  static let fetched = "the vocabularies are made by make_goldens.py --vocabularies, into the cache folder"

  @Test(.enabled(if: Fixture.isCached("gpt2.vocabulary.json"), Comment(rawValue: fetched)))
  func gpt2() throws {
    let file = try VocabularyFile(cached: "gpt2.vocabulary.json")
    try check(file.byteLevel(PreTokenizer(named: "gpt-2")), against: Fixture.read("real_gpt2.json"))
  }

  @Test(.enabled(if: Fixture.isCached("smollm2.vocabulary.json"), Comment(rawValue: fetched)))
  func smolLM2() throws {
    let file = try VocabularyFile(cached: "smollm2.vocabulary.json")
    try check(file.byteLevel(PreTokenizer(named: "smollm")), against: Fixture.read("real_smollm2.json"))
  }

  @Test(
    .enabled(
      if: Fixture.isCached("all-MiniLM-L6-v2/vocab.txt"), "all-MiniLM-L6-v2 is not in the cache folder"))
  func miniLM() throws {
    let bytes = try Fixture.bytes(cached: "all-MiniLM-L6-v2/vocab.txt")
    let lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
    let vocabulary = try Vocabulary(lines.dropLast().map { String(decoding: $0, as: UTF8.self) })
    let added = try ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map { content in
      AddedToken(content, id: try #require(vocabulary.id(of: content)), isSpecial: true)
    }
    let tokenizer = try WordPiece(
      vocabulary: vocabulary, added: added, template: Template(prefix: [101], suffix: [102]))
    try check(tokenizer, against: Fixture.read("real_minilm.json"))
  }

  private func check(_ tokenizer: any Tokenizer, against goldens: Goldens) throws {
    let texts = try Fixture.read("strings.json", as: [String].self)
    try #require(texts.count >= 200)
    try #require(texts.count == goldens.plain.count)
    for (index, text) in texts.enumerated() {
      let name = Comment(rawValue: "text \(index): \(text.debugDescription)")
      #expect(try tokenizer.encode(text, special: false) == goldens.plain[index], name)
      let ids = try tokenizer.encode(text, special: true)
      #expect(ids == goldens.special[index], name)
      let decoded = ExactString(try tokenizer.decode(ids, skipSpecial: false))
      #expect(decoded == ExactString(goldens.decoded[index]), name)
      let skipped = ExactString(try tokenizer.decode(ids, skipSpecial: true))
      #expect(skipped == ExactString(goldens.skipped[index] ?? goldens.decoded[index]), name)
    }
  }

  @Test(arguments: [
    "gpt-2", "smollm", "llama-bpe", "qwen2", "default", "falcon", "deepseek-coder", "deepseek-llm",
    "deepseek-v3",
    "bloom", "viking", "tekken", "gpt-4o", "seed-coder",
  ])
  func splits(name: String) throws {
    let texts = try Fixture.read("strings.json", as: [String].self)
    let goldens = try #require(Fixture.read("splits.json", as: [String: [[Int]]].self)[name])
    let preTokenizer = try PreTokenizer(named: name)
    for (text, golden) in zip(texts, goldens) {
      let words = preTokenizer.words(of: AlignedText(Array(text.unicodeScalars))).map(\.scalars)
      #expect(words.map(\.count) == golden, Comment(rawValue: text.debugDescription))
      #expect(Array(words.joined()) == Array(text.unicodeScalars))
    }
  }

  /// BERT's pieces as GGUF spells them.
  @Test func bertInGGUF() throws {
    let file = try GGUF(Fixture.folder.appending(path: "bert.gguf").path())
    let tokenizer = try TokenizerFiles.load(.gguf(file))
    try check(tokenizer, against: Fixture.read("goldens_wordpiece.json"))
  }

  private struct WorkedExamples: Decodable {
    struct Piece: Decodable {
      var piece: String
      var id: Int32

      init(from decoder: any Swift.Decoder) throws {
        var list = try decoder.unkeyedContainer()
        piece = try list.decode(String.self)
        id = try list.decode(Int32.self)
      }
    }

    struct Example: Decodable {
      var text: String
      var ids: [Int32]

      init(from decoder: any Swift.Decoder) throws {
        var list = try decoder.unkeyedContainer()
        text = try list.decode(String.self)
        ids = try list.decode([Int32].self)
      }
    }

    var pieces: [Piece]
    var merges: [[String]]
    var examples: [Example]
  }

  /// Three texts in GPT-2's own ids, from the excerpt of its vocabulary that they need.
  @Test func workedExamplesOfGPT2() throws {
    let file = try Fixture.read("worked_examples.json", as: WorkedExamples.self)
    let tokenizer = try ByteLevelBPE(
      vocabulary: Vocabulary(file.pieces.map { (piece: $0.piece, id: $0.id) }),
      merges: file.merges.map { ByteLevelBPE.Merge($0[0], $0[1]) }, preTokenizer: PreTokenizer(named: "gpt-2")
    )
    let published: [String: [Int32]] = [
      "Data visualization empowers users to": [6601, 32704, 795, 30132, 2985, 284],
      "Hello, how are you?": [15496, 11, 703, 389, 345, 30],
      "叫": [20998, 104],
    ]
    #expect(file.examples.count == published.count)
    for example in file.examples {
      #expect(example.ids == published[example.text])
      #expect(try tokenizer.encode(Array(example.text.utf8), special: false) == example.ids)
      #expect(try tokenizer.decode(example.ids) == example.text)
    }
  }
}
