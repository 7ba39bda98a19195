/// Blocks that a file may hold, of random bits: what checks and models of random weights are made of.
extension ElementType {
  /// Writes random scales into blocks of random bits, so that the elements have a mean of about 0 and this standard
  /// deviation; scales are of both signs and differ by a factor of up to 2. Quantised types only.
  package func setScales(
    of blocks: UnsafeMutableRawBufferPointer, deviation: Double, using random: inout SplitMix64
  ) {
    guard let (spread, centre) = randomForm else { return }
    let offsets = scaleOffsets
    for block in stride(from: 0, to: blocks.count - blockBytes + 1, by: blockBytes) {
      let bits = random.next()
      let size = 0.7 * (1 + Double(bits >> 12) * 0x1p-52) * (bits & 1 == 0 ? 1 : -1)
      let d = size * deviation / spread
      for (value, offset) in zip([d, centre * d], offsets) {
        blocks.storeBytes(of: Float16(value).bitPattern, toByteOffset: block + offset, as: UInt16.self)
      }
    }
  }

  /// For blocks of random bits: the standard deviation of the elements when d is 1, and the m that makes their mean 0.
  private var randomForm: (spread: Double, centre: Double)? {
    switch self {
    case .f32, .f16, .bf16, .i32, .bool: nil
    case .q8_0: (74, 0)  // int8: 256 / √12
    case .q4_0: (4.6, 0)  // 16 / √12
    case .q4_1: (4.6, -7.5)
    case .q5_0: (9.2, 0)
    case .q5_1: (9.2, -15.5)
    case .iq4_nl: (70, 0)
    // scale · q − m · minimum: √(E scale² · E q² − (E scale · E q)² + m² · var minimum), here with 4 and 2 bits.
    case .q2_k: (14, 1.5)
    case .q3_k: (43, 0)  // 18.5 · 2.3
    case .q4_k: (258, 7.5)
    case .q5_k: (526, 15.5)
    case .q6_k: (1370, 0)  // 74 · 18.5
    }
  }
}
