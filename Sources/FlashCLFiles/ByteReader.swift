/// Reads little-endian fields one after the other, each checked against the end of the file.
struct ByteReader {
  let bytes: UnsafeRawBufferPointer
  let path: String
  var position = 0
  /// What is being read, for the error: `tensor "x"`.
  var subject: String

  var remaining: Int { bytes.count - position }

  func fault(_ problem: String) -> FileError { FileError(path, "\(subject): \(problem)") }

  mutating func integer<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type = T.self) throws -> T {
    let size = MemoryLayout<T>.size
    guard size <= remaining else {
      throw fault("the file ends at byte \(bytes.count), inside the \(size)-byte field at byte \(position)")
    }
    defer { position += size }
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
  }

  /// The bytes of a string that stands as a 64-bit length and its UTF-8.
  mutating func string() throws -> UnsafeRawBufferPointer {
    let start = position
    let length: UInt64 = try integer()
    guard length <= UInt64(remaining) else {
      throw fault(
        "the string at byte \(start) has length \(length), but the file has \(remaining) bytes left")
    }
    defer { position += Int(length) }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<(position + Int(length))])
  }

  /// A string that is a name, so must be valid UTF-8.
  mutating func name() throws -> String {
    let bytes = try string()
    let name = String(decoding: bytes, as: UTF8.self)
    guard name.utf8.elementsEqual(bytes) else { throw fault("the name \(quoted(name)) is not valid UTF-8") }
    return name
  }

  /// A declared count, refused if so many items of at least `itemBytes` cannot fit in what is left.
  func count(_ declared: UInt64, of items: String, itemBytes: Int) throws -> Int {
    let limit = remaining / itemBytes
    guard declared <= UInt64(limit) else {
      throw fault("declares \(declared) \(items), but the \(remaining) bytes left hold at most \(limit)")
    }
    return Int(declared)
  }

  mutating func skip(_ count: Int) { position += count }
}
