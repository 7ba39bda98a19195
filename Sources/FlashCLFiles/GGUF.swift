import FlashCL

/// A GGUF file: named metadata and named tensors, versions 2 and 3, little-endian.
///
/// ```
/// "GGUF"  u32 version  u64 tensor count  u64 metadata count
/// metadata: string key, u32 type, value                     a string is a u64 length and its bytes
/// tensors:  string name, u32 dimensions, u64 each (innermost first), u32 type, u64 offset into the data
/// data:     starts at the next multiple of general.alignment (32 unless set)
/// ```
///
/// Shapes are turned round to row-major: GGUF's [in, out] is listed as [out, in].
public final class GGUF: TensorFile {
  public let path: String
  /// One file, or the parts of a split model in their order.
  public let files: [MappedFile]
  public let version: Int
  /// Tensor offsets are multiples of this many bytes from the start of the data.
  public let alignment: Int
  /// In file order; keys are unique. Of a split model the first part's.
  public let metadata: [Member]
  public let tensors: [TensorEntry]
  public let places: [String: Int]
  private let metadataPlaces: [String: Int]

  /// One metadata key with its value.
  public struct Member: Sendable {
    public let key: String
    public let value: Value
    /// Where key, type and value stand in the file.
    let bytes: Range<Int>
  }

  /// The metadata value of that key, such as `general.architecture`; nil if there is none.
  public subscript(key: String) -> Value? { metadataPlaces[key].map { metadata[$0].value } }

  /// Maps the file and checks its whole header; of a split model `path` is the first part, and the others lie beside it.
  ///
  /// - Throws: `FileError` naming the tensor or key that does not fit the file or the format. Refused by name
  ///   are version 1, big-endian files, another part than the first, and arrays of arrays in the metadata.
  public convenience init(_ path: String) throws {
    let first = try GGUF(part: path)
    let paths = try first.otherParts()
    if paths.isEmpty {
      self.init(first, parts: [], tensors: first.tensors, places: first.places)
      return
    }
    let parts = try paths.map { try GGUF(part: $0) }
    let tensors = parts.enumerated().reduce(into: first.tensors) { all, part in
      all += part.element.tensors.map { $0.moved(to: part.offset + 1) }
    }
    try first.requireSamePart(parts, tensorCount: tensors.count)
    try self.init(
      first, parts: parts.flatMap(\.files), tensors: tensors,
      places: FlashCLFiles.places(of: tensors, path: path))
  }

  private init(_ first: GGUF, parts: [MappedFile], tensors: [TensorEntry], places: [String: Int]) {
    (path, files, version, alignment) = (first.path, first.files + parts, first.version, first.alignment)
    (metadata, metadataPlaces) = (first.metadata, first.metadataPlaces)
    (self.tensors, self.places) = (tensors, places)
  }

  /// One file, whatever else belongs to it.
  private init(part path: String) throws {
    let mapped = try MappedFile(path)
    var reader = ByteReader(bytes: mapped.bytes, path: path, subject: "header")
    version = try Self.readVersion(&reader)
    let tensorCount: UInt64 = try reader.integer()
    let memberCount: UInt64 = try reader.integer()

    (metadata, metadataPlaces) = try Self.readMetadata(&reader, count: memberCount, mapped: mapped)
    let place = metadataPlaces["general.alignment"]
    let (metadata, count) = (metadata, tensorCount)
    alignment = try Self.alignment(place.map { metadata[$0].value }, path: path)

    reader.subject = "header"
    let infos = try Self.readTensorInfos(&reader, count: count)
    tensors = try Self.place(infos, after: reader.position, alignment: alignment, in: mapped)
    places = try FlashCLFiles.places(of: tensors, path: path)
    (self.path, files) = (path, [mapped])
  }

  private static func readVersion(_ reader: inout ByteReader) throws -> Int {
    guard reader.bytes.starts(with: "GGUF".utf8) else {
      let start = String(decoding: reader.bytes.prefix(4), as: UTF8.self)
      throw FileError(reader.path, "is not a GGUF file: it starts with \(quoted(start)), expected \"GGUF\"")
    }
    reader.skip(4)
    let version: UInt32 = try reader.integer()
    switch version {
    case 2, 3: return Int(version)
    case let swapped where (1...3).contains(swapped.byteSwapped):
      throw FileError(reader.path, "is a big-endian GGUF file, expected little-endian")
    default: throw FileError(reader.path, "has GGUF version \(version), supported are 2 and 3")
    }
  }

  private static func alignment(_ value: Value?, path: String) throws -> Int {
    guard let value else { return 32 }
    let limit = 1 << 30
    guard let alignment = value.int, alignment > 0, alignment <= limit, alignment & (alignment - 1) == 0
    else {
      throw FileError(path, "general.alignment is \(value), expected a power of two from 1 to \(limit)")
    }
    return alignment
  }
}

// MARK: - Metadata

extension GGUF {
  /// A metadata value; integers and floats of every width are widened.
  public enum Value: Sendable, CustomStringConvertible {
    case unsigned(UInt64)
    case signed(Int64)
    case float(Double)
    case bool(Bool)
    case string(ByteString)
    case array(List)

    /// A whole number that fits `Int`.
    public var int: Int? {
      switch self {
      case .unsigned(let value): Int(exactly: value)
      case .signed(let value): Int(exactly: value)
      default: nil
      }
    }

    /// Any number.
    public var double: Double? {
      switch self {
      case .unsigned(let value): Double(value)
      case .signed(let value): Double(value)
      case .float(let value): value
      default: nil
      }
    }

    public var bool: Bool? {
      if case .bool(let value) = self { value } else { nil }
    }

    public var bytes: ByteString? {
      if case .string(let value) = self { value } else { nil }
    }

    public var string: String? { bytes?.string }

    public var array: List? {
      if case .array(let value) = self { value } else { nil }
    }

    /// One short line: a scalar, a quoted string cut at 80 characters, or an array's length and element type.
    public var description: String {
      switch self {
      case .unsigned(let value): "\(value)"
      case .signed(let value): "\(value)"
      case .float(let value): "\(value)"
      case .bool(let value): "\(value)"
      case .string(let value): quoted(value.string)
      case .array(let list): "\(list.count) × \(list.elementType)"
      }
    }
  }

  /// The storage types of metadata values; the number is the one in the file.
  public enum ValueType: UInt32, Sendable {
    case uint8, int8, uint16, int16, uint32, int32, float32, bool, string, array, uint64, int64, float64

    /// Bytes of a value, at least.
    fileprivate var minimumBytes: Int {
      switch self {
      case .uint8, .int8, .bool: 1
      case .uint16, .int16: 2
      case .uint32, .int32, .float32: 4
      case .string, .uint64, .int64, .float64: 8
      case .array: 12
      }
    }
  }

  /// A metadata array, checked when the file was opened and decoded when asked for: a vocabulary is large.
  public struct List: Sendable {
    public let elementType: ValueType
    public let count: Int
    fileprivate let mapped: MappedFile
    fileprivate let offset: Int

    /// The elements of an array of strings; nil for another type.
    public var strings: [ByteString]? { elements(\.bytes) }
    /// The elements of an array of integers; nil for another type, or if one does not fit `Int`.
    public var ints: [Int]? { elements(\.int) }
    /// The elements of an array of integers or floats; nil for another type.
    public var doubles: [Double]? { elements(\.double) }
    /// The elements of an array of bools; nil for another type.
    public var bools: [Bool]? { elements(\.bool) }

    private func elements<T>(_ kind: (Value) -> T?) -> [T]? {
      var reader = ByteReader(bytes: mapped.bytes, path: mapped.path, position: offset, subject: "metadata")
      var elements: [T] = []
      elements.reserveCapacity(count)
      for _ in 0..<count {
        // The reader checks again: the file may have been written to since.
        guard let value = try? GGUF.readScalar(&reader, elementType), let element = kind(value) else {
          return nil
        }
        elements.append(element)
      }
      return elements
    }
  }

  private static func readMetadata(
    _ reader: inout ByteReader, count declared: UInt64, mapped: MappedFile
  ) throws -> ([Member], [String: Int]) {
    // The least a key takes: an empty name, a type, one byte.
    let count = try reader.count(declared, of: "metadata keys", itemBytes: 8 + 4 + 1)
    var members: [Member] = []
    var places: [String: Int] = [:]
    for number in 0..<count {
      reader.subject = "metadata key \(number + 1) of \(count)"
      let start = reader.position
      let key = try reader.name()
      reader.subject = "metadata key \(quoted(key))"
      let type = try readValueType(&reader)
      let value = type == .array ? .array(try readList(&reader, mapped)) : try readScalar(&reader, type)
      if places.updateValue(members.count, forKey: key) != nil { throw reader.fault("is there twice") }
      members.append(Member(key: key, value: value, bytes: start..<reader.position))
    }
    return (members, places)
  }

  private static func readValueType(_ reader: inout ByteReader) throws -> ValueType {
    let number: UInt32 = try reader.integer()
    guard let type = ValueType(rawValue: number) else {
      throw reader.fault("has value type \(number), known are 0 to \(ValueType.float64.rawValue)")
    }
    return type
  }

  private static func readList(_ reader: inout ByteReader, _ mapped: MappedFile) throws -> List {
    let type = try readValueType(&reader)
    if type == .array { throw reader.fault("is an array of arrays, which is not supported") }
    let declared: UInt64 = try reader.integer()
    let count = try reader.count(declared, of: "elements of type \(type)", itemBytes: type.minimumBytes)
    let list = List(elementType: type, count: count, mapped: mapped, offset: reader.position)
    switch type {
    case .string: for _ in 0..<count { _ = try reader.string() }
    case .bool: for _ in 0..<count { _ = try readScalar(&reader, .bool) }
    default: reader.skip(count * type.minimumBytes)
    }
    return list
  }

  private static func readScalar(_ reader: inout ByteReader, _ type: ValueType) throws -> Value {
    switch type {
    case .uint8: return .unsigned(UInt64(try reader.integer(UInt8.self)))
    case .uint16: return .unsigned(UInt64(try reader.integer(UInt16.self)))
    case .uint32: return .unsigned(UInt64(try reader.integer(UInt32.self)))
    case .uint64: return .unsigned(try reader.integer())
    case .int8: return .signed(Int64(try reader.integer(Int8.self)))
    case .int16: return .signed(Int64(try reader.integer(Int16.self)))
    case .int32: return .signed(Int64(try reader.integer(Int32.self)))
    case .int64: return .signed(try reader.integer())
    case .float32: return .float(Double(Float(bitPattern: try reader.integer())))
    case .float64: return .float(Double(bitPattern: try reader.integer()))
    case .bool:
      let byte: UInt8 = try reader.integer()
      guard byte <= 1 else {
        throw reader.fault("has a bool of \(byte) at byte \(reader.position - 1), expected 0 or 1")
      }
      return .bool(byte == 1)
    case .string: return .string(ByteString(Array(try reader.string())))
    case .array: throw reader.fault("is an array where a scalar was expected")
    }
  }
}

// MARK: - Tensors

extension GGUF {
  /// A tensor as the header lists it; `offset` counts from the start of the data.
  private struct Info {
    let name: String
    let shape: [Int]
    let type: GGMLType
    let offset: UInt64
    let byteCount: Int
    let elementCount: Int
  }

  private static func readTensorInfos(_ reader: inout ByteReader, count declared: UInt64) throws -> [Info] {
    // The least a tensor takes: an empty name, one dimension, a type, an offset.
    let count = try reader.count(declared, of: "tensors", itemBytes: 8 + 4 + 8 + 4 + 8)
    var infos: [Info] = []
    infos.reserveCapacity(count)
    for number in 0..<count {
      reader.subject = "tensor \(number + 1) of \(count)"
      let name = try reader.name()
      reader.subject = "tensor \(quoted(name))"
      infos.append(try readInfo(&reader, name: name))
    }
    return infos
  }

  private static func readInfo(_ reader: inout ByteReader, name: String) throws -> Info {
    let dimensions: UInt32 = try reader.integer()
    guard (1...4).contains(dimensions) else {
      throw reader.fault("has \(dimensions) dimensions, expected 1 to 4")
    }
    var shape: [Int] = []
    for _ in 0..<dimensions {
      let declared: UInt64 = try reader.integer()
      guard let dimension = Int(exactly: declared), dimension > 0 else {
        throw reader.fault("has a dimension of \(declared), expected 1 to \(Int.max)")
      }
      shape.insert(dimension, at: 0)
    }
    let number: UInt32 = try reader.integer()
    guard let type = GGMLType(number: number) else { throw reader.fault("has the unknown type \(number)") }
    let offset: UInt64 = try reader.integer()
    let rowLength = shape[shape.count - 1]
    guard rowLength.isMultiple(of: type.blockLength) else {
      throw reader.fault(
        "has rows of \(rowLength), expected a multiple of \(type.name)'s block of \(type.blockLength)")
    }
    guard let elementCount = product(shape),
      case let (byteCount, overflow) = (elementCount / type.blockLength)
        .multipliedReportingOverflow(by: type.blockBytes), !overflow
    else { throw reader.fault("has the shape \(shape), whose size exceeds 64 bits") }
    return Info(
      name: name, shape: shape, type: type, offset: offset, byteCount: byteCount, elementCount: elementCount)
  }

  /// Finds the tensors' places in the file, and checks that they are aligned, inside, and apart.
  private static func place(
    _ infos: [Info], after headerEnd: Int, alignment: Int, in mapped: MappedFile
  ) throws -> [TensorEntry] {
    let dataStart = (headerEnd + alignment - 1) / alignment * alignment
    let dataCount = max(mapped.bytes.count - dataStart, 0)
    let entries = try infos.map { info in
      func fault(_ problem: String) -> FileError {
        FileError(mapped.path, "tensor \(quoted(info.name)): \(problem)")
      }
      guard info.offset.isMultiple(of: UInt64(alignment)) else {
        throw fault("offset \(info.offset) is not a multiple of the alignment \(alignment)")
      }
      guard info.offset <= UInt64(dataCount), info.byteCount <= dataCount - Int(info.offset) else {
        throw fault(
          "offset \(info.offset) and \(info.byteCount) bytes run past the data of \(dataCount) bytes")
      }
      return TensorEntry(
        name: info.name, shape: info.shape, type: info.type.elementType, typeName: info.type.name,
        offset: dataStart + Int(info.offset), byteCount: info.byteCount, elementCount: info.elementCount)
    }
    let sorted = entries.sorted { $0.offset < $1.offset }
    for (first, second) in zip(sorted, sorted.dropFirst())
    where first.offset + first.byteCount > second.offset {
      throw FileError(
        mapped.path,
        "tensor \(quoted(second.name)): offset \(second.offset - dataStart) lies inside tensor"
          + " \(quoted(first.name)), which takes \(first.byteCount) bytes from"
          + " offset \(first.offset - dataStart)"
      )
    }
    return entries
  }
}

extension GGUF {
  /// The number in the file of a type, by ggml's name in either case; nil if it has none.
  static func typeNumber(_ name: String) -> UInt32? {
    GGMLType.table.first { $0.value.0 == name.uppercased() }?.key
  }
}

/// A tensor storage type of ggml: its size, and what FlashCL calls it, if it computes with it.
private struct GGMLType {
  let name: String
  let blockLength: Int
  let blockBytes: Int

  /// By its number in the file; nil for numbers that were never given, or withdrawn.
  init?(number: UInt32) {
    guard let (name, blockLength, blockBytes) = Self.table[number] else { return nil }
    self.name = name
    self.blockLength = blockLength
    self.blockBytes = blockBytes
  }

  /// FlashCL names its types as ggml does, in lower case.
  var elementType: ElementType? { ElementType(rawValue: name.lowercased()) }

  // Number: name, elements of a block, bytes of a block.
  fileprivate static let table: [UInt32: (String, Int, Int)] = [
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34), 9: ("Q8_1", 32, 36), 10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50), 20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2), 26: ("I32", 1, 4), 27: ("I64", 1, 8),
    28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
  ]
}
