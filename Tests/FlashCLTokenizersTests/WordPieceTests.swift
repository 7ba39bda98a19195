import Testing

@testable import FlashCLTokenizers

@Suite struct WordPieceTests {
  private static let pieces = [
    "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##s", "a", "##a", ".", "'", "##e\u{301}",
  ]

  private func make(_ maxCharacters: Int = 100, normalizers: [Normalizer] = [.bert(BertNormalizer())]) throws
    -> WordPiece
  {
    try WordPiece(
      vocabulary: Vocabulary(Self.pieces),
      added: zip(Self.pieces, Int32(0)...).prefix(3).map { AddedToken($0, id: $1, isSpecial: true) },
      maxCharactersPerWord: maxCharacters, normalizers: normalizers,
      template: Template(prefix: [1], suffix: [2]))
  }

  @Test func cutsTheLongestPieceFirst() throws {
    let tokenizer = try make()
    #expect(try tokenizer.encode("Playing plays a.") == [3, 4, 3, 5, 6, 8])
    #expect(try tokenizer.encode("a", special: true) == [1, 6, 2])
    #expect(try tokenizer.encode("playx x") == [0, 0], "one unknown token for a whole word")
    #expect(try tokenizer.encode("") == [])
    #expect(try tokenizer.encode("", special: true) == [1, 2])
  }

  @Test func longWordsAreUnknown() throws {
    #expect(try make(4).encode("aaaa aaaaa") == [6, 7, 7, 7, 0])
    #expect(try make().encode(String(repeating: "a", count: 100_000)) == [0])
  }

  @Test func specialTokensOnlyWhereAskedFor() throws {
    let tokenizer = try make()
    #expect(try tokenizer.encode("a[SEP]a", special: true) == [1, 6, 2, 6, 2])
    #expect(try !tokenizer.encode("a[SEP]a").contains(2))
  }

  @Test func textOfIDs() throws {
    let tokenizer = try make()
    #expect(try tokenizer.decode([1, 3, 4, 6, 8, 2]) == "playing a.")
    #expect(try tokenizer.decode([1, 3, 2], skipSpecial: false) == "[CLS] play [SEP]")
    #expect(try tokenizer.decode([4, 4]) == "##inging", "the first piece has no word to continue")
    #expect(try tokenizer.bytes(of: 3) == Array(" play".utf8))
    #expect(try tokenizer.bytes(of: 4) == Array("ing".utf8))
    #expect(try tokenizer.bytes(of: 10) == Array("e\u{301}".utf8))
    #expect(try tokenizer.piece(of: 4) == "##ing")
    #expect(throws: TokenizerError.unknownID(11, vocabularySize: 11)) { try tokenizer.decode([3, 11]) }
  }

  @Test func everyIDHasAPieceAndBytes() throws {
    let tokenizer = try VocabularyFile("wordpiece.json").wordPiece()
    for id in 0..<Int32(tokenizer.vocabularySize) {
      #expect(tokenizer.id(ofPiece: try tokenizer.piece(of: id)) == id)
      #expect(try !tokenizer.bytes(of: id).isEmpty)
    }
  }

  @Test func continuationsMayBeginWithAMark() throws {
    #expect(try make(normalizers: []).encode("ae\u{301}") == [6, 10])
  }

  @Test func theUnknownTokenMustExist() {
    #expect {
      try WordPiece(vocabulary: Vocabulary(["a"]))
    } throws: { "\($0)".contains("[UNK]") }
  }

  @Test func anyBytesAreAccepted() throws {
    let tokenizer = try VocabularyFile("wordpiece.json").wordPiece()
    for (bytes, text) in try BrokenText.all() {
      #expect(try tokenizer.encode(bytes, special: true) == (try tokenizer.encode(text, special: true)))
    }
    var chance = Chance(state: 11)
    for length in 0..<100 {
      let ids = try tokenizer.encode(chance.text(length: length), special: true)
      _ = try tokenizer.decode(ids)
    }
  }
}
