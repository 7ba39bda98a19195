import Testing

@testable import FlashCLTokenizers

@Suite struct ByteLevelBPETests {
  private func small(_ name: String = "gpt-2") throws -> ByteLevelBPE {
    try VocabularyFile("bpe.json").byteLevel(PreTokenizer(named: name))
  }

  @Test(arguments: ["gpt-2", "smollm", "llama-bpe", "qwen2"])
  func everyTextComesBackByteForByte(name: String) throws {
    let tokenizer = try small(name)
    var chance = Chance(state: 7)
    var texts = try Fixture.read("strings.json", as: [String].self)
    texts += (0..<300).map { chance.text(length: $0 % 60) }
    texts += ["e\u{301}", "\u{e9}", "\u{1F469}\u{200D}\u{1F467}", "\r\n", "\u{0}"]
    // One added token of the fixture takes the spaces after it.
    for text in texts where !text.contains("<tool>") {
      let ids: [Int32] = try tokenizer.encode(Array(text.utf8), special: false)
      #expect(Array(try tokenizer.decode(ids, skipSpecial: false).utf8) == Array(text.utf8))
      #expect(try ids.flatMap { try tokenizer.bytes(of: $0) } == Array(text.utf8))
    }
  }

  @Test func emptyTextHasNoIDs() throws {
    #expect(try small().encode([UInt8](), special: false) == [])
    #expect(try small().encode([UInt8](), special: true) == [])
    #expect(try small().decode([]) == "")
  }

  @Test func plainTextNeverBecomesASpecialToken() throws {
    let tokenizer = try small()
    let ids = try tokenizer.encode("a<|endoftext|>b<|im_start|>", special: false)
    #expect(!ids.contains(where: tokenizer.isSpecial))
    let special = try tokenizer.encode("a<|endoftext|>b", special: true)
    #expect(special.filter(tokenizer.isSpecial) == [tokenizer.id(ofPiece: "<|endoftext|>")])
    #expect(try tokenizer.decode(special, skipSpecial: true) == "ab")
    #expect(try tokenizer.decode(special, skipSpecial: false) == "a<|endoftext|>b")
  }

  @Test func everyIDHasAPieceAndBytes() throws {
    let tokenizer = try small()
    #expect(tokenizer.missingBytes == [])
    for id in 0..<Int32(tokenizer.vocabularySize) {
      let piece = try tokenizer.piece(of: id)
      #expect(tokenizer.id(ofPiece: piece) == id)
      #expect(try !tokenizer.bytes(of: id).isEmpty)
    }
    let space = try #require(tokenizer.id(ofPiece: "Ġ"))
    #expect(try tokenizer.bytes(of: space) == [32])
    #expect(try tokenizer.bytes(of: #require(tokenizer.id(ofPiece: "Ünï→"))) == Array("Ünï→".utf8))
  }

  @Test(arguments: [-1, .min, .max, 930, 5000] as [Int32])
  func unknownIDsThrow(id: Int32) throws {
    let tokenizer = try small()
    #expect(tokenizer.vocabularySize == 930)
    let error = TokenizerError.unknownID(id, vocabularySize: 930)
    #expect(throws: error) { try tokenizer.piece(of: id) }
    #expect(throws: error) { try tokenizer.bytes(of: id) }
    #expect(throws: error) { try tokenizer.decode([0, id]) }
    #expect(!tokenizer.isSpecial(id))
    #expect(error.description.contains("\(id)") && error.description.contains("929"))
  }

  @Test(.timeLimit(.minutes(1)), arguments: ["gpt-2", "smollm", "llama-bpe", "qwen2"])
  func longTextWithoutSpacesIsNotQuadratic(name: String) throws {
    let tokenizer = try small(name)
    var chance = Chance(state: 3)
    let word = String((0..<100_000).map { _ in "abehinorst".randomElement(using: &chance) ?? "a" })
    for text in [word, String(repeating: "a", count: 100_000), String(repeating: " ", count: 100_000)] {
      #expect(try tokenizer.decode(tokenizer.encode(text)) == text)
    }
  }

  @Test func brokenUTF8IsReadAsReplacementCharacters() throws {
    let tokenizer = try small()
    for (bytes, text) in try BrokenText.all() {
      #expect(try tokenizer.encode(bytes, special: false) == (try tokenizer.encode(text)))
    }
  }

  @Test func bytesWithoutAPieceAreLeftOut() throws {
    let tokenizer = try ByteLevelBPE(
      vocabulary: Vocabulary(["a", "b", "ab"]), merges: [.init("a", "b")],
      preTokenizer: PreTokenizer(named: "gpt-2"))
    #expect(tokenizer.missingBytes.count == 254)
    #expect(try tokenizer.encode("ab!b\u{0}a") == [2, 1, 0])
  }

  @Test func mergesGoByRankThenFromTheLeft() throws {
    let vocabulary = try Vocabulary(["a", "b", "c", "bc", "ab", "aa", "abc"])
    func ids(_ text: String, _ merges: [ByteLevelBPE.Merge], ignoreMerges: Bool = false) throws -> [Int32] {
      try ByteLevelBPE(
        vocabulary: vocabulary, merges: merges, preTokenizer: PreTokenizer(named: "gpt-2"),
        ignoreMerges: ignoreMerges
      ).encode(text)
    }
    #expect(try ids("abc", [.init("b", "c"), .init("a", "b")]) == [0, 3])
    #expect(try ids("abc", [.init("a", "b"), .init("b", "c")]) == [4, 2])
    #expect(try ids("abc", [.init("b", "c"), .init("a", "bc")]) == [6])
    #expect(try ids("aaa", [.init("a", "a")]) == [5, 0])
    #expect(try ids("aaaa", [.init("a", "a")]) == [5, 5])
    #expect(try ids("abc", [], ignoreMerges: true) == [6])
    #expect(try ids("abc", []) == [0, 1, 2])
  }

  @Test func mergesAreReadFromLines() throws {
    #expect(try ByteLevelBPE.Merge(line: "Ġ t") == .init("Ġ", "t"))
    for line in ["", "a", "a b c", " a", "a ", "a  b"] {
      #expect(throws: TokenizerError.self) { try ByteLevelBPE.Merge(line: line) }
    }
  }

  @Test func brokenDescriptionsAreRefusedInWords() throws {
    let preTokenizer = try PreTokenizer(named: "gpt-2")
    let vocabulary = try Vocabulary(["a", "b"])
    func message(_ body: () throws -> Void) -> String {
      do {
        try body()
        return ""
      } catch { return "\(error)" }
    }
    let missing = message {
      _ = try ByteLevelBPE(vocabulary: vocabulary, merges: [.init("a", "b")], preTokenizer: preTokenizer)
    }
    #expect(missing.contains("merge 0") && missing.contains("'ab'"))
    let noPrefix = message {
      _ = try ByteLevelBPE(
        vocabulary: vocabulary, merges: [], preTokenizer: preTokenizer,
        template: Template(prefix: [9]))
    }
    #expect(noPrefix.contains("id 9"))
    let twice = message { _ = try Vocabulary([(piece: "a", id: 1), (piece: "b", id: 1)]) }
    #expect(twice.contains("id 1 has two pieces"))
    for id in [-1, Int32.max] {
      #expect(message { _ = try Vocabulary([(piece: "a", id: id)]) }.contains("\(id)"))
      let token = AddedToken("x", id: id, isSpecial: true)
      #expect(
        message {
          _ = try ByteLevelBPE(vocabulary: vocabulary, merges: [], added: [token], preTokenizer: preTokenizer)
        }.contains("\(id)"))
    }
  }

  @Test func equivalentSpellingsAreDifferentPieces() throws {
    let vocabulary = try Vocabulary(["e\u{301}", "\u{e9}", "\u{e9}"])
    #expect(vocabulary.id(of: "e\u{301}") == 0)
    #expect(vocabulary.id(of: "\u{e9}") == 1)
  }

  @Test func vocabulariesMayHaveGaps() throws {
    let tokenizer = try ByteLevelBPE(
      vocabulary: Vocabulary([(piece: "a", id: 3)]), merges: [],
      added: [AddedToken("<s>", id: 6, isSpecial: true)], preTokenizer: PreTokenizer([]),
      template: Template(prefix: [6]))
    #expect(tokenizer.vocabularySize == 7)
    #expect(try tokenizer.encode("a<s>", special: true) == [6, 3, 6])
    #expect(throws: TokenizerError.unknownID(4, vocabularySize: 7)) { try tokenizer.piece(of: 4) }
  }
}

@Suite struct PreTokenizerTests {
  @Test func unknownNamesAndPatternsAreNamed() {
    #expect {
      try PreTokenizer(named: "no-such")
    } throws: { "\($0)".contains("no-such") && "\($0)".contains("smollm") }
    #expect {
      try PreTokenizer.Step.split(regex: #"(a)+"#, behavior: "Isolated", invert: false)
    } throws: { "\($0)".contains("(a)+") }
    #expect {
      try PreTokenizer.Step.split(regex: SplitPattern.qwen2.rawValue, behavior: "Merged", invert: false)
    } throws: { "\($0)".contains("MergedWithNext") }
  }

  @Test(arguments: SplitPattern.allCases)
  func patternsAreKnownByTheirText(pattern: SplitPattern) throws {
    #expect(
      try PreTokenizer.Step.split(regex: pattern.rawValue, behavior: "Removed", invert: true)
        == .split(pattern))
    // Read as an expression it cuts alike.
    let scalars = Array("It's 12345  so\n\n we'LL see: été…  ".unicodeScalars)[...]
    let expression = try ScalarExpression(pattern.rawValue)
    #expect(expression.matches(in: scalars).map { scalars[$0] } == pattern.split(scalars))
  }

  @Test func digitsInRuns() {
    let words = PreTokenizer([.digits(individual: false)]).words(
      of: AlignedText(Array("a12 3b".unicodeScalars))
    ).map(\.scalars)
    #expect(words.map { String($0) } == ["a", "12", " ", "3", "b"])
  }

  @Test func noStepsKeepTheTextWhole() {
    #expect(
      PreTokenizer([]).words(of: AlignedText(Array("a b".unicodeScalars))).map { String($0.scalars) } == [
        "a b"
      ])
    #expect(PreTokenizer([]).words(of: AlignedText([])).isEmpty)
  }

  @Test func bytesAndTheirSpellings() {
    let all = Array(UInt8.min...UInt8.max)
    #expect(Set(ByteAlphabet.scalars).count == 256)
    #expect(ByteAlphabet.read(ByteAlphabet.spell(all)) == all)
    #expect(ByteAlphabet.spell([32, 10, 33, 0, 0xAD]) == "ĠĊ!ĀŃ")
    #expect(ByteAlphabet.read("a b") == nil)
  }
}
