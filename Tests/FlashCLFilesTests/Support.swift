import Foundation
import Testing

@testable import FlashCLFiles

/// The path of a file in the Fixtures folder; make_fixtures.py there says what each holds.
func fixture(_ name: String) -> String {
  URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/\(name)").path()
}

/// A folder of its own for one test, removed when the test lets go of it.
final class TemporaryFolder {
  let path = NSTemporaryDirectory() + "flashcl-files-\(UUID().uuidString)"

  init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func file(_ name: String) -> String { "\(path)/\(name)" }

  @discardableResult
  func write(_ bytes: some Sequence<UInt8>, as name: String) throws -> String {
    // Written in place: Foundation's way waits for the disk, thousands of times here.
    let stream = try #require(fopen(file(name), "w"))
    defer { fclose(stream) }
    let bytes = Array(bytes)
    try #require(fwrite(bytes, 1, bytes.count, stream) == bytes.count)
    return file(name)
  }

  var names: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
  }
}

/// Expects a `FileError` for the file at `path`, of one line, with each of these pieces of text.
func expectError(
  _ path: String? = nil, _ pieces: String..., sourceLocation: SourceLocation = #_sourceLocation,
  _ body: () throws -> some Any
) {
  do {
    _ = try body()
    Issue.record("expected an error with \(pieces)", sourceLocation: sourceLocation)
  } catch let error as FileError {
    let text = error.description
    for piece in pieces {
      #expect(text.contains(piece), sourceLocation: sourceLocation)
    }
    if let path { #expect(text.hasPrefix(path), sourceLocation: sourceLocation) }
    #expect(!text.contains("\n"), sourceLocation: sourceLocation)
  } catch {
    Issue.record("expected a FileError, got \(error)", sourceLocation: sourceLocation)
  }
}

/// The f32 values of a tensor of type F32.
func floats(_ file: any TensorFile, _ name: String) throws -> [Float] {
  let entry = try #require(file.entry(named: name))
  return try withExtendedLifetime(file) {
    let bytes = try file.bytes(of: entry)
    return (0..<(bytes.count / 4)).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
  }
}

extension Array where Element == UInt8 {
  /// Appends an integer, little-endian.
  mutating func put<T: FixedWidthInteger>(_ value: T) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }

  mutating func put(_ text: String) {
    put(UInt64(text.utf8.count))
    append(contentsOf: text.utf8)
  }
}
