/// A reader of Protocol Buffers' wire format: the fields of one message, in their order.
///
/// Every length is checked against the bytes that are there.
struct ProtobufReader {
  enum Value {
    case varint(UInt64)
    case fixed64(UInt64)
    case bytes(ArraySlice<UInt8>)
    case fixed32(UInt32)
  }

  private var rest: ArraySlice<UInt8>

  init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

  /// The next field, or nil at the end of the message.
  mutating func next() throws -> (number: Int, value: Value)? {
    guard !rest.isEmpty else { return nil }
    let place = rest.startIndex
    let key = try varint()
    let number = key >> 3
    guard (1...0x1FFF_FFFF).contains(number) else {
      throw damaged("a field at byte \(place) has the number \(number)")
    }
    switch key & 7 {
    case 0: return (Int(number), .varint(try varint()))
    case 1: return (Int(number), .fixed64(Self.number(try take(8))))
    case 2:
      let length = try varint()
      guard let count = Int(exactly: length) else {
        throw damaged("the field at byte \(place) says it has \(length) bytes")
      }
      return (Int(number), .bytes(try take(count)))
    case 5: return (Int(number), .fixed32(UInt32(truncatingIfNeeded: Self.number(try take(4)))))
    case let type: throw damaged("the field at byte \(place) has the unknown type \(type)")
    }
  }

  private mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for shift in stride(from: UInt64(0), to: 64, by: 7) {
      guard let byte = rest.popFirst() else { throw damaged("it ends within a number") }
      value |= UInt64(byte & 0x7F) << shift
      if byte & 0x80 == 0 { return value }
    }
    throw damaged("the number before byte \(rest.startIndex) has more than 10 bytes")
  }

  private mutating func take(_ count: Int) throws -> ArraySlice<UInt8> {
    guard count <= rest.count else {
      throw damaged("a field at byte \(rest.startIndex) needs \(count) bytes, \(rest.count) are left")
    }
    defer { rest = rest.dropFirst(count) }
    return rest.prefix(count)
  }

  private static func number(_ bytes: ArraySlice<UInt8>) -> UInt64 {
    bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  private func damaged(_ problem: String) -> TokenizerError {
    .badVocabulary("the SentencePiece model is cut or damaged: \(problem)")
  }
}
