import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

/// A recording as one file: a line of JSON, which says what was launched and how long each buffer is, and then the buffers'
/// bytes one after the other, before and, where the launches came to their end, after.
struct CapsuleFile {
  let about: About
  let recording: Recording

  /// Where the recording was made, and of what.
  struct About: Codable {
    let `case`: String
    let device: String
    let driver: String
    /// What was wrong there, in a line; empty where nothing was.
    let outcome: String
  }

  private static let format = "flashcl capsule 2"
  /// A line of JSON above this is no capsule: kernels' texts are some 100 kB.
  private static let longestHeader = 64 << 20

  // MARK: - JSON

  private struct Header: Codable {
    let format: String
    let about: About
    let sources: [Text]
    let launches: [Launch]
    let buffers: [Size]
    /// Of the bytes after the line.
    let checksum: String
  }

  private struct Text: Codable, Equatable {
    let name, text: String
  }

  private struct Launch: Codable {
    let kernel: String
    /// Its number in `sources`.
    let source: Int
    let defines: [[String]]
    let global: [Int]
    let local: [Int]?
    let arguments: [Argument]
  }

  private struct Argument: Codable {
    var buffer: Int?
    var int: Int32?
    var uint: UInt32?
    var long: Int64?
    /// A float by its bits: no number is lost on the way.
    var float_bits: UInt32?
    var local_bytes: Int?

    init(_ value: Recording.Value) {
      switch value {
      case .buffer(let number): buffer = number
      case .int(let value): int = value
      case .uint(let value): uint = value
      case .long(let value): long = value
      case .float(let value): float_bits = value.bitPattern
      case .local(let bytes): local_bytes = bytes
      case .null: break
      }
    }

    var value: Recording.Value {
      if let buffer { return .buffer(buffer) }
      if let int { return .int(int) }
      if let uint { return .uint(uint) }
      if let long { return .long(long) }
      if let float_bits { return .float(Float(bitPattern: float_bits)) }
      return local_bytes.map { .local(bytes: $0) } ?? .null
    }
  }

  private struct Size: Codable {
    let bytes: Int
    /// False where the launches did not come to their end.
    let has_after: Bool
  }

  // MARK: - Writing

  func write(_ path: String) throws {
    var sources: [Text] = []
    let launches = recording.launches.map { launch in
      let text = Text(name: launch.source.name, text: launch.source.text)
      let index = sources.firstIndex(of: text) ?? sources.count
      if index == sources.count { sources.append(text) }
      return Launch(
        kernel: launch.kernel, source: index, defines: launch.defines.map { [$0.name, $0.value] },
        global: launch.global, local: launch.local, arguments: launch.arguments.map(Argument.init))
    }
    let payload = recording.buffers.flatMap { $0.before + ($0.after ?? []) }
    let header = Header(
      format: Self.format, about: about, sources: sources, launches: launches,
      buffers: recording.buffers.map { Size(bytes: $0.before.count, has_after: $0.after != nil) },
      checksum: checksum(payload))
    try Output.write([UInt8](Output.encoded(header)) + [UInt8(ascii: "\n")] + payload, toFile: path)
  }

  // MARK: - Reading

  init(about: About, recording: Recording) { (self.about, self.recording) = (about, recording) }

  init(reading path: String) throws {
    let bytes = try contents(of: path)
    guard let end = bytes.prefix(Self.longestHeader).firstIndex(of: UInt8(ascii: "\n")),
      let header = try? JSONDecoder().decode(Header.self, from: Data(bytes[..<end])),
      header.format == Self.format
    else { throw Failure("\(path): no capsule; 'flashcl capsule' writes one") }
    let payload = bytes[(end + 1)...]
    let wanted = header.buffers.reduce(0) { sum, size in
      // A size that no file can have would overflow the sum.
      (0...payload.count).contains(size.bytes)
        ? sum + size.bytes * (size.has_after ? 2 : 1) : payload.count + 1
    }
    guard wanted == payload.count, checksum(payload) == header.checksum else {
      throw Failure(
        "\(path): the capsule is damaged: \(payload.count) bytes of buffers, or their checksum, are wrong")
    }
    var rest = payload
    func take(_ count: Int) -> [UInt8] {
      defer { rest = rest.dropFirst(count) }
      return [UInt8](rest.prefix(count))
    }
    let buffers = header.buffers.map { size in
      Recording.Contents(before: take(size.bytes), after: size.has_after ? take(size.bytes) : nil)
    }
    let launches = try header.launches.map { launch in
      guard header.sources.indices.contains(launch.source), launch.defines.allSatisfy({ $0.count == 2 })
      else {
        throw Failure("\(path): the capsule is damaged: \(launch.kernel) has no source or no defines")
      }
      let text = header.sources[launch.source]
      return Recording.Launch(
        kernel: launch.kernel, source: Source(name: text.name, text: text.text),
        defines: launch.defines.map { Define($0[0], $0[1]) }, global: launch.global, local: launch.local,
        arguments: launch.arguments.map(\.value))
    }
    about = header.about
    recording = Recording(launches: launches, buffers: buffers)
  }
}

private func checksum(_ bytes: some ContiguousBytes) -> String {
  var sum = Fingerprint()
  bytes.withUnsafeBytes { sum.combine($0) }
  return sum.description
}
