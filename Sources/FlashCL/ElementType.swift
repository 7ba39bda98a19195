/// How the numbers of a tensor are stored; arithmetic is always f32 (Double in the reference).
///
/// `bool` is one byte, true where it is not 0; masks alone have it.
///
/// A quantised type stores blocks of consecutive elements of one row. Its bytes are those of GGUF, where d and m are f16:
///
/// | type | block | bytes | value of element i |
/// |---|---|---|---|
/// | `q8_0` | 32 | 34: d, 32 × int8 q | d · q[i] |
/// | `q4_0` | 32 | 18: d, 16 × uint8 | d · (nibble(i) − 8) |
/// | `q4_1` | 32 | 20: d, m, 16 × uint8 | d · nibble(i) + m |
/// | `q5_0` | 32 | 22: d, 32 fifth bits, 16 × uint8 | d · (q − 16), q of five bits |
/// | `q5_1` | 32 | 24: d, m, 32 fifth bits, 16 × uint8 | d · q + m |
/// | `iq4_nl` | 32 | 18: d, 16 × uint8 | d · level[nibble(i)], 16 fixed levels from −127 to 113 |
/// | `q2_k` | 256 | 84: 16 × (scale, minimum) of 4 bits, 64 × uint8, d, m | d · scale · q − m · minimum |
/// | `q3_k` | 256 | 110: 32 × uint8 third bits, 64 × uint8, 16 scales of 6 bits, d | d · (scale − 32) · (q − 4) |
/// | `q4_k` | 256 | 144: d, m, 8 × (scale, minimum) of 6 bits, 128 × uint8 | d · scale · q − m · minimum |
/// | `q5_k` | 256 | 176: as `q4_k`, with 32 × uint8 fifth bits before the nibbles | d · scale · q − m · minimum |
/// | `q6_k` | 256 | 210: 128 × uint8 nibbles, 64 × uint8 high bits, 16 × int8 scale, d | d · scale · (q − 32) |
///
/// nibble(i) is the low half of byte i for i < 16 and the high half of byte i − 16 otherwise. Scales of the k types belong
/// to 16 elements (`q2_k`, `q3_k`, `q6_k`) or 32.
public enum ElementType: String, Sendable, CaseIterable, Codable {
  case f32, f16, bf16, i32, bool, q8_0, q4_0, q4_1, q5_0, q5_1, iq4_nl, q2_k, q3_k, q4_k, q5_k, q6_k

  /// Elements in one block: 1 for the plain types.
  public var blockLength: Int {
    switch self {
    case .f32, .f16, .bf16, .i32, .bool: 1
    case .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .iq4_nl: 32
    case .q2_k, .q3_k, .q4_k, .q5_k, .q6_k: 256
    }
  }

  /// Bytes of one block: of one element for the plain types.
  public var blockBytes: Int {
    switch self {
    case .f32, .i32: 4
    case .f16, .bf16: 2
    case .bool: 1
    case .q8_0: 2 + 32
    case .q4_0, .iq4_nl: 2 + 16
    case .q4_1: 2 + 2 + 16
    case .q5_0: 2 + 4 + 16
    case .q5_1: 2 + 2 + 4 + 16
    case .q2_k: 16 + 64 + 2 + 2
    case .q3_k: 32 + 64 + 12 + 2
    case .q4_k: 2 + 2 + 12 + 128
    case .q5_k: 2 + 2 + 12 + 32 + 128
    case .q6_k: 128 + 64 + 16 + 2
    }
  }

  /// Where d and m, the f16 scales, stand in a block; empty for the plain types.
  public var scaleOffsets: [Int] {
    switch self {
    case .f32, .f16, .bf16, .i32, .bool: []
    case .q8_0, .q4_0, .q5_0, .iq4_nl: [0]
    case .q4_1, .q5_1, .q4_k, .q5_k: [0, 2]
    case .q2_k: [80, 82]
    case .q3_k: [108]
    case .q6_k: [208]
    }
  }

  /// True for the types whose elements share scales within a block.
  public var isQuantised: Bool { blockLength > 1 }

  /// Bytes of `count` consecutive elements; `count` must be a whole number of blocks.
  public func bytes(_ count: Int) -> Int { count / blockLength * blockBytes }
}
