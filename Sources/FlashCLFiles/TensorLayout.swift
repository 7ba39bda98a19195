import FlashCL

/// A tensor that a file to be written will hold.
public struct TensorLayout: Sendable {
  public let name: String
  /// Row-major, the outermost dimension first.
  public let shape: [Int]
  /// How its numbers are stored, in lower case as `ElementType` names it, or as the format does.
  public let typeName: String
  public let byteCount: Int

  public init(name: String, shape: [Int], typeName: String, byteCount: Int) {
    self.name = name
    self.shape = shape
    self.typeName = typeName
    self.byteCount = byteCount
  }
}

/// The first bytes of a weight file, up to its first tensor, and where each tensor will stand.
public struct FileHeader: Sendable {
  public let bytes: [UInt8]
  /// In the order of the tensors; what lies between them is zeros.
  public let ranges: [Range<Int>]
}

// MARK: - GGUF

extension GGUF {
  /// Metadata on its way into a file.
  public struct Metadata: Sendable {
    private(set) var keys: [String] = []
    private var members: [[UInt8]] = []

    public init() {}

    /// The metadata of a file, byte for byte, without these keys.
    public init(of file: GGUF, without dropped: Set<String> = []) {
      for member in file.metadata where !dropped.contains(member.key) {
        keys.append(member.key)
        members.append([UInt8](file.files[0].bytes[member.bytes]))
      }
    }

    public mutating func add(_ key: String, _ value: Int) {
      add(key, .uint32, little(UInt32(clamping: value)))
    }
    public mutating func add(_ key: String, _ value: Float) { add(key, .float32, little(value.bitPattern)) }
    public mutating func add(_ key: String, _ value: Bool) { add(key, .bool, [value ? 1 : 0]) }
    public mutating func add(_ key: String, _ value: String) { add(key, .string, string(Array(value.utf8))) }
    public mutating func add(_ key: String, _ values: [ByteString]) {
      add(
        key, .array, little(ValueType.string.rawValue) + little(UInt64(values.count)),
        values.lazy.map { string($0.bytes) })
    }
    public mutating func add(_ key: String, _ values: [Float]) {
      add(
        key, .array, little(ValueType.float32.rawValue) + little(UInt64(values.count)),
        values.lazy.map { little($0.bitPattern) })
    }
    public mutating func add(_ key: String, _ values: [Int32]) {
      add(
        key, .array, little(ValueType.int32.rawValue) + little(UInt64(values.count)),
        values.lazy.map { little($0) })
    }

    private mutating func add(
      _ key: String, _ type: ValueType, _ value: [UInt8],
      _ elements: some Sequence<[UInt8]> = EmptyCollection<[UInt8]>()
    ) {
      var member = string(Array(key.utf8)) + little(type.rawValue) + value
      for element in elements { member += element }
      keys.append(key)
      members.append(member)
    }

    fileprivate var bytes: [UInt8] { members.reduce(into: []) { $0 += $1 } }
  }

  /// The header of a version 3 file; offsets are multiples of `alignment`, which must be what the metadata says.
  ///
  /// - Throws: `FileError` for a type that GGUF does not have.
  public static func header(
    _ metadata: Metadata, _ tensors: [TensorLayout], alignment: Int = 32, path: String
  ) throws -> FileHeader {
    func aligned(_ count: Int) -> Int { (count + alignment - 1) / alignment * alignment }
    var bytes = Array("GGUF".utf8) + little(UInt32(3)) + little(UInt64(tensors.count))
    bytes += little(UInt64(metadata.keys.count)) + metadata.bytes
    var (offset, ranges) = (0, [Range<Int>]())
    for tensor in tensors {
      guard let number = typeNumber(tensor.typeName) else {
        throw FileError(path, "tensor \(quoted(tensor.name)): GGUF has no type \(tensor.typeName)")
      }
      guard (1...4).contains(tensor.shape.count) else {
        throw FileError(
          path, "tensor \(quoted(tensor.name)): GGUF holds 1 to 4 dimensions, it has \(tensor.shape.count)")
      }
      bytes += string(Array(tensor.name.utf8)) + little(UInt32(tensor.shape.count))
      for dimension in tensor.shape.reversed() { bytes += little(UInt64(dimension)) }
      bytes += little(number) + little(UInt64(offset))
      ranges.append(offset..<offset + tensor.byteCount)
      offset = aligned(offset + tensor.byteCount)
    }
    bytes += [UInt8](repeating: 0, count: aligned(bytes.count) - bytes.count)
    let start = bytes.count
    return FileHeader(bytes: bytes, ranges: ranges.map { $0.lowerBound + start..<$0.upperBound + start })
  }
}

private func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { [UInt8]($0) }
}

private func string(_ bytes: [UInt8]) -> [UInt8] { little(UInt64(bytes.count)) + bytes }

// MARK: - safetensors

extension Safetensors {
  /// The header of a file with these tensors, one after the other.
  public static func header(_ tensors: [TensorLayout], metadata: [(key: String, value: String)] = [])
    -> FileHeader
  {
    var (members, ranges, offset) = ([String](), [Range<Int>](), 0)
    if !metadata.isEmpty {
      let pairs = metadata.map { "\(jsonQuoted($0.key)):\(jsonQuoted($0.value))" }
      members.append("\"__metadata__\":{\(pairs.joined(separator: ","))}")
    }
    for tensor in tensors {
      let range = offset..<offset + tensor.byteCount
      let shape = tensor.shape.map(String.init).joined(separator: ",")
      members.append(
        "\(jsonQuoted(tensor.name)):{\"dtype\":\"\(tensor.typeName.uppercased())\",\"shape\":[\(shape)],"
          + "\"data_offsets\":[\(range.lowerBound),\(range.upperBound)]}")
      ranges.append(range)
      offset = range.upperBound
    }
    var text = Array("{\(members.joined(separator: ","))}".utf8)
    // So that the data begins at a multiple of 8 bytes, as the format's own writer has it.
    text += [UInt8](repeating: 32, count: (8 - text.count % 8) % 8)
    let start = 8 + text.count
    return FileHeader(
      bytes: little(UInt64(text.count)) + text,
      ranges: ranges.map { $0.lowerBound + start..<$0.upperBound + start })
  }
}

/// A JSON string.
public func jsonQuoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case "\u{0}"..."\u{1f}":
      let digits = String(scalar.value, radix: 16)
      result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
