/// How the numbers of a tensor are stored; arithmetic is always f32 (Double in the reference).
///
/// `bool` is one byte, true where it is not 0; masks alone have it.
///
/// A quantised type stores blocks of consecutive elements of one row. Its bytes are those of GGUF:
///
/// | type | block | bytes | value of element i |
/// |---|---|---|---|
/// | `q8_0` | 32 | 34: f16 d, 32 × int8 q | d · q[i] |
/// | `q4_0` | 32 | 18: f16 d, 16 × uint8 | d · (nibble(i) − 8) |
/// | `q4_1` | 32 | 20: f16 d, f16 m, 16 × uint8 | d · nibble(i) + m |
///
/// nibble(i) is the low half of byte i for i < 16 and the high half of byte i − 16 otherwise.
public enum ElementType: String, Sendable, CaseIterable, Codable {
  case f32, f16, bf16, i32, bool, q8_0, q4_0, q4_1

  /// Elements in one block: 1 for the plain types.
  public var blockLength: Int {
    switch self {
    case .f32, .f16, .bf16, .i32, .bool: 1
    case .q8_0, .q4_0, .q4_1: 32
    }
  }

  /// Bytes of one block: of one element for the plain types.
  public var blockBytes: Int {
    switch self {
    case .f32, .i32: 4
    case .f16, .bf16: 2
    case .bool: 1
    case .q8_0: 2 + 32
    case .q4_0: 2 + 16
    case .q4_1: 2 + 2 + 16
    }
  }

  /// True for the types whose elements share scales within a block.
  public var isQuantised: Bool { blockLength > 1 }

  /// Bytes of `count` consecutive elements; `count` must be a whole number of blocks.
  public func bytes(_ count: Int) -> Int { count / blockLength * blockBytes }
}
