import FlashCL
import Foundation
import Testing

@testable import FlashCLFiles

@Suite struct JSONTests {
  @Test func valuesAndLookUp() throws {
    let json = try JSON(
      parsing: #" {"a": [1, -2.5e1, true, false, null], "b": {"c": "x"}, "": 0, "big": 9223372036854775807} "#
    )
    #expect(json["a"]?.array?.count == 5)
    #expect(json["a"]?[0]?.int == 1)
    #expect(json["a"]?[0]?.double == 1)
    #expect(json["a"]?[1]?.double == -25)
    #expect(json["a"]?[1]?.int == -25)
    #expect(json["a"]?[2]?.bool == true)
    #expect(json["a"]?[3]?.bool == false)
    #expect(json["a"]?[4]?.isNull == true)
    #expect(json["a"]?[5] == nil)
    #expect(json["b"]?["c"]?.string == "x")
    #expect(json[""]?.int == 0)
    #expect(json["big"]?.int == .max)
    #expect(json["none"] == nil)
    #expect(json["b"]?.string == nil)
    #expect(json["a"]?["b"] == nil)
  }

  @Test(arguments: [
    ("0", JSON.int(0)), ("-0", .int(0)), ("-9223372036854775808", .int(.min)),
    ("9223372036854775808", .double(0x1p63)), ("-9223372036854775809", .double(-0x1p63)),
    ("1.5", .double(1.5)),
    ("1e2", .double(100)), ("1E-2", .double(0.01)), ("1.25e+1", .double(12.5)), ("1e999", .double(.infinity)),
    ("Infinity", .double(.infinity)), ("-Infinity", .double(-.infinity)), ("[]", .array([])),
    ("{}", .object([])),
    ("[ ]", .array([])), ("\u{FEFF}null", .null), ("1000000000000000019884624838656", .double(1e30)),
    ("0.1", .double(0.1)), ("1e-400", .double(0)),
  ])
  func accepts(_ text: String, _ value: JSON) throws {
    #expect(try JSON(parsing: text) == value)
  }

  @Test func notANumberIsAccepted() throws {
    #expect(try JSON(parsing: "NaN").double?.isNaN == true)
    #expect(try JSON(parsing: "2.5").int == nil)
    #expect(try JSON(parsing: "1e300").int == nil)
  }

  @Test(arguments: [
    (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0041\u00e9\u20AC""#, "Aé€"),
    (#""\ud83d\ude00""#, "😀"), (#""x\ud83dy""#, "x\u{FFFD}y"), (#""\ude00""#, "\u{FFFD}"),
    (#""\ud83d\ud83d\ude00""#, "\u{FFFD}😀"), (#""\ud83d\n""#, "\u{FFFD}\n"), (#""\u0000""#, "\0"),
    ("\"é€😀\u{7F}\"", "é€😀\u{7F}"), (#""a\nb""#, "a\nb"),
  ])
  func text(_ json: String, _ text: String) throws {
    #expect(try JSON(parsing: json).bytes == ByteString(text))
  }

  /// What `String` would merge stays apart, and order is the file's.
  @Test func keysAreComparedByBytes() throws {
    let composed = "caf\u{E9}"
    let decomposed = "cafe\u{301}"
    #expect(composed == decomposed)
    let json = try JSON(parsing: "{\"z\": 0, \"\(decomposed)\": 1, \"\(composed)\": 2}")
    #expect(json.object?.map(\.value.int) == [0, 1, 2])
    #expect(json[composed]?.int == 2)
    #expect(json[decomposed]?.int == 1)
    #expect(ByteString(composed) != ByteString(decomposed))
  }

  @Test func lastOfTwoEqualKeysCounts() throws {
    let text = #"{"a": 1, "b": 2, "a": 3, "a": 4}"#
    let json = try JSON(parsing: text)
    #expect(json.object?.map(\.key) == ["a", "b"])
    #expect(json["a"]?.int == 4)
    expectError("x", "line 1", "byte 17", "the key \"a\" is there twice") {
      try Array(text.utf8).withUnsafeBytes { try JSON(parsing: $0, path: "x", uniqueKeys: true) }
    }
  }

  @Test(arguments: [
    ("", "byte 0: expected a value, found the end of the file"),
    ("[1,]", "byte 3: expected a value, found ']'"),
    ("[1 2]", "byte 3: expected \",\" or \"]\""), ("[1", "found the end of the file"),
    ("{\"a\":1,}", "byte 7: expected a key"), ("{a:1}", "expected a key"),
    ("{\"a\" 1}", "expected \":\" after the key \"a\""),
    ("{\"a\":1 \"b\":2}", "expected \",\" or \"}\""), ("01", "may not start with 0"),
    ("-", "expected a digit"),
    ("1.", "expected a digit"), ("1e", "expected a digit"), (".5", "expected a value"),
    ("+1", "expected a value"),
    ("tru", "expected true, found the end"), ("nul1", "expected null"), ("True", "expected a value"),
    ("\"a", "byte 0: the string has no closing quote"), ("\"\t\"", "control character"),
    ("\"\\x\"", "unknown escape"),
    ("\"\\u12g4\"", "four hexadecimal digits"), ("\"\\", "unknown escape"),
    ("\"\\u12", "four hexadecimal digits"),
    ("[1]\n\n x", "line 3, byte 6: expected the end of the document, found 'x'"), ("'a'", "expected a value"),
    ("// no\n1", "expected a value"), ("\0", "found byte 0x0"),
  ])
  func refuses(_ text: String, _ problem: String) {
    expectError("x.json", problem) { try JSON(parsing: text, path: "x.json") }
  }

  @Test(
    arguments: [
      [0x80], [0xC0, 0x80], [0xC3], [0xE0, 0x80, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80],
      [0xF5, 0x80, 0x80, 0x80],
      [0xE2, 0x82], [0xF0, 0x9F, 0x98, 0x20],
    ] as [[UInt8]])
  func refusesWhatIsNotUTF8(_ bytes: [UInt8]) {
    for end in [[], [0x22]] as [[UInt8]] {
      expectError("x", "byte 1: not valid UTF-8") {
        try ([0x22] + bytes + end).withUnsafeBytes { try JSON(parsing: $0, path: "x") }
      }
    }
  }

  @Test func depthIsLimited() throws {
    func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }
    _ = try JSON(parsing: nested(JSON.depthLimit))
    expectError(nil, "nested deeper than \(JSON.depthLimit)") {
      try JSON(parsing: nested(JSON.depthLimit + 1))
    }
    expectError(nil, "nested deeper") { try JSON(parsing: String(repeating: "{\"a\":[", count: 100_000)) }
  }

  /// Foundation's parser and ours agree on whatever a flipped byte makes of a document, where both accept it.
  @Test func agreesWithFoundation() throws {
    let text =
      #"{"k": [0, -1.5e-3, 12345678901234, "a\u00e9\ud83d\ude00é", {"x": null}, [true, false]], "l": {}}"#
    var generator = SplitMix64(seed: 1)
    let alphabet = Array("{}[]\",:0123456789.eE+-\\u truefalsn\té".utf8)
    var accepted = 0
    for _ in 0..<2000 {
      var bytes = Array(text.utf8)
      for _ in 0..<Int.random(in: 1...2, using: &generator) {
        let place = Int.random(in: 0..<bytes.count, using: &generator)
        bytes[place] = alphabet.randomElement(using: &generator) ?? 0
      }
      let ours = try? bytes.withUnsafeBytes { try JSON(parsing: $0, path: "fuzz") }
      let theirs = try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)
      if let ours, let theirs {
        accepted += 1
        #expect(foundation(ours).isEqual(theirs), "\(String(decoding: bytes, as: UTF8.self))")
      } else if let theirs {
        Issue.record("only Foundation accepts \(String(decoding: bytes, as: UTF8.self)): \(theirs)")
      } else if ours != nil, !bytes.contains(UInt8(ascii: "\\")) {
        Issue.record("only we accept \(String(decoding: bytes, as: UTF8.self))")
      }
    }
    #expect(accepted > 100)
  }

  private func foundation(_ json: JSON) -> NSObject {
    switch json {
    case .null: NSNull()
    case .bool(let value): NSNumber(value: value)
    case .int(let value): NSNumber(value: value)
    case .double(let value): NSNumber(value: value)
    case .string(let value): NSString(string: value.string)
    case .array(let values): NSArray(array: values.map(foundation))
    case .object(let members):
      NSDictionary(
        dictionary: Dictionary(
          members.map { ($0.key.string, foundation($0.value)) }, uniquingKeysWith: { $1 }))
    }
  }

  @Test func configOfPython() throws {
    let json = try #require(try ModelFolder(fixture("folder")).json("config.json"))
    #expect(json["norm_eps"]?.double == 1e-5)
    #expect(json["limit"]?.double == 1e30)
    #expect(json["nan"]?.double?.isNaN == true)
    #expect(json["low"]?.double == -.infinity)
    #expect(json["name"]?.string == "café 😀")
    #expect(json["nothing"]?.isNull == true)
  }

  @Test func largeVocabulary() throws {
    var text = "{\"vocab\": {"
    for id in 0..<20_000 { text += "\(id > 0 ? "," : "")\"\\u0120token\(id)\": \(id)" }
    text += "}}"
    let vocabulary = try #require(try JSON(parsing: text)["vocab"]?.object)
    #expect(vocabulary.count == 20_000)
    #expect(vocabulary[19_999].key == "Ġtoken19999")
    #expect(vocabulary[19_999].value.int == 19_999)
  }
}
