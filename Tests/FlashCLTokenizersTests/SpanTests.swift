import FlashCLFiles
import Testing

@testable import FlashCLModels
@testable import FlashCLTokenizers

/// Ids, places, segments and decoded text of SentencePiece's family and of byte-level BPE, against
/// `tokenizers` and `sentencepiece`.
@Suite struct SpanTests {
  static let files = [
    "t5", "t5_old", "albert", "xlnet", "xlm_roberta", "llama2", "gemma", "roberta", "llama3", "gpt1",
    "clip", "word_level",
  ]
  static let models = ["t5", "unigram_bytes", "llama2", "bpe", "albert", "words", "characters"]

  static func tokenizer(_ name: String) throws -> any Tokenizer {
    let path = Fixture.folder.appending(path: "\(name).tokenizer.json").path()
    return try TokenizerJSON.load(JSON(MappedFile(path)))
  }

  static func model(_ name: String) throws -> SentencePieceModel {
    try SentencePieceModel(Fixture.read(bytes: "\(name).model"))
  }

  /// What make_sentencepiece.py writes; its head tells what the fields hold.
  private struct Goldens: Decodable {
    var ids: [String]
    var places: [String]
    var decoded: [String?]
    var pairs: [[String]]
  }

  private static func numbers(_ text: String) -> [Int32?] { text.split(separator: " ").map { Int32($0) } }

  private static func places(_ text: String) -> [Range<Int>] {
    var end = 0
    return text.split(separator: " ").map { item in
      let parts = item.split(separator: "+").compactMap { Int($0) }
      let start = parts.count == 2 ? end + parts[0] : end
      end = start + (parts.last ?? 0)
      return start..<end
    }
  }

  /// `unknown` is how the judge decodes an unknown token, which it does not skip.
  private func check(
    _ tokenizer: any Tokenizer, against name: String, special: Bool, unknown: String? = nil
  ) throws {
    let texts = try Fixture.read("span_texts.json", as: [String].self)
    let goldens = try Fixture.read(name, as: Goldens.self)
    try #require(texts.count == 200 && goldens.ids.count == 200)
    for (index, text) in texts.enumerated() {
      let comment = Comment(rawValue: "text \(index): \(text.debugDescription)")
      let encoding = try tokenizer.encode(text, pair: nil, special: special)
      #expect(encoding.ids == Self.numbers(goldens.ids[index]), comment)
      #expect(encoding.offsets == Self.places(goldens.places[index]), comment)
      var decoded = try tokenizer.decode(encoding.ids, skipSpecial: unknown == nil)
      if let unknown {
        let replaced = Normalizer.replace(.literal("<unk>"), by: unknown)
        decoded = String(replaced.normalize(Array(decoded.unicodeScalars)))
      }
      #expect(ExactString(decoded) == ExactString(goldens.decoded[index] ?? text), comment)
    }
    for pair in goldens.pairs {
      let encoding = try tokenizer.encode(pair[0], pair: pair[1], special: special)
      #expect(encoding.ids == Self.numbers(pair[2]))
      #expect(encoding.segments == Self.numbers(pair[3]))
      #expect(encoding.sources == Self.numbers(pair[4]).map { $0.map(Int.init) })
      #expect(encoding.specialMask == encoding.sources.map { $0 == nil })
      #expect(encoding.offsets == Self.places(pair[5]))
    }
  }

  @Test(arguments: files)
  func tokenizersFile(name: String) throws {
    try check(Self.tokenizer(name), against: "spans_\(name).json", special: true)
  }

  @Test(arguments: models)
  func sentencePieceModel(name: String) throws {
    try check(
      Self.model(name).tokenizer(), against: "spans_\(name).model.json", special: false, unknown: " ⁇ ")
  }

  @Test func gguf() throws {
    let file = try GGUF(Fixture.folder.appending(path: "llama2.gguf").path())
    let tokenizer = try TokenizerFiles.load(.gguf(file))
    try check(tokenizer, against: "spans_llama2.model.json", special: false)
    #expect(try tokenizer.encode("", special: true) == [1])
  }

  /// A token's place, read back from the text, is the token.
  @Test func placesReadBack() throws {
    let tokenizer = try Self.tokenizer("llama2")
    let text = "Attention is a way to look back."
    let encoding = try tokenizer.encode(text, pair: nil, special: true)
    #expect(encoding.sources.first == .some(nil))
    #expect(encoding.offsets.dropFirst().map { text.scalars(at: $0) }.joined().hasSuffix("look back."))
    #expect(encoding[1..<3].ids == Array(encoding.ids[1..<3]))
  }

  /// A megabyte without a space is cut in time that grows with its length, not its square.
  @Test(.timeLimit(.minutes(2)), arguments: ["t5", "llama2", "gemma", "llama3"])
  func aMegabyteOfOneWord(name: String) throws {
    let tokenizer = try Self.tokenizer(name)
    for unit in ["a", "attention", "é"] {
      let text = String(repeating: unit, count: 1_000_000 / unit.utf8.count)
      let encoding = try tokenizer.encode(text, pair: nil, special: false)
      #expect(encoding.offsets.last?.upperBound == text.unicodeScalars.count)
    }
  }
}
