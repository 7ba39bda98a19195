import ArgumentParser
import FlashCLFiles

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How a result is printed.
enum Format: String, ExpressibleByArgument, CaseIterable, Sendable {
  case text, json
}

/// `--format`, for every subcommand that prints data.
struct FormatOption: ParsableArguments {
  @Option(help: ArgumentHelp("How to print the result.", valueName: "text|json"))
  var format = Format.text

  var isJSON: Bool { format == .json }
}

/// The same for subcommands whose result is an array too.
enum ArrayFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
  case text, json, npy
}

/// `--format`, for every subcommand whose result is an array too.
struct ArrayFormatOption: ParsableArguments {
  @Option(help: ArgumentHelp("How to print the result.", valueName: "text|json|npy"))
  var format = ArrayFormat.text

  var isJSON: Bool { format == .json }
  var isArray: Bool { format == .npy }

  /// Before long work: bytes are for a file or a pipe.
  func validate() throws {
    if isArray && isatty(1) == 1 {
      throw ValidationError("--format npy is no text for a terminal; send it to a file: > result.npy")
    }
  }
}

/// Whoever read standard output has had enough: no failure, and nothing to say.
struct ClosedPipe: Error {}

/// Standard output, which carries the result and nothing else.
enum Output {
  static func write(_ text: String) throws {
    try write(Array(text.utf8), to: 1, "standard output")
  }

  static func line(_ text: String) throws { try write(text + "\n") }

  /// A .npy file, in C order.
  static func array<Element: NumPyElement>(_ elements: [Element], shape: [Int]) throws {
    try header(shape, of: Element.self)
    try append(elements)
  }

  /// A matrix as a .npy file; none of its rows is a matrix of no columns.
  static func rows<Element: NumPyElement>(_ rows: [[Element]]) throws {
    try array(Array(rows.joined()), shape: [rows.count, rows.first?.count ?? 0])
  }

  /// What comes before the elements of a .npy file.
  static func header<Element: NumPyElement>(_ shape: [Int], of _: Element.Type) throws {
    try write(NumPyWriter<Element>.header(shape), to: 1, "standard output")
  }

  /// More elements of a .npy file.
  static func append<Element: NumPyElement>(_ elements: [Element]) throws {
    try elements.withUnsafeBytes { try write($0, to: 1, "standard output") }
  }

  /// One JSON document on one line. Its fields are named as the properties of `value`: both are the interface.
  static func json(_ value: some Encodable) throws {
    try line(jsonText(value))
  }

  static func jsonText(_ value: some Encodable) throws -> String {
    String(decoding: try encoded(value), as: UTF8.self)
  }

  static func encoded(_ value: some Encodable) throws -> Data {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    encoder.nonConformingFloatEncodingStrategy = .convertToString(
      positiveInfinity: "Infinity", negativeInfinity: "-Infinity", nan: "NaN")
    return try encoder.encode(value)
  }

  /// Writes a JSON document to a file, which is there whole or not at all.
  static func json(_ value: some Encodable, toFile path: String) throws {
    try write(encoded(value) + Array("\n".utf8), toFile: path)
  }

  /// Writes a text to a file, which is there whole or not at all.
  static func write(_ text: String, toFile path: String) throws {
    try write(Array(text.utf8), toFile: path)
  }

  /// Throws where a file could not be written: for work that takes long before it writes.
  static func requireFolder(of path: String) throws {
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    guard access(folder, W_OK | X_OK) == 0 else {
      throw Failure("\(path): cannot be written: \(systemError())")
    }
  }

  /// Writes a file, which is there whole or not at all.
  static func write(_ bytes: some ContiguousBytes, toFile path: String) throws {
    let temporary = "\(path).\(getpid()).tmp"
    let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw Failure("\(path): cannot be written: \(systemError())") }
    do {
      defer { close(descriptor) }
      try write(bytes, to: descriptor, path)
    } catch {
      unlink(temporary)
      throw error
    }
    guard rename(temporary, path) == 0 else {
      let reason = systemError()
      unlink(temporary)
      throw Failure("\(path): cannot be written: \(reason)")
    }
  }

  private static func write(_ bytes: some ContiguousBytes, to descriptor: Int32, _ name: String) throws {
    try bytes.withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = systemWrite(descriptor, UnsafeRawBufferPointer(rebasing: rest))
        if count < 0 && errno == EINTR { continue }
        if count < 0 && errno == EPIPE { throw ClosedPipe() }
        guard count > 0 else { throw Failure("\(name): cannot be written: \(systemError())") }
        rest = rest.dropFirst(count)
      }
    }
  }
}

/// Standard error: one line where something must be said; progress only where a person watches.
enum Terminal {
  static let isWatched = isatty(2) == 1

  /// A line that stays.
  static func say(_ line: String) {
    let text = (isWatched ? "\r\u{1b}[K" : "") + line + "\n"
    _ = Array(text.utf8).withUnsafeBytes { systemWrite(2, $0) }
  }

  /// Text without a line's end: what a person is asked with.
  static func show(_ text: String) {
    _ = Array(text.utf8).withUnsafeBytes { systemWrite(2, $0) }
  }

  /// A line that the next one replaces; "" removes it.
  static func progress(_ text: @autoclosure () -> String) {
    guard isWatched else { return }
    _ = Array("\r\u{1b}[K\(text())".utf8).withUnsafeBytes { systemWrite(2, $0) }
  }

  static func loading(_ share: Double) { progress(share < 1 ? "loading \(Int(share * 100)) %" : "") }
}

private func systemWrite(_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int {
  #if canImport(Glibc)
    Glibc.write(descriptor, bytes.baseAddress, bytes.count)
  #elseif canImport(Musl)
    Musl.write(descriptor, bytes.baseAddress, bytes.count)
  #else
    Darwin.write(descriptor, bytes.baseAddress, bytes.count)
  #endif
}

private func systemError() -> String { String(cString: strerror(errno)) }

/// All bytes of a file, a pipe or a terminal.
func contents(of path: String) throws -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw Failure("\(path): cannot be opened: \(systemError())") }
  defer { close(descriptor) }
  var bytes: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = read(descriptor, &piece, piece.count)
    if count < 0 && errno == EINTR { continue }
    guard count >= 0 else { throw Failure("\(path): cannot be read: \(systemError())") }
    if count == 0 { return bytes }
    bytes += piece[..<count]
  }
}

/// An optional field that JSON shows as null, where Codable would leave it out.
@propertyWrapper
struct Nullable<Value: Encodable>: Encodable {
  var wrappedValue: Value?

  init(wrappedValue: Value?) { self.wrappedValue = wrappedValue }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    if let wrappedValue { try container.encode(wrappedValue) } else { try container.encodeNil() }
  }
}
