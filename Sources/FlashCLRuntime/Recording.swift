/// Launches as they were queued, with all that they read and wrote: enough to repeat them on another device.
public struct Recording: Sendable {
  /// One launch of a kernel.
  public struct Launch: Sendable {
    public let kernel: String
    /// The program's text, without what the device's capabilities put before it.
    public let source: Source
    public let defines: [Define]
    public let global: [Int]
    public let local: [Int]?
    public let arguments: [Value]

    public init(
      kernel: String, source: Source, defines: [Define], global: [Int], local: [Int]?, arguments: [Value]
    ) {
      (self.kernel, self.source, self.defines) = (kernel, source, defines)
      (self.global, self.local, self.arguments) = (global, local, arguments)
    }
  }

  /// An argument; a buffer by its number in `buffers`.
  public enum Value: Sendable, Equatable {
    case buffer(Int)
    case int(Int32), uint(UInt32), long(Int64), float(Float)
    case local(bytes: Int)
    case null

    init(_ argument: Argument, number: (Buffer) throws -> Int) rethrows {
      switch argument {
      case .buffer(let buffer): self = .buffer(try number(buffer))
      case .int(let value): self = .int(value)
      case .uint(let value): self = .uint(value)
      case .long(let value): self = .long(value)
      case .float(let value): self = .float(value)
      case .local(let bytes): self = .local(bytes: bytes)
      case .null: self = .null
      }
    }

    func argument(buffer: (Int) throws -> Buffer) rethrows -> Argument {
      switch self {
      case .buffer(let number): .buffer(try buffer(number))
      case .int(let value): .int(value)
      case .uint(let value): .uint(value)
      case .long(let value): .long(value)
      case .float(let value): .float(value)
      case .local(let bytes): .local(bytes: bytes)
      case .null: .null
      }
    }
  }

  /// A buffer's bytes before the first launch that was given it, and after the last launch; nil where that was not reached.
  public struct Contents: Sendable {
    public let before: [UInt8]
    public var after: [UInt8]?

    public init(before: [UInt8], after: [UInt8]? = nil) { (self.before, self.after) = (before, after) }
  }

  public internal(set) var launches: [Launch] = []
  public internal(set) var buffers: [Contents] = []

  public init(launches: [Launch] = [], buffers: [Contents] = []) {
    (self.launches, self.buffers) = (launches, buffers)
  }
}

/// A recording that grows while a queue runs; it holds the buffers, so that none is reused for another.
final class Recorder {
  private(set) var recording = Recording()
  /// False where launches are written down and not made.
  let launches: Bool
  private var buffers: [Buffer] = []
  private let beforeLaunch: (Recording) throws -> Void

  init(launches: Bool, beforeLaunch: @escaping (Recording) throws -> Void) {
    (self.launches, self.beforeLaunch) = (launches, beforeLaunch)
  }

  func add(
    _ kernel: String, _ source: Source, _ defines: [Define], global: [Int], local: [Int]?,
    _ arguments: [Argument],
    on queue: Queue
  ) throws {
    let values = try arguments.map { try Recording.Value($0) { try number(of: $0, on: queue) } }
    recording.launches.append(
      Recording.Launch(
        kernel: kernel, source: source, defines: defines, global: global, local: local, arguments: values))
    try beforeLaunch(recording)
  }

  private func number(of buffer: Buffer, on queue: Queue) throws -> Int {
    if let known = buffers.firstIndex(where: { $0 === buffer }) { return known }
    buffers.append(buffer)
    recording.buffers.append(Recording.Contents(before: try queue.bytes(of: buffer)))
    return buffers.count - 1
  }

  func finish(on queue: Queue) throws {
    guard launches else { return }
    for (n, buffer) in buffers.enumerated() { recording.buffers[n].after = try queue.bytes(of: buffer) }
  }
}

extension Queue {
  fileprivate func bytes(of buffer: Buffer) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: buffer.byteCount)
    try bytes.withUnsafeMutableBytes { try read(buffer, into: $0) }
    return bytes
  }

  /// Writes a launch down while `record` runs, or where the queue is imagined; true where it is not to be made.
  ///
  /// Comes before the kernel is made: a driver may not survive building its program. `trial` is what a sentinel is told.
  package func note(
    _ kernel: String, in source: @autoclosure () -> Source, defines: @autoclosure () -> [Define],
    global: [Int], local: [Int]?, _ arguments: [Argument], trial: @autoclosure () -> Trial? = nil
  ) throws -> Bool {
    if let rehearsal {
      rehearsal.note(
        kernel, source(), defines(), global: global, local: local, arguments, trial: trial())
      return true
    }
    guard let recorder, !global.contains(0) else { return false }
    try recorder.add(kernel, source(), defines(), global: global, local: local, arguments, on: self)
    return !recorder.launches
  }

  /// Runs `body` and keeps every launch of its operations, with the contents of their buffers; slow, since every buffer is
  /// read.
  ///
  /// `beforeLaunch` gets what there is before each launch, that launch included: a driver may never come back from it.
  /// Without `launching` nothing is built or launched, and the recording has no contents after it; nor has it when `body` throws.
  public func record<R>(
    launching: Bool = true, beforeLaunch: @escaping (Recording) throws -> Void = { _ in },
    _ body: () throws -> R
  ) throws -> (result: Result<R, any Error>, recording: Recording) {
    guard recorder == nil else { throw CLError.refused("record cannot be nested") }
    let recorder = Recorder(launches: launching, beforeLaunch: beforeLaunch)
    self.recorder = recorder
    defer { self.recorder = nil }
    let result = Result { try body() }
    do { try recorder.finish(on: self) } catch { return (.failure(error), recorder.recording) }
    return (result, recorder.recording)
  }

  /// Runs a recording on this queue's device; returns each buffer's bytes after the last launch.
  ///
  /// Throws what the device says of a launch; a buffer number or size that the recording does not bear out is refused.
  public func replay(_ recording: Recording) throws -> [[UInt8]] {
    let buffers = try recording.buffers.map { contents in
      let buffer = try allocate(contents.before.count)
      try contents.before.withUnsafeBytes { try write($0, to: buffer) }
      return buffer
    }
    for launch in recording.launches {
      let arguments = try launch.arguments.map {
        try $0.argument { number in
          guard buffers.indices.contains(number) else {
            throw CLError.refused("\(launch.kernel) names buffer \(number) of \(buffers.count)")
          }
          return buffers[number]
        }
      }
      let kernel = try kernel(launch.kernel, in: launch.source, defines: launch.defines)
      try self.launch(kernel, global: launch.global, local: launch.local, arguments)
    }
    try finish()
    return try buffers.map(bytes)
  }
}
