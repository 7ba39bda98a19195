import Testing

@testable import FlashCLTokenizers

/// Bytes that are not UTF-8, with the text that Python reads in them.
enum BrokenText {
  private struct Case: Decodable {
    var bytes: [UInt8]
    var text: String

    init(from decoder: any Decoder) throws {
      var list = try decoder.unkeyedContainer()
      bytes = try list.decode([UInt8].self)
      text = try list.decode(String.self)
    }
  }

  static func all() throws -> [(bytes: [UInt8], text: String)] {
    try Fixture.read("broken_utf8.json", as: [Case].self).map { ($0.bytes, $0.text) }
  }
}

@Suite struct StreamingDecoderTests {
  /// A tokeniser whose ids are the bytes.
  private static func bytewise() throws -> ByteLevelBPE {
    try ByteLevelBPE(
      vocabulary: Vocabulary(ByteAlphabet.scalars.map { String($0) }), merges: [],
      preTokenizer: PreTokenizer([]))
  }

  @Test func everySplitGivesTheSameText() throws {
    let tokenizer = try Self.bytewise()
    let cases =
      try BrokenText.all()
      + ["aé€😀", "👩‍👩‍👧‍👦e\u{301}", "\u{FFFD}\u{7FF}\u{800}\u{FFFF}\u{10000}\u{10FFFF}"]
      .map { (Array($0.utf8), $0) }
    for (bytes, text) in cases {
      let ids = bytes.map(Int32.init)
      #expect(try tokenizer.decode(ids) == text)
      for split in 0...ids.count {
        var decoder = StreamingDecoder(tokenizer)
        let first = try decoder.push(ids[..<split])
        #expect(text.unicodeScalars.starts(with: first.unicodeScalars))
        #expect(try first + decoder.push(ids[split...]) + decoder.finish() == text)
      }
      var decoder = StreamingDecoder(tokenizer)
      #expect(try ids.map { try decoder.push($0) }.joined() + decoder.finish() == text)
    }
  }

  @Test func charactersComeOutAsSoonAsTheyAreWhole() throws {
    var decoder = StreamingDecoder(try Self.bytewise())
    #expect(try "é😀!".utf8.map { try decoder.push(Int32($0)) } == ["", "é", "", "", "", "😀", "!"])
    #expect(decoder.finish() == "")
    #expect(try decoder.push([0xF0, 0x9F]) == "")
    #expect(decoder.finish() == "\u{FFFD}")
    #expect(try decoder.push(0x41) == "A", "finish() starts a new text")
  }

  @Test(
    arguments: [[0xE0, 0x9F], [0xED, 0xA0], [0xF0, 0x8F], [0xF4, 0x90], [0xC1, 0x80], [0xF5, 0x80]]
      as [[Int32]])
  func whatCannotBecomeACharacterIsNotHeldBack(ids: [Int32]) throws {
    var decoder = StreamingDecoder(try Self.bytewise())
    #expect(try decoder.push(ids) == "\u{FFFD}\u{FFFD}")
  }

  @Test(
    arguments: [[0xE0, 0xA0], [0xED, 0x9F], [0xF0, 0x90], [0xF4, 0x8F], [0xF1, 0x80, 0xBF]] as [[Int32]])
  func whatMayBecomeACharacterIsHeldBack(ids: [Int32]) throws {
    var decoder = StreamingDecoder(try Self.bytewise())
    #expect(try decoder.push(ids) == "")
    #expect(decoder.finish() == "\u{FFFD}")
  }

  @Test(arguments: Small.names)
  func agreesWithDecode(name: String) throws {
    let tokenizer = try Small.make(name)
    for text in try Fixture.read("strings.json", as: [String].self) {
      let ids = try tokenizer.encode(text, special: true)
      for skipSpecial in [false, true] {
        var decoder = StreamingDecoder(tokenizer, skipSpecial: skipSpecial)
        let streamed = try ids.map { try decoder.push($0) }.joined() + decoder.finish()
        #expect(ExactString(streamed) == ExactString(try tokenizer.decode(ids, skipSpecial: skipSpecial)))
      }
    }
  }

  @Test func anUnknownIDChangesNothing() throws {
    var decoder = StreamingDecoder(try Self.bytewise())
    #expect(try decoder.push(0xC3) == "")
    #expect(throws: TokenizerError.unknownID(999, vocabularySize: 256)) { try decoder.push([0xA9, 999]) }
    #expect(try decoder.push(0xA9) == "é")
  }

  @Test func theFirstWordHasNoSpace() throws {
    let tokenizer = try VocabularyFile("wordpiece.json").wordPiece()
    let ids = try tokenizer.encode("the model reads", special: true)
    var decoder = StreamingDecoder(tokenizer)
    #expect(try ids.map { try decoder.push($0) }.joined() == "the model reads")
  }
}
