import FlashCL
import Foundation
import Testing

@testable import FlashCLFiles

@Suite struct SafetensorsTests {
  @Test func listing() throws {
    let file = try Safetensors(fixture("mixed.safetensors"))
    #expect(file.metadata.map(\.key) == ["note"])
    #expect(file.metadata.map(\.value) == ["café"])
    #expect(file.tensors.count == 15)
    for (name, type) in [
      ("float32", ElementType.f32), ("float16", .f16), ("bfloat16", .bf16), ("int32", .i32),
    ] {
      let entry = try #require(file.entry(named: name))
      #expect(entry.type == type)
      #expect(entry.shape == [2, 3])
      #expect(entry.byteCount == type.bytes(6))
    }
    #expect(try floats(file, "float32") == [0, 1, 2, 3, 4, 5])
    let brain = try #require(file.entry(named: "bfloat16"))
    let two = try withExtendedLifetime(file) {
      try file.bytes(of: brain).loadUnaligned(fromByteOffset: 4, as: UInt16.self)
    }
    #expect(two == 0x4000)
    #expect(try floats(file, "scalar") == [2.5])
    #expect(file.entry(named: "scalar")?.shape == [])
    #expect(file.entry(named: "scalar")?.elementCount == 1)
    #expect(try floats(file, "empty") == [])
    #expect(file.entry(named: "empty")?.shape == [0, 7])
  }

  @Test(arguments: [("int64", "I64"), ("float64", "F64"), ("bool", "BOOL"), ("uint8", "U8")])
  func unsupportedTypes(_ name: String, _ type: String) throws {
    let file = try Safetensors(fixture("mixed.safetensors"))
    let entry = try #require(file.entry(named: name))
    #expect(entry.type == nil)
    #expect(entry.typeName == type)
    expectError(file.path, "tensor \"\(name)\"", type, "not supported", "F32") { try file.bytes(of: entry) }
  }

  // MARK: Files that are wrong in one place

  static func bytes(_ header: String, length: UInt64? = nil, dataCount: Int = 0) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.put(length ?? UInt64(header.utf8.count))
    return bytes + Array(header.utf8) + [UInt8](repeating: 0, count: dataCount)
  }

  /// A header entry.
  static func entry(_ name: String, _ type: String, _ shape: String, _ begin: String, _ end: String) -> String
  {
    #""\#(name)":{"dtype":"\#(type)","shape":\#(shape),"data_offsets":[\#(begin),\#(end)]}"#
  }

  @Test func soundFile() throws {
    let folder = try TemporaryFolder()
    // Out of order, with an empty tensor between, trailing spaces, and a type from a later version.
    let header =
      "{" + Self.entry("b", "F16", "[4]", "16", "24") + "," + Self.entry("e", "F32", "[0]", "16", "16") + ","
      + Self.entry("a", "F32", "[2,2]", "0", "16") + "," + Self.entry("n", "F99", "[3]", "24", "29") + "}  "
    let file = try Safetensors(folder.write(Self.bytes(header, dataCount: 29), as: "x.safetensors"))
    #expect(file.tensors.map(\.name) == ["b", "e", "a", "n"])
    #expect(file.entry(named: "n")?.typeName == "F99")
    // The empty product must not overflow.
    let empty = "{" + Self.entry("e", "F32", "[9223372036854775807,9223372036854775807,0]", "0", "0") + "}"
    let none = try Safetensors(folder.write(Self.bytes(empty), as: "e.safetensors"))
    #expect(none.tensors[0].elementCount == 0)
  }

  static let badHeaders: [(header: String, dataCount: Int, problem: String)] = [
    (
      "{" + entry("a", "F32", "[4]", "0", "16") + "}", 15,
      "tensor \"a\": data_offsets end at 16, past the data of 15"
    ),
    ("{" + entry("a", "F32", "[4]", "0", "16") + "}", 20, "has 4 bytes after tensor \"a\""),
    ("{}", 3, "has 3 bytes after the header"),
    (
      "{" + entry("a", "F32", "[4]", "16", "0") + "}", 16,
      "tensor \"a\": data_offsets begin at 16, after their end 0"
    ),
    (
      "{" + entry("a", "F32", "[5]", "0", "16") + "}", 16,
      "tensor \"a\": F32 of shape [5] needs 20 bytes, its data_offsets span 16"
    ),
    ("{" + entry("a", "F4", "[3]", "0", "2") + "}", 2, "tensor \"a\": F4 of shape [3]"),
    (
      "{" + entry("a", "F32", "[4]", "0", "16") + "," + entry("b", "F32", "[2]", "12", "20") + "}", 20,
      "tensor \"b\": begins at 12, inside tensor \"a\", which ends at 16"
    ),
    (
      "{" + entry("a", "F32", "[4]", "0", "16") + "," + entry("b", "F32", "[2]", "0", "8") + "}", 16,
      "inside tensor"
    ),
    (
      "{" + entry("a", "F32", "[4]", "0", "16") + "," + entry("b", "F32", "[2]", "20", "28") + "}", 28,
      "tensor \"b\": begins at 20, 4 bytes after tensor \"a\""
    ),
    (
      "{" + entry("a", "F32", "[4]", "0", "16") + "," + entry("a", "F32", "[4]", "0", "16") + "}", 16,
      "the key \"a\" is there twice"
    ),
    ("{" + entry("a", "F32", "[4294967296,4294967296]", "0", "16") + "}", 16, "too large for 64 bits"),
    (
      "{" + entry("a", "F32", "[4611686018427387904]", "0", "16") + "}", 16,
      "needs more than 64 bits can count"
    ),
    (
      "{" + entry("a", "F32", "[-4]", "0", "16") + "}", 16,
      "tensor \"a\": \"shape\" is no list of whole numbers"
    ),
    ("{" + entry("a", "F32", "[4.5]", "0", "16") + "}", 16, "\"shape\" is no list"),
    ("{" + entry("a", "F32", "4", "0", "16") + "}", 16, "\"shape\" is no list"),
    ("{" + entry("a", "F32", "[4]", "-1", "15") + "}", 16, "\"data_offsets\" is no pair"),
    ("{" + entry("a", "F32", "[4]", "0", "99999999999999999999") + "}", 16, "\"data_offsets\" is no pair"),
    (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0]}}"#, 16, "\"data_offsets\" is no pair"),
    (#"{"a":{"dtype":"F32","shape":[4]}}"#, 16, "tensor \"a\": \"data_offsets\" is no pair"),
    (#"{"a":{"shape":[4],"data_offsets":[0,16]}}"#, 16, "tensor \"a\": has no \"dtype\""),
    (#"{"a":7}"#, 0, "tensor \"a\": has no \"dtype\""),
    (#"{"__metadata__":7}"#, 0, "__metadata__ is no JSON object"),
    (#"{"__metadata__":{"a":7}}"#, 0, "__metadata__: the value of \"a\" is not text"),
    ("[]", 0, "header: is no JSON object"),
    ("{\"a\":", 0, "(header): line 1, byte 5: expected a value"),
    ("", 0, "expected a value"),
  ]

  @Test(arguments: badHeaders)
  func refuses(_ header: String, _ dataCount: Int, _ problem: String) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(Self.bytes(header, dataCount: dataCount), as: "bad.safetensors")
    expectError(path, problem) { try Safetensors(path) }
  }

  @Test(arguments: [
    (100_000_001, "has length 100000001, the limit is 100000000"), (UInt64.max, "the limit is 100000000"),
    (1000, "has length 1000, but the file has 2 bytes left"),
    (3, "has length 3, but the file has 2 bytes left"),
  ])
  func refusesHeaderLengths(_ length: UInt64, _ problem: String) throws {
    let folder = try TemporaryFolder()
    let path = try folder.write(Self.bytes("{}", length: length), as: "bad.safetensors")
    expectError(path, problem) { try Safetensors(path) }
  }

  @Test func refusesShortFiles() throws {
    let folder = try TemporaryFolder()
    let path = try folder.write([1, 2, 3], as: "short.safetensors")
    expectError(path, "the file ends at byte 3") { try Safetensors(path) }
  }
}
