import FlashCL

/// A safetensors file: a 64-bit header length, a JSON header, and the tensors' bytes without holes.
///
/// ```
/// {"name": {"dtype": "F32", "shape": [out, in], "data_offsets": [begin, end]}, "__metadata__": {…}}
/// ```
public final class Safetensors: TensorFile {
  private let mapped: MappedFile
  public var path: String { mapped.path }
  public var files: [MappedFile] { [mapped] }
  /// The text pairs under `__metadata__`, in file order.
  public let metadata: [(key: String, value: String)]
  public let tensors: [TensorEntry]
  public let places: [String: Int]

  /// The format's own limit on the header.
  public static let headerLimit = 100_000_000

  /// Maps the file and checks its whole header.
  ///
  /// - Throws: `FileError` naming the tensor whose offsets leave the file, overlap another's, leave a hole,
  ///   or differ from its shape times its type.
  public init(_ path: String) throws {
    mapped = try MappedFile(path)
    let (header, dataStart) = try Self.readHeader(mapped)
    let dataCount = mapped.bytes.count - dataStart
    var metadata: [(key: String, value: String)] = []
    var tensors: [TensorEntry] = []
    for member in header {
      let name = member.key.string
      if name == "__metadata__" {
        metadata = try Self.metadata(member.value, path: path)
      } else {
        tensors.append(
          try Self.entry(name, member.value, dataStart: dataStart, dataCount: dataCount, path: path))
      }
    }
    try Self.checkCover(tensors, dataStart: dataStart, dataCount: dataCount, path: path)
    self.metadata = metadata
    self.tensors = tensors
    places = try FlashCLFiles.places(of: tensors, path: path)
  }

  private static func readHeader(_ mapped: MappedFile) throws -> ([JSON.Member], dataStart: Int) {
    var reader = ByteReader(bytes: mapped.bytes, path: mapped.path, subject: "header")
    let length: UInt64 = try reader.integer()
    guard length <= UInt64(headerLimit) else {
      throw reader.fault("has length \(length), the limit is \(headerLimit): not a safetensors file")
    }
    guard length <= UInt64(reader.remaining) else {
      throw reader.fault("has length \(length), but the file has \(reader.remaining) bytes left")
    }
    let end = reader.position + Int(length)
    let bytes = UnsafeRawBufferPointer(rebasing: mapped.bytes[reader.position..<end])
    guard let members = try JSON(parsing: bytes, path: "\(mapped.path) (header)", uniqueKeys: true).object
    else {
      throw reader.fault("is no JSON object")
    }
    return (members, end)
  }

  private static func metadata(_ value: JSON, path: String) throws -> [(key: String, value: String)] {
    guard let members = value.object else { throw FileError(path, "__metadata__ is no JSON object") }
    return try members.map { member in
      guard let text = member.value.string else {
        throw FileError(path, "__metadata__: the value of \(quoted(member.key.string)) is not text")
      }
      return (member.key.string, text)
    }
  }

  private static func entry(
    _ name: String, _ value: JSON, dataStart: Int, dataCount: Int, path: String
  ) throws -> TensorEntry {
    func fault(_ problem: String) -> FileError { FileError(path, "tensor \(quoted(name)): \(problem)") }

    guard let typeName = value["dtype"]?.string else { throw fault("has no \"dtype\"") }
    guard let shape = integers(value["shape"]) else {
      throw fault("\"shape\" is no list of whole numbers ≥ 0")
    }
    guard let offsets = integers(value["data_offsets"]), offsets.count == 2 else {
      throw fault("\"data_offsets\" is no pair of whole numbers ≥ 0")
    }
    let (begin, end) = (offsets[0], offsets[1])
    guard begin <= end else { throw fault("data_offsets begin at \(begin), after their end \(end)") }
    guard end <= dataCount else {
      throw fault("data_offsets end at \(end), past the data of \(dataCount) bytes")
    }
    guard let elementCount = product(shape) else {
      throw fault("has the shape \(shape), too large for 64 bits")
    }
    // A type from a later version of the format has a size unknown here; it can still be listed.
    if let bits = bits[typeName] {
      let (total, overflow) = elementCount.multipliedReportingOverflow(by: bits)
      guard !overflow, total.isMultiple(of: 8), total / 8 == end - begin else {
        let needed = overflow ? "more than 64 bits can count" : "\((total + 7) / 8)"
        throw fault(
          "\(typeName) of shape \(shape) needs \(needed) bytes, its data_offsets span \(end - begin)")
      }
    }
    return TensorEntry(
      name: name, shape: shape, type: elementTypes[typeName], typeName: quotedUnlessPlain(typeName),
      offset: dataStart + begin, byteCount: end - begin, elementCount: elementCount)
  }

  private static func integers(_ value: JSON?) -> [Int]? {
    guard let values = value?.array else { return nil }
    let integers = values.compactMap { value -> Int? in
      if case .int(let integer) = value, integer >= 0 { Int(exactly: integer) } else { nil }
    }
    return integers.count == values.count ? integers : nil
  }

  /// The data must be covered from first to last byte, once.
  private static func checkCover(
    _ tensors: [TensorEntry], dataStart: Int, dataCount: Int, path: String
  ) throws {
    var covered = 0
    var last = "the header"
    // Empty tensors first, where a tensor with bytes starts at the same place.
    for entry in tensors.sorted(by: { ($0.offset, $0.byteCount) < ($1.offset, $1.byteCount) }) {
      let begin = entry.offset - dataStart
      if begin < covered {
        throw FileError(
          path, "tensor \(quoted(entry.name)): begins at \(begin), inside \(last), which ends at \(covered)")
      }
      if begin > covered {
        throw FileError(
          path,
          "tensor \(quoted(entry.name)): begins at \(begin), \(begin - covered) bytes after \(last)"
        )
      }
      covered += entry.byteCount
      last = "tensor \(quoted(entry.name))"
    }
    if covered < dataCount {
      throw FileError(path, "has \(dataCount - covered) bytes after \(last), which belong to no tensor")
    }
  }

  private static let elementTypes: [String: ElementType] = [
    "F32": .f32, "F16": .f16, "BF16": .bf16, "I32": .i32,
  ]

  /// Bits of one element.
  private static let bits: [String: Int] = [
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64, "I64": 64, "U64": 64, "I32": 32, "U32": 32,
    "I16": 16,
    "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
  ]
}

/// A type name that may stand in a message or a listing as it is.
private func quotedUnlessPlain(_ name: String) -> String {
  name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && name.utf8.count <= 16 ? name : quoted(name)
}
