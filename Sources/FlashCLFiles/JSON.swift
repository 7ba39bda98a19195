/// A JSON value, with object members in file order and all text kept as bytes.
///
/// Accepted is RFC 8259, and beyond it what Python's `json` writes into a config.json: `NaN`, `Infinity` and
/// `-Infinity`. Integers that do not fit 64 bits become doubles (tokenizers write 1e30 as an integer), and a
/// number too large for a double becomes infinite. A lone surrogate escape becomes U+FFFD. A byte order mark
/// is skipped. Of two members with one key the last counts, at the place of the first. Text must be valid
/// UTF-8.
public enum JSON: Sendable, Equatable {
  case null
  case bool(Bool)
  case int(Int64)
  case double(Double)
  case string(ByteString)
  case array([JSON])
  case object([Member])

  /// One key of an object with its value.
  public struct Member: Sendable, Equatable {
    public let key: ByteString
    public let value: JSON

    public init(key: ByteString, value: JSON) {
      self.key = key
      self.value = value
    }
  }

  /// Arrays and objects may stand this deep inside each other.
  public static let depthLimit = 128
}

// MARK: - Looking inside

extension JSON {
  /// The member of that name, compared by bytes; nil if there is none or this is no object.
  ///
  /// Walks the members: for many look-ups in a large object, build a dictionary from `object` first.
  public subscript(key: String) -> JSON? {
    guard case .object(let members) = self else { return nil }
    let key = ByteString(key)
    return members.first { $0.key == key }?.value
  }

  /// The element at that place; nil beyond the end or if this is no array.
  public subscript(index: Int) -> JSON? {
    guard case .array(let values) = self, values.indices.contains(index) else { return nil }
    return values[index]
  }

  /// True for `null`: a key that is there without a value.
  public var isNull: Bool { self == .null }

  public var bool: Bool? {
    if case .bool(let value) = self { value } else { nil }
  }

  /// A whole number; 2.0 counts as 2, and 2.5 is nil.
  public var int: Int? {
    switch self {
    case .int(let value): Int(exactly: value)
    case .double(let value): Int(exactly: value)
    default: nil
    }
  }

  /// Any number.
  public var double: Double? {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }

  /// Text as a `String`: for names and switches. Vocabulary entries are compared as `bytes`.
  public var string: String? {
    if case .string(let value) = self { value.string } else { nil }
  }

  /// Text as it stands in the file, escapes resolved.
  public var bytes: ByteString? {
    if case .string(let value) = self { value } else { nil }
  }

  public var array: [JSON]? {
    if case .array(let values) = self { values } else { nil }
  }

  public var object: [Member]? {
    if case .object(let members) = self { members } else { nil }
  }
}

// MARK: - Reading

extension JSON {
  /// Parses one JSON document; `path` is what the error calls it.
  ///
  /// - Parameter uniqueKeys: refuse an object that has a key twice.
  /// - Throws: `FileError` with the byte and the line of the first fault.
  public init(
    parsing bytes: UnsafeRawBufferPointer, path: String, uniqueKeys: Bool = false
  ) throws {
    var parser = JSONParser(bytes: bytes, path: path, uniqueKeys: uniqueKeys)
    self = try parser.document()
  }

  /// Parses a JSON file.
  public init(_ file: MappedFile) throws {
    self = try withExtendedLifetime(file) { try JSON(parsing: file.bytes, path: file.path) }
  }

  /// Parses the JSON document in a string.
  public init(parsing text: String, path: String = "JSON") throws {
    self = try Array(text.utf8).withUnsafeBytes { try JSON(parsing: $0, path: path) }
  }
}

/// Recursive descent over the bytes; a byte past the end reads as 0, which no rule of the grammar accepts.
private struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  let path: String
  let uniqueKeys: Bool
  var position = 0

  init(bytes: UnsafeRawBufferPointer, path: String, uniqueKeys: Bool) {
    self.bytes = bytes
    self.path = path
    self.uniqueKeys = uniqueKeys
  }

  var current: UInt8 { position < bytes.count ? bytes[position] : 0 }

  mutating func document() throws -> JSON {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    skipSpace()
    let value = try value(depth: 0)
    skipSpace()
    if position < bytes.count { throw fault("expected the end of the document, found \(found)") }
    return value
  }

  mutating func skipSpace() {
    while position < bytes.count {
      let byte = bytes[position]
      guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
      position += 1
    }
  }

  mutating func value(depth: Int) throws -> JSON {
    switch current {
    case UInt8(ascii: "\""): return .string(try text())
    case UInt8(ascii: "{"): return .object(try members(depth: depth + 1))
    case UInt8(ascii: "["): return .array(try elements(depth: depth + 1))
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "N"): return try word("NaN", .double(.nan))
    case UInt8(ascii: "I"): return try word("Infinity", .double(.infinity))
    default: throw fault("expected a value, found \(found)")
    }
  }

  mutating func word(_ word: StaticString, _ value: JSON) throws -> JSON {
    for offset in 0..<word.utf8CodeUnitCount {
      guard current == word.utf8Start[offset] else { throw fault("expected \(word), found \(found)") }
      position += 1
    }
    return value
  }

  mutating func elements(depth: Int) throws -> [JSON] {
    try open(depth)
    var elements: [JSON] = []
    if close(UInt8(ascii: "]")) { return elements }
    while true {
      elements.append(try value(depth: depth))
      skipSpace()
      if close(UInt8(ascii: "]")) { return elements }
      try expect(UInt8(ascii: ","), "\",\" or \"]\" after an element")
      skipSpace()
    }
  }

  mutating func members(depth: Int) throws -> [JSON.Member] {
    try open(depth)
    var members: [JSON.Member] = []
    var places: [ByteString: Int] = [:]
    if close(UInt8(ascii: "}")) { return members }
    while true {
      guard current == UInt8(ascii: "\"") else { throw fault("expected a key in quotes, found \(found)") }
      let keyPosition = position
      let key = try text()
      skipSpace()
      try expect(UInt8(ascii: ":"), "\":\" after the key \(quoted(key.string))")
      skipSpace()
      let member = JSON.Member(key: key, value: try value(depth: depth))
      if let place = places.updateValue(members.count, forKey: key) {
        if uniqueKeys { throw fault("the key \(quoted(key.string)) is there twice", at: keyPosition) }
        members[place] = member
        places[key] = place
      } else {
        members.append(member)
      }
      skipSpace()
      if close(UInt8(ascii: "}")) { return members }
      try expect(UInt8(ascii: ","), "\",\" or \"}\" after a member")
      skipSpace()
    }
  }

  mutating func open(_ depth: Int) throws {
    if depth > JSON.depthLimit { throw fault("nested deeper than \(JSON.depthLimit)") }
    position += 1
    skipSpace()
  }

  mutating func close(_ byte: UInt8) -> Bool {
    guard current == byte else { return false }
    position += 1
    return true
  }

  mutating func expect(_ byte: UInt8, _ what: @autoclosure () -> String) throws {
    guard current == byte else { throw fault("expected \(what()), found \(found)") }
    position += 1
  }

  // MARK: Numbers

  mutating func number() throws -> JSON {
    let start = position
    let isNegative = current == UInt8(ascii: "-")
    if isNegative {
      position += 1
      if current == UInt8(ascii: "I") { return try word("Infinity", .double(-.infinity)) }
    }
    // Summed below zero, where Int64 has one value more.
    var negated: Int64 = 0
    var fits = true
    let firstDigit = position
    while let digit = digit() {
      let (tens, over) = negated.multipliedReportingOverflow(by: 10)
      let (sum, under) = tens.subtractingReportingOverflow(Int64(digit))
      fits = fits && !over && !under
      negated = sum
    }
    guard position > firstDigit else { throw fault("expected a digit, found \(found)") }
    if position > firstDigit + 1, bytes[firstDigit] == UInt8(ascii: "0") {
      throw fault("a number may not start with 0", at: firstDigit)
    }
    var isWhole = true
    if current == UInt8(ascii: ".") {
      isWhole = false
      position += 1
      try digits()
    }
    if current == UInt8(ascii: "e") || current == UInt8(ascii: "E") {
      isWhole = false
      position += 1
      if current == UInt8(ascii: "+") || current == UInt8(ascii: "-") { position += 1 }
      try digits()
    }
    if isWhole && fits {
      if isNegative { return .int(negated) }
      if negated != .min { return .int(-negated) }
    }
    let digits = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let value = Double(digits) else { throw fault("\(quoted(digits)) is no number", at: start) }
    return .double(value)
  }

  mutating func digit() -> UInt8? {
    let byte = current
    guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
    position += 1
    return byte - UInt8(ascii: "0")
  }

  mutating func digits() throws {
    let start = position
    while digit() != nil {}
    if position == start { throw fault("expected a digit, found \(found)") }
  }

  // MARK: Text

  mutating func text() throws -> ByteString {
    let opening = position
    position += 1
    var unescaped: [UInt8] = []
    var runStart = position
    while position < bytes.count {
      let byte = bytes[position]
      if byte == 0x22 {
        let run = bytes[runStart..<position]
        position += 1
        // Nearly all text is free of escapes: one copy.
        return ByteString(unescaped.isEmpty ? Array(run) : unescaped + run)
      } else if byte == 0x5C {
        unescaped += bytes[runStart..<position]
        try escape(into: &unescaped)
        runStart = position
      } else if byte < 0x20 {
        throw fault("a control character in a string must be escaped, found \(found)")
      } else if byte < 0x80 {
        position += 1
      } else {
        position += try multibyteLength()
      }
    }
    throw fault("the string has no closing quote", at: opening)
  }

  mutating func escape(into text: inout [UInt8]) throws {
    let start = position
    position += 1
    let letter = current
    position += 1
    switch letter {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(letter)
    case UInt8(ascii: "b"): text.append(0x08)
    case UInt8(ascii: "f"): text.append(0x0C)
    case UInt8(ascii: "n"): text.append(0x0A)
    case UInt8(ascii: "r"): text.append(0x0D)
    case UInt8(ascii: "t"): text.append(0x09)
    case UInt8(ascii: "u"):
      var code = UInt32(try hexDigits(start))
      let isHigh = code & 0xFC00 == 0xD800
      if isHigh, current == UInt8(ascii: "\\"), position + 1 < bytes.count,
        bytes[position + 1] == UInt8(ascii: "u")
      {
        let second = position
        position += 2
        let low = UInt32(try hexDigits(second))
        if low & 0xFC00 == 0xDC00 {
          code = 0x10000 + (code & 0x3FF) << 10 + (low & 0x3FF)
        } else {
          position = second
        }
      }
      text += (Unicode.Scalar(code) ?? "\u{FFFD}").utf8
    default: throw fault("unknown escape in a string", at: start)
    }
  }

  mutating func hexDigits(_ start: Int) throws -> UInt16 {
    var code: UInt16 = 0
    for _ in 0..<4 {
      let digit: UInt8
      switch current {
      case let byte where byte >= 0x30 && byte <= 0x39: digit = byte - 0x30
      case let byte where byte >= 0x41 && byte <= 0x46: digit = byte - 0x41 + 10
      case let byte where byte >= 0x61 && byte <= 0x66: digit = byte - 0x61 + 10
      default: throw fault("\\u needs four hexadecimal digits", at: start)
      }
      code = code << 4 | UInt16(digit)
      position += 1
    }
    return code
  }

  /// Bytes of the UTF-8 sequence here, per the table of well-formed sequences of the Unicode standard (3-7).
  func multibyteLength() throws -> Int {
    let length: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch bytes[position] {
    case 0xC2...0xDF: length = 2
    case 0xE0: (length, second) = (3, 0xA0...0xBF)
    case 0xED: (length, second) = (3, 0x80...0x9F)
    case 0xE1...0xEF: length = 3
    case 0xF0: (length, second) = (4, 0x90...0xBF)
    case 0xF4: (length, second) = (4, 0x80...0x8F)
    case 0xF1...0xF3: length = 4
    default: throw fault("not valid UTF-8, found \(found)")
    }
    guard position + length <= bytes.count, second.contains(bytes[position + 1]),
      bytes[(position + 2)..<(position + length)].allSatisfy({ $0 & 0xC0 == 0x80 })
    else { throw fault("not valid UTF-8, found \(found)") }
    return length
  }

  // MARK: Faults

  var found: String {
    guard position < bytes.count else { return "the end of the file" }
    let byte = bytes[position]
    let isPrintable = byte > 0x20 && byte < 0x7F
    return isPrintable ? "'\(Unicode.Scalar(byte))'" : "byte 0x" + String(byte, radix: 16, uppercase: true)
  }

  func fault(_ problem: String, at place: Int? = nil) -> FileError {
    let place = place ?? position
    let line = 1 + bytes.prefix(place).count { $0 == 0x0A }
    return FileError(path, "line \(line), byte \(place): \(problem)")
  }
}
