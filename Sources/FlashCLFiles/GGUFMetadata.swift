// GGUF's metadata: keys, each with a value of its own type.

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

  static func readMetadata(
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
