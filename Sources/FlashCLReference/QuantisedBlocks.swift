import FlashCL

/// The quantised types, block by block from the bytes of a GGUF file (see `ElementType`).
extension ElementType {
  /// The values of consecutive blocks, step · quant + offset: exact in Double.
  ///
  /// With `terms`, |step| · quant + |offset|: |d| · (q + 8) for q4_0, |d| · q + |m| for q4_1. Quantised types only.
  func expand(
    _ bytes: UnsafeRawPointer, blocks: Int, terms: Bool = false, into values: UnsafeMutablePointer<Double>
  ) {
    for index in 0..<blocks {
      let block = Block(bytes: bytes + index * blockBytes, values: values + index * blockLength, terms: terms)
      switch self {
      case .q8_0: block.fill(0..<32, block.half(0), 0) { block.signed(2 + $0) }
      case .q4_0, .q4_1, .q5_0, .q5_1, .iq4_nl: expandSmall(block)
      case .q2_k, .q3_k, .q4_k, .q5_k, .q6_k: expandSuper(block)
      case .f32, .f16, .bf16, .i32, .bool: preconditionFailure("plain elements have no blocks")
      }
    }
  }

  /// 32 elements, of which element i and i + 16 share a byte.
  private func expandSmall(_ block: Block) {
    let d = block.half(0)
    switch self {
    case .q4_0: block.fill(0..<32, d, -8 * d) { block.nibble(2, $0) }
    case .q4_1: block.fill(0..<32, d, block.half(2)) { block.nibble(4, $0) }
    case .q5_0: block.fill(0..<32, d, -16 * d) { block.nibble(6, $0) + 16 * block.bit(2, $0) }
    case .q5_1: block.fill(0..<32, d, block.half(2)) { block.nibble(8, $0) + 16 * block.bit(4, $0) }
    default: block.fill(0..<32, d, 0) { Self.levels[block.nibble(2, $0)] }
    }
  }

  /// Values of the four bits of `iq4_nl`.
  static let levels = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]

  /// 256 elements: eight runs of 32, which lie above one another in the same bytes.
  private func expandSuper(_ block: Block) {
    for run in 0..<8 {
      let first = 32 * run
      switch self {
      case .q4_k, .q5_k:
        let (scale, minimum) = block.sixBits(4, run)
        let quants = (self == .q4_k ? 16 : 48) + 32 * (run / 2)
        block.fill(
          first..<first + 32, block.half(0) * Double(scale), -block.half(2) * Double(minimum)
        ) { i in
          let low = block.byte(quants + i - first) >> (4 * (run % 2)) & 15
          return self == .q4_k ? low : low + 16 * (block.byte(16 + i - first) >> run & 1)
        }
      case .q2_k, .q3_k:
        let pairs = (self == .q2_k ? 16 : 32) + 32 * (run / 4)
        for group in [2 * run, 2 * run + 1] {
          let range = 16 * group..<16 * group + 16
          if self == .q2_k {
            let scales = block.byte(group)
            block.fill(
              range, block.half(80) * Double(scales & 15), -block.half(82) * Double(scales >> 4)
            ) { block.byte(pairs + $0 - first) >> (2 * (run % 4)) & 3 }
          } else {
            let step = block.half(108) * Double(block.signedSixBits(96, group))
            block.fill(range, step, -4 * step) { i in
              let low = block.byte(pairs + i - first) >> (2 * (run % 4)) & 3
              return low + 4 * (block.byte(i - first) >> run & 1)
            }
          }
        }
      default:  // q6_k
        let nibbles = 64 * (run / 4) + 32 * (run % 2)
        let pairs = 128 + 32 * (run / 4)
        for group in [2 * run, 2 * run + 1] {
          let step = block.half(208) * Double(block.signed(192 + group))
          block.fill(16 * group..<16 * group + 16, step, -32 * step) { i in
            let low = block.byte(nibbles + i - first) >> (4 * (run % 4 / 2)) & 15
            return low + 16 * (block.byte(pairs + i - first) >> (2 * (run % 4)) & 3)
          }
        }
      }
    }
  }
}

/// One block's bytes, and where its values go.
private struct Block {
  let bytes: UnsafeRawPointer
  let values: UnsafeMutablePointer<Double>
  let terms: Bool

  /// Element i is step · quant(i) + offset.
  @inline(__always)
  func fill(_ range: Range<Int>, _ step: Double, _ offset: Double, _ quant: (Int) -> Int) {
    let (step, offset) = terms ? (abs(step), abs(offset)) : (step, offset)
    for i in range { values[i] = step * Double(quant(i)) + offset }
  }

  func byte(_ at: Int) -> Int { Int(bytes.load(fromByteOffset: at, as: UInt8.self)) }
  func signed(_ at: Int) -> Int { Int(bytes.load(fromByteOffset: at, as: Int8.self)) }
  func half(_ at: Int) -> Double {
    Double(Float16(bitPattern: bytes.loadUnaligned(fromByteOffset: at, as: UInt16.self)))
  }
  /// Four bits of 32 elements in 16 bytes from `at` on: the low halves first.
  func nibble(_ at: Int, _ i: Int) -> Int { i < 16 ? byte(at + i) & 15 : byte(at + i - 16) >> 4 }
  /// One bit of 32 elements in 4 bytes.
  func bit(_ at: Int, _ i: Int) -> Int { byte(at + i / 8) >> (i % 8) & 1 }

  /// Scale and minimum `group` of q4_k and q5_k: twelve bytes hold eight pairs of six bits. Bytes 0 to 3 and 4 to 7 hold
  /// scales and minima 0 to 3 in their low six bits; bytes 8 to 11 the low four bits of the scales (low halves) and
  /// minima 4 to 7, whose high two bits are the highest of bytes 0 to 7.
  func sixBits(_ at: Int, _ group: Int) -> (scale: Int, minimum: Int) {
    if group < 4 { return (byte(at + group) & 63, byte(at + 4 + group) & 63) }
    let low = byte(at + 4 + group)
    return ((low & 15) + 16 * (byte(at + group - 4) >> 6), (low >> 4) + 16 * (byte(at + group) >> 6))
  }

  /// Scale `group` of q3_k, −32 to 31: bytes 0 to 7 hold the low four bits of scales 0 to 7 and, above, 8 to 15; bytes 8
  /// to 11 the high two bits of every fourth scale.
  func signedSixBits(_ at: Int, _ group: Int) -> Int {
    let low = byte(at + group % 8) >> (4 * (group / 8)) & 15
    return low + 16 * (byte(at + 8 + group % 4) >> (2 * (group / 4)) & 3) - 32
  }
}
