import FlashCL
import Foundation
import Testing

@testable import FlashCLFiles

@Suite struct GGUFTests {
  static let names = ["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"]

  @Test(arguments: [("types.gguf", 3), ("types-v2.gguf", 2)])
  func listing(_ name: String, _ version: Int) throws {
    let file = try GGUF(fixture(name))
    #expect(file.version == version)
    #expect(file.alignment == 32)
    #expect(file.tensors.map(\.name) == Self.names + ["cube", "vector"])
    for name in Self.names {
      let entry = try #require(file.entry(named: name))
      let type = try #require(ElementType(rawValue: name))
      #expect(entry.type == type)
      #expect(entry.typeName == name.uppercased())
      #expect(entry.shape == [37, 96])
      #expect(entry.elementCount == 37 * 96)
      #expect(entry.byteCount == type.bytes(37 * 96))
      #expect(try file.bytes(of: entry).count == entry.byteCount)
    }
    #expect(file.entry(named: "cube")?.shape == [2, 3, 4])
    #expect(file.entry(named: "vector")?.type == .i32)
    #expect(file.entry(named: "none") == nil)
  }

  @Test func valuesOfTensors() throws {
    let file = try GGUF(fixture("types.gguf"))
    let truth = try Safetensors(fixture("types.safetensors"))
    for name in ["f32", "cube"] {
      let values = try floats(file, name)
      #expect(values == (try floats(truth, name)))
      let entry = try #require(file.entry(named: name))
      file.release(entry)
      #expect(try floats(file, name) == values)
    }
    // One quantised value by hand: d · q, row 0.
    let entry = try #require(file.entry(named: "q8_0"))
    let (scale, quant) = try withExtendedLifetime(file) {
      let bytes = try file.bytes(of: entry)
      return (bytes.loadUnaligned(as: UInt16.self), bytes.loadUnaligned(fromByteOffset: 2 + 7, as: Int8.self))
    }
    #expect(Float(Float16(bitPattern: scale)) * Float(quant) == (try floats(truth, "q8_0"))[7])
  }

  @Test func metadataOfEveryType() throws {
    let file = try GGUF(fixture("types.gguf"))
    #expect(file["general.architecture"]?.string == "fixture")
    #expect(file["value.uint8"]?.int == 200)
    #expect(file["value.int8"]?.int == -100)
    #expect(file["value.uint16"]?.int == 60000)
    #expect(file["value.int16"]?.int == -30000)
    #expect(file["value.uint32"]?.int == 4_000_000_000)
    #expect(file["value.int32"]?.int == -2_000_000_000)
    #expect(file["value.float32"]?.double == Double(Float(0.1)))
    #expect(file["value.float64"]?.double == 0.1)
    #expect(file["value.uint64"]?.int == nil)
    #expect(file["value.uint64"]?.double == 0x1p63)
    #expect(file["value.int64"]?.int == -(1 << 62))
    #expect(file["value.bool"]?.bool == true)
    #expect(file["value.string"]?.string == "café 😀")
    #expect(file["array.strings"]?.array?.strings == ["a", "caf\u{E9}", "cafe\u{301}", ""])
    #expect(file["array.bytes"]?.array?.strings == [ByteString([0xFF, 0xFE]), "ok"])
    #expect(file["array.ints"]?.array?.ints == [1, -2, 3])
    #expect(file["array.ints"]?.array?.doubles == [1, -2, 3])
    #expect(file["array.floats"]?.array?.doubles == [0.5, -1.5])
    #expect(file["array.bools"]?.array?.bools == [true, false, true])
    #expect(file["array.strings"]?.array?.ints == nil)
    #expect(file["array.ints"]?.array?.strings == nil)
    #expect(file["none"] == nil)
    #expect(file.metadata.first?.key == "general.architecture")
    #expect(file["array.strings"]?.description == "4 × string")
    #expect(file["value.string"]?.description == "\"café 😀\"")
  }

  /// Types that FlashCL does not compute with are listed, and refused by name; their neighbours can be read.
  @Test func unsupportedTypes() throws {
    let file = try GGUF(fixture("unsupported.gguf"))
    #expect(file.alignment == 64)
    #expect(file.tensors.allSatisfy { $0.offset % 64 == 0 })
    #expect(try floats(file, "first") == [0, 1, 2, 3, 4, 5])
    #expect(try floats(file, "last") == [6, 7, 8, 9, 10, 11])
    for (name, type) in [
      ("blk.0.ffn_down.weight", "IQ4_XS"), ("positions", "I64"), ("doubles", "F64"), ("bytes", "I8"),
    ] {
      let entry = try #require(file.entry(named: name))
      #expect(entry.type == nil)
      #expect(entry.typeName == type)
      expectError(file.path, "tensor \"\(name)\"", type, "not supported", "Q4_1") {
        try file.bytes(of: entry)
      }
    }
    #expect(file.entry(named: "blk.0.ffn_down.weight")?.shape == [3, 512])
  }

  static let parts = ["split-00001-of-00002.gguf", "split-00002-of-00002.gguf"]

  @Test func splitModel() throws {
    let file = try GGUF(fixture(Self.parts[0]))
    #expect(file.files.count == 2 && file.path == fixture(Self.parts[0]))
    #expect(file["general.architecture"]?.string == "fixture")
    #expect(file.tensors.map(\.file) == [0, 0, 1, 1])
    for number in 0..<4 {
      let first = Float(10 * number)
      #expect(try floats(file, "part.\(number)") == [first, first + 1, first + 2])
    }
  }

  @Test func brokenParts() throws {
    let folder = try TemporaryFolder()
    for name in Self.parts { try folder.write(MappedFile(fixture(name)).contents(), as: name) }
    let (first, second) = (folder.file(Self.parts[0]), folder.file(Self.parts[1]))
    expectError(second, "is part 2 of 2", "open its first part, …-00001-of-00002.gguf") { try GGUF(second) }
    let bytes = try MappedFile(first).contents()
    let other = try folder.write(bytes, as: "other.gguf")
    expectError(other, "the first of 2 parts", "must end with -00001-of-00002.gguf") { try GGUF(other) }
    try folder.write(bytes, as: Self.parts[1])
    expectError(second, "is part 1 of 2, expected part 2 of 2") { try GGUF(first) }
    try folder.write(Builder.sound.bytes, as: Self.parts[1])
    expectError(second, "is no part of a model, expected part 2 of 2") { try GGUF(first) }
    try folder.write(MappedFile(fixture(Self.parts[1])).contents().dropLast(40), as: Self.parts[1])
    expectError(second, "run past the data") { try GGUF(first) }
    try FileManager.default.removeItem(atPath: second)
    expectError(second, "cannot be opened") { try GGUF(first) }
  }

  @Test func entryOfAnotherFile() throws {
    let file = try GGUF(fixture("types.gguf"))
    let entry = try #require(try GGUF(fixture("unsupported.gguf")).entry(named: "first"))
    expectError(file.path, "tensor \"first\" is not from this file") { try file.bytes(of: entry) }
  }

  // MARK: Files that are wrong in one place

  /// A small GGUF file whose every field can be set.
  struct Builder {
    var magic = Array("GGUF".utf8)
    var version: UInt32 = 3
    var tensorCount: UInt64?
    var memberCount: UInt64?
    var members: [(key: String, value: [UInt8])] = []
    var tensors: [(name: String, dimensions: [UInt64], type: UInt32, offset: UInt64)] = []
    var alignment = 32
    var dataCount = 0

    var bytes: [UInt8] {
      var bytes = magic
      bytes.put(version)
      bytes.put(tensorCount ?? UInt64(tensors.count))
      bytes.put(memberCount ?? UInt64(members.count))
      for member in members {
        bytes.put(member.key)
        bytes += member.value
      }
      for tensor in tensors {
        bytes.put(tensor.name)
        bytes.put(UInt32(tensor.dimensions.count))
        for dimension in tensor.dimensions { bytes.put(dimension) }
        bytes.put(tensor.type)
        bytes.put(tensor.offset)
      }
      let padding = (alignment - bytes.count % alignment) % alignment
      return bytes + [UInt8](repeating: 0, count: padding + dataCount)
    }

    /// A metadata value of type u32.
    static func uint32(_ value: UInt32) -> [UInt8] {
      var bytes: [UInt8] = []
      bytes.put(UInt32(4))
      bytes.put(value)
      return bytes
    }

    /// A metadata array of that element type, count, and elements.
    static func array(_ type: UInt32, _ count: UInt64, _ elements: [UInt8] = []) -> [UInt8] {
      var bytes: [UInt8] = []
      bytes.put(UInt32(9))
      bytes.put(type)
      bytes.put(count)
      return bytes + elements
    }

    /// Two F32 tensors of 8 elements each, one after the other.
    static var sound: Builder {
      var builder = Builder()
      builder.members = [("general.alignment", uint32(32)), ("array.empty", array(8, 0))]
      builder.tensors = [("a", [8], 0, 0), ("b", [4, 2], 0, 32)]
      builder.dataCount = 64
      return builder
    }
  }

  @Test func soundFile() throws {
    let folder = try TemporaryFolder()
    let file = try GGUF(folder.write(Builder.sound.bytes, as: "sound.gguf"))
    #expect(file.tensors.map(\.shape) == [[8], [2, 4]])
    #expect(file["array.empty"]?.array?.strings == [])
    // No tensors at all: a vocabulary alone, whose data may start past the end.
    let empty = try GGUF(folder.write(Builder().bytes.prefix(24), as: "empty.gguf"))
    #expect(empty.tensors.isEmpty)
  }

  struct BadFile: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let problem: [String]
    let change: @Sendable (inout Builder) -> Void

    init(_ name: String, _ problem: String..., change: @escaping @Sendable (inout Builder) -> Void) {
      testDescription = name
      self.problem = problem
      self.change = change
    }
  }

  static let badFiles: [BadFile] = [
    BadFile("magic", "not a GGUF file", "starts with \"GGML\"") { $0.magic = Array("GGML".utf8) },
    BadFile("version 1", "GGUF version 1, supported are 2 and 3") { $0.version = 1 },
    BadFile("version 4", "GGUF version 4") { $0.version = 4 },
    BadFile("big-endian", "big-endian") { $0.version = UInt32(3).byteSwapped },
    BadFile("tensor count", "declares 18446744073709551615 tensors", "at most") { $0.tensorCount = .max },
    BadFile("tensor count that cannot fit", "declares 7 tensors") { $0.tensorCount = 7 },
    BadFile("metadata count", "declares 9223372036854775808 metadata keys") { $0.memberCount = 1 << 63 },
    BadFile("key is there twice", "metadata key \"k\": is there twice") {
      $0.members += [("k", Builder.uint32(1)), ("k", Builder.uint32(2))]
    },
    BadFile("value type", "metadata key \"k\": has value type 13, known are 0 to 12") {
      $0.members += [("k", [13, 0, 0, 0])]
    },
    BadFile("bool", "metadata key \"k\": has a bool of 2", "expected 0 or 1") {
      $0.members += [("k", [7, 0, 0, 0, 2])]
    },
    BadFile("array of arrays", "metadata key \"k\": is an array of arrays") {
      $0.members += [("k", Builder.array(9, 1, Builder.array(4, 1, [0, 0, 0, 0])))]
    },
    BadFile("array count", "metadata key \"k\": declares 4611686018427387904 elements of type uint64") {
      $0.members += [("k", Builder.array(10, 1 << 62))]
    },
    BadFile("string array count", "metadata key \"k\": declares 1000 elements of type string") {
      $0.members += [("k", Builder.array(8, 1000))]
    },
    BadFile("string in an array", "metadata key \"k\": the string at byte", "has length 9223372036854775807")
    {
      $0.members += [("k", Builder.array(8, 1, [255, 255, 255, 255, 255, 255, 255, 127]))]
    },
    BadFile("string value", "metadata key \"k\": the string at byte", "has length 65536", "bytes left") {
      $0.members += [("k", [8, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0])]
    },
    BadFile("alignment 0", "general.alignment is 0, expected a power of two") {
      $0.members = [("general.alignment", Builder.uint32(0))]
    },
    BadFile("alignment 48", "general.alignment is 48") {
      $0.members = [("general.alignment", Builder.uint32(48))]
    },
    BadFile("alignment 2^31", "general.alignment is 2147483648") {
      $0.members = [("general.alignment", Builder.uint32(1 << 31))]
    },
    BadFile("alignment is text", "general.alignment is \"x\"") {
      $0.members = [("general.alignment", [8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 120])]
    },
    BadFile("split", "part 2 of 3", "open its first part, …-00001-of-00003.gguf") {
      $0.members += [("split.count", Builder.uint32(3)), ("split.no", Builder.uint32(1))]
    },
    BadFile("name is there twice", "tensor \"a\" is listed twice") { $0.tensors[1].name = "a" },
    BadFile("no dimensions", "tensor \"b\": has 0 dimensions, expected 1 to 4") {
      $0.tensors[1].dimensions = []
    },
    BadFile("five dimensions", "tensor \"b\": has 5 dimensions") {
      $0.tensors[1].dimensions = [1, 1, 1, 1, 1]
    },
    BadFile("dimension 0", "tensor \"b\": has a dimension of 0") { $0.tensors[1].dimensions = [8, 0] },
    BadFile("dimension 2^63", "tensor \"b\": has a dimension of 9223372036854775808") {
      $0.tensors[1].dimensions = [1 << 63]
    },
    BadFile("product overflows", "tensor \"b\": has the shape", "exceeds 64 bits") {
      $0.tensors[1].dimensions = [1 << 32, 1 << 32]
    },
    BadFile("bytes overflow", "tensor \"b\": has the shape", "exceeds 64 bits") {
      $0.tensors[1].dimensions = [1 << 62]
    },
    BadFile("type withdrawn", "tensor \"b\": has the unknown type 4") { $0.tensors[1].type = 4 },
    BadFile("type unknown", "tensor \"b\": has the unknown type 4294967295") { $0.tensors[1].type = .max },
    BadFile(
      "row of part of a block", "tensor \"b\": has rows of 8, expected a multiple of Q8_0's block of 32"
    ) {
      $0.tensors[1].dimensions = [8, 32]
      $0.tensors[1].type = 8
    },
    BadFile("offset misaligned", "tensor \"b\": offset 40 is not a multiple of the alignment 32") {
      $0.tensors[1].offset = 40
      $0.dataCount = 128
    },
    BadFile("offset past the end", "tensor \"b\": offset 96 and 32 bytes run past the data of 64 bytes") {
      $0.tensors[1].offset = 96
    },
    BadFile("offset overflows", "tensor \"b\": offset 18446744073709551584") {
      $0.tensors[1].offset = .max - 31
    },
    BadFile("tensor past the end", "tensor \"b\": offset 32 and 64 bytes run past the data of 64 bytes") {
      $0.tensors[1].dimensions = [16]
    },
    BadFile("overlap", "tensor \"b\": offset 32 lies inside tensor \"a\", which takes 64 bytes from offset 0")
    {
      $0.tensors[0].dimensions = [16]
    },
    BadFile("same place", "tensor \"b\": offset 0 lies inside tensor \"a\"") { $0.tensors[1].offset = 0 },
    BadFile("name with a line break", "tensor \"b\\n\": has 0 dimensions") {
      $0.tensors[1].name = "b\n"
      $0.tensors[1].dimensions = []
    },
  ]

  @Test(arguments: badFiles)
  func refuses(_ bad: BadFile) throws {
    let folder = try TemporaryFolder()
    var builder = Builder.sound
    bad.change(&builder)
    let path = try folder.write(builder.bytes, as: "bad.gguf")
    for problem in bad.problem {
      expectError(path, problem) { try GGUF(path) }
    }
  }

  @Test func refusesNamesThatAreNotUTF8() throws {
    let folder = try TemporaryFolder()
    var bytes = Builder.sound.bytes
    let place = try #require(bytes.firstIndex(of: UInt8(ascii: "g")))
    bytes[place] = 0xFF
    let path = try folder.write(bytes, as: "bad.gguf")
    expectError(path, "metadata key 1 of 2: the name", "is not valid UTF-8") { try GGUF(path) }
  }

  /// However short the file is cut, it is refused.
  @Test func refusesEveryTruncation() throws {
    let folder = try TemporaryFolder()
    let bytes = Builder.sound.bytes
    for count in 1..<bytes.count {
      let path = try folder.write(bytes.prefix(count), as: "cut.gguf")
      expectError(path) { try GGUF(path) }
    }
  }
}
