import FlashCLFiles
import Testing

@testable import FlashCLModels
@testable import FlashCLTokenizers

/// The readers of SentencePiece's files, given what is not one.
@Suite struct SentencePieceModelTests {
  @Test func partsAreRead() throws {
    let model = try SpanTests.model("llama2")
    #expect(model.algorithm == .bpe && model.byteFallback && model.pieces.count == 600)
    #expect(model.pieces(.byte).count == 256 && model.pieces(.unknown) == ["<unk>"])
    #expect(!model.normalizer.removesExtraWhitespaces && model.normalizer.charsmap == nil)
    let t5 = try SpanTests.model("t5")
    #expect(t5.algorithm == .unigram && t5.pieces(.userDefined) == ["tion", "▁the▁"])
    #expect(t5.normalizer.charsmap != nil)
  }

  @Test(arguments: ["t5", "llama2"])
  func aCutFileIsRefused(name: String) throws {
    let bytes = try Fixture.read(bytes: "\(name).model")
    var refused = 0
    for count in stride(from: 0, to: bytes.count, by: 7) {
      do {
        // A cut between two pieces is a smaller model, which may be whole.
        _ = try SentencePieceModel(Array(bytes[..<count])).tokenizer()
      } catch let error as TokenizerError {
        refused += 1
        #expect(error.description.contains("SentencePiece"))
      }
    }
    #expect(refused > bytes.count / 7 / 2)
  }

  /// Any change of a byte is read or refused; whatever is read, encodes.
  @Test(arguments: ["t5", "llama2", "unigram_bytes"])
  func damagedFilesNeverCrash(name: String) throws {
    let bytes = try Fixture.read(bytes: "\(name).model")
    var chance = Chance(state: 5)
    for _ in 0..<150 {
      var damaged = bytes
      for _ in 0..<Int.random(in: 1...4, using: &chance) {
        damaged[Int.random(in: damaged.indices, using: &chance)] = .random(in: 0...255, using: &chance)
      }
      do {
        let tokenizer = try SentencePieceModel(damaged).tokenizer()
        let ids: [Int32] = try tokenizer.encode(chance.text(length: 30), special: true)
        _ = try tokenizer.decode(ids)
      } catch is TokenizerError {
        continue
      }
    }
  }

  @Test func damagedCharacterMapsNeverCrash() throws {
    var chance = Chance(state: 6)
    for length in 0..<600 {
      var bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &chance) }
      if length >= 8 {
        let size = (length - 4) / 8 * 4
        bytes.replaceSubrange(0..<4, with: [UInt8(size & 255), UInt8(size >> 8), 0, 0])
      }
      guard let map = try? Charsmap(bytes) else { continue }
      let text = Array(chance.text(length: 50).unicodeScalars)
      _ = Normalizer.precompiled(map).normalize(text)
      _ = Normalizer.sentencePiece(SentencePieceNormalizer(charsmap: map)).normalize(text)
    }
    #expect(throws: TokenizerError.self) { try Charsmap([1, 2, 3]) }
    #expect(throws: TokenizerError.self) { try Charsmap([8, 0, 0, 0, 1, 2, 3, 4]) }
    #expect(throws: TokenizerError.self) { try Charsmap([0, 0, 0, 0, 1, 2, 3, 4]) }
  }

  @Test func whatCannotBeSpelledIsRefused() throws {
    let unigram = try Unigram([.init("a", score: -1)], unknown: nil)
    let tokenizer = try SubwordTokenizer(
      vocabulary: Vocabulary(["a"]), model: .unigram(unigram), decoder: PieceDecoder([]))
    #expect(try tokenizer.encode("aaa") == [0, 0, 0])
    #expect(throws: TokenizerError.noUnknownToken("bc")) { try tokenizer.encode("abc") }
    #expect(throws: TokenizerError.self) { try Unigram([.init("a", score: .nan)], unknown: nil) }
    #expect(throws: TokenizerError.self) { try Unigram([.init("a", score: 0)], unknown: 1) }
    #expect(throws: TokenizerError.self) { try SentencePieceModel([]) }
    #expect(throws: TokenizerError.self) { try PieceDecoder([.fuse, .strip(" ", start: 0, stop: 1)]) }
  }

  /// Alternatives in their order, runs from their longest, looks ahead, classes; matches never overlap.
  @Test(arguments: [
    (#"a+|b"#, "aabxb", ["aa", "b", "b"]), (#"[^a-c\s]+"#, "ab xy-c z", ["xy-", "z"]),
    (#"(?i:'s|'RE)x?"#, "'Sx 'ſ 're", ["'Sx", "'ſ", "'re"]), (#"\p{N}{1,3}"#, "12345", ["123", "45"]),
    (#"\s+(?!\S)|\s+"#, "a   b \n", ["  ", " ", " \n"]), (#"\s+$"#, "a  \nb  ", ["  ", "  "]),
    (#"a++ab|a"#, "aab", ["a", "a"]), (#"a+ab"#, "aaab", ["aaab"]), (#"x(?=y)"#, "xxy", ["x"]),
    (#"\p{Lu}\p{Ll}*|\P{L}"#, "Ab1éÉé", ["Ab", "1", "Éé"]), (#"[\-\]\u0041]+"#, "a-]A", ["-]A"]),
    (#"(ab|a)b"#, "abb ab", ["abb", "ab"]), (#"\w+|[^\w\s]"#, "it's", ["it", "'", "s"]),
  ])
  func expressionsMatch(regex: String, text: String, matches: [String]) throws {
    let scalars = Array(text.unicodeScalars)
    let found = try ScalarExpression(regex).matches(in: scalars[...])
    #expect(found.map { String(scalars[$0]) } == matches)
  }

  @Test func simplePatternsAreReadAndOthersRefused() throws {
    #expect(try TextPattern(regex: " {2,}") == .run(.scalar(" "), atLeast: 2))
    #expect(try TextPattern(regex: #"\s+"#) == .run(.space, atLeast: 1))
    #expect(try TextPattern(regex: #"\n"#) == .literal("\n"))
    #expect(try TextPattern(regex: "ab") == .literal("ab"))
    for regex in [
      "", "a|", "a{0,}", "a*", "(", ")", "[a", "[]", "(?<a>b)", "(ab)+", "a+?", "^a", "a.", #"\"#, #"\q"#,
      #"\p{Foo}"#,
      "[z-a]", "[a[b]]", "a{2,1}", "**", "(?=a)", #"a\b"#, String(repeating: "(", count: 999),
    ] {
      #expect(throws: TokenizerError.self, Comment(rawValue: regex)) { try TextPattern(regex: regex) }
    }
  }
}
