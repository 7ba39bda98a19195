/// Text as its UTF-8 bytes, equal only to the very same bytes.
///
/// Swift's `String` compares by canonical equivalence, so a dictionary of strings would merge vocabulary
/// entries that differ in bytes ("é" as one scalar or as two). Byte-level vocabularies need not be valid
/// UTF-8 either, which a `String` cannot hold.
public struct ByteString: Sendable, Hashable, ExpressibleByStringLiteral, CustomStringConvertible {
  public let bytes: [UInt8]

  public init(_ bytes: [UInt8]) { self.bytes = bytes }
  public init(_ text: String) { bytes = Array(text.utf8) }
  public init(stringLiteral text: String) { self.init(text) }

  /// The bytes as text; what is not valid UTF-8 becomes U+FFFD.
  public var string: String { String(decoding: bytes, as: UTF8.self) }
  public var description: String { string }

  public static func == (a: ByteString, b: ByteString) -> Bool { a.bytes == b.bytes }

  // All bytes at once: an array of UInt8 would feed the hasher one byte at a time.
  public func hash(into hasher: inout Hasher) {
    bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
  }
}
