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
