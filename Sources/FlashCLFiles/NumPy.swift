#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A type whose arrays can stand in a .npy file.
public protocol NumPyElement: BitwiseCopyable, Sendable {
  /// NumPy's name of the type, little-endian.
  static var descr: String { get }
  /// Fills `elements` with the bytes of a file; both have one length.
  static func copy(_ bytes: UnsafeRawBufferPointer, to elements: UnsafeMutableRawBufferPointer)
}

extension NumPyElement {
  public static func copy(_ bytes: UnsafeRawBufferPointer, to elements: UnsafeMutableRawBufferPointer) {
    elements.copyMemory(from: bytes)
  }
}

extension Float16: NumPyElement { public static var descr: String { "<f2" } }
extension Float: NumPyElement { public static var descr: String { "<f4" } }
extension Double: NumPyElement { public static var descr: String { "<f8" } }
extension Int8: NumPyElement { public static var descr: String { "|i1" } }
extension UInt8: NumPyElement { public static var descr: String { "|u1" } }
extension Int32: NumPyElement { public static var descr: String { "<i4" } }
extension Int64: NumPyElement { public static var descr: String { "<i8" } }

extension Bool: NumPyElement {
  public static var descr: String { "|b1" }

  /// In a file any byte but 0 is true; Swift's Bool has no bytes but 0 and 1.
  public static func copy(_ bytes: UnsafeRawBufferPointer, to elements: UnsafeMutableRawBufferPointer) {
    for (index, byte) in bytes.enumerated() { elements[index] = byte == 0 ? 0 : 1 }
  }
}

// MARK: - Writing

/// Writes a .npy file (version 1.0, C order) piece by piece, so that the whole array is never in memory.
///
/// The file appears under its name only when it is complete: until `finish` it stands under a temporary name
/// in the same folder, and is removed if the writer goes away before. With a key it stays there instead, as
/// `PATH.KEY.partial`, and a later writer with the same key goes on from its last whole row.
public final class NumPyWriter<Element: NumPyElement> {
  private let path: String
  private let temporary: String
  private var descriptor: Int32
  /// True where nothing is left to remove.
  private var isKept: Bool
  private let count: Int
  /// Elements that are in the file: after `init` those that an earlier writer left.
  public private(set) var written = 0

  /// Opens the file and writes its header; the shape must be known by now.
  ///
  /// - Parameters:
  ///   - key: names what is written, so that two different contents never share an unfinished file.
  ///   - resumes: takes up what an earlier writer with the same key left; false begins anew.
  /// - Throws: `FileError` if the folder cannot be written to, the path is something else than a file, or another
  ///   process is writing with the same key.
  public init(
    _ path: String, shape: [Int], of _: Element.Type = Element.self, key: String? = nil, resumes: Bool = false
  ) throws {
    guard shape.allSatisfy({ $0 >= 0 }), let count = product(shape) else {
      throw FileError(path, "cannot hold an array of shape \(shape)")
    }
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      throw FileError(path, "cannot be written: it is there already, and is not a regular file")
    }
    self.path = path
    self.count = count
    isKept = key != nil
    temporary =
      key.map { "\(path).\($0).partial" } ?? "\(path).\(getpid()).\(UInt32.random(in: 0...(.max))).tmp"
    let flags = key == nil ? O_EXCL : 0
    descriptor = open(temporary, O_RDWR | O_CREAT | O_CLOEXEC | flags, 0o666)
    guard descriptor >= 0 else { throw FileError(path, "cannot be written: \(systemError())") }
    let header = Self.header(shape)
    guard key != nil else {
      try header.withUnsafeBytes(put)
      return
    }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      throw FileError(temporary, "is being written by another process")
    }
    var found = [UInt8](repeating: 0, count: header.count)
    let row = max(shape.dropFirst().reduce(1, *), 1)
    if resumes, pread(descriptor, &found, found.count, 0) == found.count, found == header,
      fstat(descriptor, &status) == 0
    {
      let elements = (Int(status.st_size) - header.count) / MemoryLayout<Element>.size
      written = min(elements / row * row, count)
    }
    let end = written == 0 ? 0 : header.count + written * MemoryLayout<Element>.size
    guard ftruncate(descriptor, off_t(end)) == 0, lseek(descriptor, off_t(end), SEEK_SET) >= 0 else {
      throw FileError(path, "cannot be written: \(systemError())")
    }
    if end == 0 { try header.withUnsafeBytes(put) }
  }

  deinit {
    if descriptor >= 0 { close(descriptor) }
    if !isKept { unlink(temporary) }
  }

  /// Appends the next elements in C order: one row, several, or part of one.
  ///
  /// - Throws: `FileError` if they are more than the shape holds, or the disk is full.
  public func append(_ elements: UnsafeBufferPointer<Element>) throws {
    guard elements.count <= count - written else {
      throw FileError(path, "the shape holds \(count) elements, got \(written + elements.count)")
    }
    try put(UnsafeRawBufferPointer(elements))
    written += elements.count
  }

  public func append(_ elements: [Element]) throws {
    try elements.withUnsafeBufferPointer(append)
  }

  /// Gives the complete file its name, replacing an older one in one step.
  ///
  /// - Throws: `FileError` if elements are missing.
  public func finish() throws {
    guard written == count else {
      throw FileError(path, "the shape holds \(count) elements, got only \(written)")
    }
    // Some file systems report a full disk only here.
    let closed = close(descriptor)
    descriptor = -1
    guard closed == 0, rename(temporary, path) == 0 else {
      throw FileError(path, "cannot be written: \(systemError())")
    }
    isKept = true
  }

  private func put(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while !rest.isEmpty {
      let count = write(descriptor, rest.baseAddress, rest.count)
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else { throw FileError(path, "cannot be written: \(systemError())") }
      rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
    }
  }

  /// What stands before the elements: magic, version 1.0, u16 length, a Python dictionary, padded with spaces to a multiple of
  /// 64 bytes.
  public static func header(_ shape: [Int]) -> [UInt8] {
    let dimensions = shape.map { "\($0)," }.joined(separator: " ")
    let tuple = shape.count == 1 ? "(\(dimensions))" : "(\(dimensions.dropLast()))"
    var text = "{'descr': '\(Element.descr)', 'fortran_order': False, 'shape': \(tuple), }"
    let unpadded = 10 + text.utf8.count + 1
    text += String(repeating: " ", count: (64 - unpadded % 64) % 64) + "\n"
    let length = text.utf8.count
    return [0x93] + "NUMPY".utf8 + [1, 0, UInt8(length & 0xFF), UInt8(length >> 8)] + text.utf8
  }
}

// MARK: - Both ways, whole arrays

/// A whole array as a .npy file holds it, in C order.
public struct NumPyArray<Element: NumPyElement>: Sendable {
  public let shape: [Int]
  public let elements: [Element]

  public init(shape: [Int], elements: [Element]) {
    self.shape = shape
    self.elements = elements
  }

  /// Writes the array; the file appears when it is complete.
  ///
  /// - Throws: `FileError`, also if the shape does not hold that many elements.
  public func write(to path: String) throws {
    let writer = try NumPyWriter(path, shape: shape, of: Element.self)
    try writer.append(elements)
    try writer.finish()
  }

  /// Reads a .npy file (versions 1 to 3, C order, little-endian) of exactly this element type.
  ///
  /// - Throws: `FileError` naming what the header says and what was expected.
  public init(contentsOf path: String) throws {
    let file = try NumPyFile(path)
    shape = file.shape
    elements = try file.elements()
  }
}

// MARK: - Reading

/// A .npy file (versions 1 to 3, C order) of any element type: its header is read and checked against the file's length,
/// its elements are read from disk as they are touched.
public struct NumPyFile: Sendable {
  public let shape: [Int]
  /// NumPy's name of the element type, such as `<f4`.
  public let descr: String
  /// The product of the shape; 1 for a scalar.
  public let count: Int
  private let mapped: MappedFile
  private let dataStart: Int

  /// - Throws: `FileError`, also for Fortran order, elements that are no numbers, and data of another length.
  public init(_ path: String) throws {
    mapped = try MappedFile(path)
    let (header, dataStart) = try Self.readHeader(mapped)
    (shape, descr, self.dataStart) = (header.shape, header.descr, dataStart)
    guard let size = header.elementSize else {
      throw FileError(path, "holds elements of type \(quoted(descr)), which are no numbers")
    }
    if header.isFortran { throw FileError(path, "is in Fortran order, expected C order") }
    let dataCount = mapped.bytes.count - dataStart
    // Without its zeros too, so that nobody's strides overflow.
    guard let count = product(shape), product(shape.map { max($0, 1) } + [size]) != nil,
      count <= dataCount / size, count * size == dataCount
    else {
      throw FileError(path, "has the shape \(shape) of \(size)-byte elements, but \(dataCount) bytes of data")
    }
    self.count = count
  }

  public var path: String { mapped.path }

  /// The element type in words: `float32`, `bool`, `big-endian int16`.
  public var typeName: String {
    let kinds: [Character: String] = ["b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"]
    let (kind, size) = (descr.dropFirst().first ?? " ", Int(descr.dropFirst(2)) ?? 0)
    let name = (kinds[kind] ?? descr) + (kind == "b" ? "" : "\(8 * size)")
    return (descr.first == ">" ? "big-endian " : "") + name
  }

  /// The elements as they stand in the file, in C order; the bytes are valid while `body` runs.
  public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try withExtendedLifetime(mapped) {
      try body(UnsafeRawBufferPointer(rebasing: mapped.bytes[dataStart...]))
    }
  }

  /// All elements.
  ///
  /// - Throws: `FileError` if the file holds another type.
  public func elements<Element: NumPyElement>(of _: Element.Type = Element.self) throws -> [Element] {
    guard descr == Element.descr else {
      throw FileError(path, "holds elements of type \(quoted(descr)), expected \(quoted(Element.descr))")
    }
    return withBytes { bytes in
      [Element](unsafeUninitializedCapacity: count) { buffer, initialized in
        Element.copy(bytes, to: UnsafeMutableRawBufferPointer(buffer))
        initialized = count
      }
    }
  }

  private static func readHeader(_ mapped: MappedFile) throws -> (NumPyHeader, dataStart: Int) {
    let magic: [UInt8] = [0x93] + "NUMPY".utf8
    guard mapped.starts(with: magic) else { throw FileError(mapped.path, "is not a .npy file") }
    var reader = ByteReader(bytes: mapped.bytes, path: mapped.path, position: magic.count, subject: "header")
    let version: UInt8 = try reader.integer()
    _ = try reader.integer(UInt8.self)
    guard (1...3).contains(version) else {
      throw reader.fault("has version \(version), supported are 1 to 3")
    }
    let length = version == 1 ? Int(try reader.integer(UInt16.self)) : Int(try reader.integer(UInt32.self))
    guard length <= reader.remaining else {
      throw reader.fault("has length \(length), but the file has \(reader.remaining) bytes left")
    }
    let end = reader.position + length
    let text = String(decoding: mapped.bytes[reader.position..<end], as: UTF8.self)
    guard let header = NumPyHeader(text) else {
      throw reader.fault("\(quoted(text)) is not a dictionary of 'descr', 'fortran_order' and 'shape'")
    }
    return (header, end)
  }
}

/// The Python dictionary at the head of a .npy file.
private struct NumPyHeader {
  var descr = ""
  var isFortran = false
  var shape: [Int] = []

  /// Bytes of one element: the number at the end of `<f4`; nil for text, objects and dates.
  var elementSize: Int? {
    guard let order = descr.first, "<>|=".contains(order), let kind = descr.dropFirst().first,
      "biufc".contains(kind), let size = Int(descr.dropFirst(2)), (1...32).contains(size)
    else { return nil }
    return size
  }

  /// Nil unless the text is just that dictionary, keys in any order.
  init?(_ text: String) {
    // Commas part members and dimensions alike, so walk the tokens: quoted text, words, and punctuation.
    var tokens = Self.tokens(text)[...]
    var keys: Set<String> = []
    guard tokens.popFirst() == "{" else { return nil }
    while let key = tokens.popFirst(), key != "}" {
      guard tokens.popFirst() == ":", keys.insert(key).inserted, let value = tokens.popFirst() else {
        return nil
      }
      switch key {
      case "'descr'": descr = value.filter { $0 != "'" }
      case "'fortran_order'":
        guard value == "True" || value == "False" else { return nil }
        isFortran = value == "True"
      case "'shape'":
        guard value == "(" else { return nil }
        while let dimension = tokens.popFirst(), dimension != ")" {
          guard let dimension = Int(dimension), dimension >= 0 else { return nil }
          shape.append(dimension)
          if tokens.first == "," { tokens.removeFirst() }
        }
      default: return nil
      }
      if tokens.first == "," { tokens.removeFirst() }
    }
    guard tokens.isEmpty, keys.count == 3 else { return nil }
  }

  private static func tokens(_ text: String) -> [String] {
    var tokens: [String] = []
    var token = ""
    var isQuoted = false
    for scalar in text.unicodeScalars {
      if scalar == "'" { isQuoted.toggle() }
      if !isQuoted, "{}():, \n".unicodeScalars.contains(scalar) {
        if !token.isEmpty { tokens.append(token) }
        token = ""
        if scalar != " " && scalar != "\n" { tokens.append(String(scalar)) }
      } else {
        token.unicodeScalars.append(scalar)
      }
    }
    return token.isEmpty ? tokens : tokens + [token]
  }
}
