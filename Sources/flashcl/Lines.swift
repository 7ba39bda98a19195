import FlashCLFiles

/// The lines of a text, ended by LF alone, the last one's optional; a file's bytes are read as they are touched.
struct Lines: Sequence {
  fileprivate enum Source {
    case file(MappedFile)
    case bytes([UInt8])
  }

  private let source: Source
  let count: Int

  /// A regular file is mapped; a pipe is read to its end. An empty file has no lines.
  init(file path: String) throws {
    if let mapped = try? MappedFile(path) {
      source = .file(mapped)
    } else {
      source = .bytes(try contents(of: path))
    }
    count = Self.count(source)
  }

  init(_ lines: [String]) {
    source = .bytes(Array(lines.map { $0 + "\n" }.joined().utf8))
    count = lines.count
  }

  private static func count(_ source: Source) -> Int {
    with(source) { bytes in
      let ends = bytes.reduce(0) { $0 + ($1 == 10 ? 1 : 0) }
      return ends + (bytes.last.map { $0 == 10 ? 0 : 1 } ?? 0)
    }
  }

  private static func with<Result>(_ source: Source, _ body: (UnsafeRawBufferPointer) throws -> Result)
    rethrows
    -> Result
  {
    switch source {
    case .file(let file): try withExtendedLifetime(file) { try body(file.bytes) }
    case .bytes(let bytes): try bytes.withUnsafeBytes(body)
    }
  }

  /// The lines as texts. What is no UTF-8 is read as U+FFFD, and that is said once, with how many lines it was.
  func texts() -> [String] {
    var bad = 0
    let texts = map { line in
      if !Self.isText(line) { bad += 1 }
      return String(decoding: line, as: UTF8.self)
    }
    Self.say(bad)
    return texts
  }

  static func isText(_ line: [UInt8]) -> Bool { String(validating: line, as: UTF8.self) != nil }

  /// Says how many lines are no UTF-8, where there are some.
  static func say(_ bad: Int) {
    guard bad > 0 else { return }
    Terminal.say(
      "flashcl: \(bad == 1 ? "1 line is" : "\(bad) lines are") no UTF-8; what cannot be read stands as U+FFFD"
    )
  }

  /// All bytes, for a fingerprint.
  func withBytes<Result>(_ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
    try Self.with(source, body)
  }

  func makeIterator() -> Iterator { Iterator(source: source) }

  struct Iterator: IteratorProtocol {
    fileprivate let source: Source
    private var position = 0

    fileprivate init(source: Source) { self.source = source }

    mutating func next() -> [UInt8]? {
      let (line, end) = Lines.with(source) { bytes -> ([UInt8]?, Int) in
        guard position < bytes.count else { return (nil, position) }
        let rest = bytes[position...]
        let end = rest.firstIndex(of: 10) ?? bytes.count
        return (Array(bytes[position..<end]), end + 1)
      }
      position = end
      return line
    }
  }
}
