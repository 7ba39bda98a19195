import Testing

@testable import FlashCLTokenizers

/// The classes of all scalars against the tables inside the `tokenizers` package.
///
/// Its tables stop at some Unicode version, Swift's at another: scalars assigned after the package's table
/// are allowed to differ, and a few whose class was corrected later.
@Suite struct UnicodeTests {
  struct Class: Sendable, CustomTestStringConvertible {
    var name: String
    /// The Unicode version of the package's table, or nil where no difference is allowed.
    var version: Int?
    var corrected: Set<UInt32> = []
    var contains: @Sendable (Unicode.Scalar) -> Bool
    var testDescription: String { name }
  }

  private static let cleaned = BertNormalizer(
    cleanText: true, handleChineseChars: false, stripAccents: false, lowercase: false)
  private static let stripped = BertNormalizer(
    cleanText: false, handleChineseChars: false, stripAccents: true, lowercase: false)

  static let classes: [Class] = [
    Class(name: "letter", version: 16) { $0.isLetter },
    Class(name: "number", version: 16) { $0.isNumber },
    Class(name: "digit", version: 17) { $0.isNumber },
    Class(name: "space") { $0.isSpace },
    Class(name: "whitespace") { $0.isSpace },
    Class(name: "bert_removed", version: 8) { $0.isRemovedByBert },
    Class(name: "bert_space") { cleaned.normalize([$0]) == [" "] },
    Class(name: "bert_punctuation", version: 8, corrected: [0x166D, 0x111C9]) { $0.isPunctuation },
    Class(name: "bert_ideograph") { $0.isIdeographForBert },
    Class(
      name: "bert_accent", version: 8, corrected: [0x1734, 0x1885, 0x1886, 0xA9BD, 0x111C9, 0x1171E]
    ) { stripped.normalize([$0]).isEmpty },
  ]

  @Test(arguments: classes)
  func agreesWithThePackage(_ type: Class) throws {
    let ranges = try #require(Fixture.read("unicode_classes.json", as: [String: [[UInt32]]].self)[type.name])
    var golden = [Bool](repeating: false, count: 0x110000)
    for range in ranges {
      for value in range[0]...range[1] { golden[Int(value)] = true }
    }
    var wrong: [String] = []
    for scalar in (UInt32(0)...0x10FFFF).lazy.compactMap(Unicode.Scalar.init)
    where type.contains(scalar) != golden[Int(scalar.value)] {
      let isLater = scalar.properties.age.map { $0.major > type.version ?? .max } ?? (type.version != nil)
      if !isLater && !type.corrected.contains(scalar.value) { wrong.append(String(scalar.value, radix: 16)) }
    }
    #expect(wrong == [])
  }

  @Test func normalizersComposeAndDecompose() {
    func nfc(_ text: String) -> [UInt32] { Normalizer.nfc.normalize(Array(text.unicodeScalars)).map(\.value) }
    #expect(nfc("cafe\u{301}") == [0x63, 0x61, 0x66, 0xE9])
    #expect(nfc("s\u{307}\u{323}") == [0x1E69])
    #expect(nfc("\u{1112}\u{1161}\u{11AB}") == [0xD55C])
    #expect(nfc("\u{212B}\u{2126}") == [0xC5, 0x3A9])
    #expect(nfc("\u{958}") == [0x915, 0x93C], "a composition exclusion stays apart")

    let bert = BertNormalizer()
    func normalized(_ text: String) -> String { String(bert.normalize(Array(text.unicodeScalars))) }
    #expect(normalized("ÀÉ\u{0}\u{7}x\u{FFFD}\ty") == "aex y")
    #expect(normalized("a漢b") == "a 漢 b")
    #expect(
      normalized("İSTANBUL ΣΑΣ").unicodeScalars.map(\.value) == "istanbul σασ".unicodeScalars.map(\.value))
  }
}
