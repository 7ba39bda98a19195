import FlashCL

/// Numbers into blocks of the quantised types, rounded to nearest.
///
/// The types of 32 elements are quantised as the `gguf` package does, bit for bit; of `iq4_nl` and the k types, which it
/// cannot quantise, scales are searched (`SuperBlock`).
extension ElementType {
  /// The bytes that store these values, a whole number of blocks; blocks are shared among the processor's cores.
  ///
  /// - Throws: `FlashCLError` where a value is NaN or infinite, or too large for the type.
  public func quantised(_ values: [Float]) throws -> [UInt8] {
    guard values.allSatisfy(\.isFinite) else {
      throw FlashCLError.unsupported("NaN or infinity cannot be stored")
    }
    let bytes: [UInt8]
    if isQuantised {
      let blocks = values.count / blockLength
      bytes = values.withUnsafeBufferPointer { values in
        [UInt8](unsafeUninitializedCapacity: blocks * blockBytes) { bytes, initialized in
          initialized = bytes.count
          guard let source = values.baseAddress, let target = bytes.baseAddress else { return }
          parallel(blocks, grain: 4096 / blockLength) { range in
            quantise(
              source + range.lowerBound * blockLength, range.count,
              into: target + range.lowerBound * blockBytes)
          }
        }
      }
    } else {
      bytes = encoded(values.map { Double($0) })
    }
    guard scalesAreFinite(bytes) else {
      let largest = values.reduce(0) { max($0, abs($1)) }
      throw FlashCLError.unsupported("a value of size \(largest) is too large for type \(rawValue)")
    }
    return bytes
  }

  private func scalesAreFinite(_ bytes: [UInt8]) -> Bool {
    let (places, step, low) =
      switch self {
      case .f16: ([0], 2, UInt16(0x7c00))
      case .bf16: ([0], 2, UInt16(0x7f80))
      default: (scaleOffsets, blockBytes, UInt16(0x7c00))
      }
    return places.allSatisfy { place in
      stride(from: place, to: bytes.count, by: step).allSatisfy {
        (UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8) & low != low
      }
    }
  }

  private func quantise(
    _ values: UnsafePointer<Float>, _ blocks: Int, into bytes: UnsafeMutablePointer<UInt8>
  ) {
    var scratch = SuperBlock()
    for index in 0..<blocks {
      let (x, block) = (values + index * blockLength, bytes + index * blockBytes)
      switch self {
      case .q8_0: quantiseBytes(x, block)
      case .q4_0: quantiseSigned(x, block, half: 8)
      case .q5_0: quantiseSigned(x, block, half: 16)
      case .q4_1: quantiseRange(x, block, top: 15)
      case .q5_1: quantiseRange(x, block, top: 31)
      case .iq4_nl: quantiseLevels(x, block)
      case .q2_k: scratch.affine(x, levels: 3, group: 16, scaleTop: 15)
      case .q4_k: scratch.affine(x, levels: 15, group: 32, scaleTop: 63)
      case .q5_k: scratch.affine(x, levels: 31, group: 32, scaleTop: 63)
      case .q3_k: scratch.symmetric(x, half: 4, scaleHalf: 32)
      case .q6_k: scratch.symmetric(x, half: 32, scaleHalf: 128)
      case .f32, .f16, .bf16, .i32, .bool: preconditionFailure("plain elements have no blocks")
      }
      if blockLength == 256 { scratch.pack(self, into: block) }
    }
  }

  /// q8_0: d = max |x| / 127, halves away from 0.
  private func quantiseBytes(_ x: UnsafePointer<Float>, _ block: UnsafeMutablePointer<UInt8>) {
    var largest: Float = 0
    for i in 0..<32 { largest = max(largest, abs(x[i])) }
    let d = largest / 127
    let inverse = d == 0 ? 0 : 1 / d
    store(d, block)
    for i in 0..<32 {
      let q = (x[i] * inverse).rounded(.toNearestOrAwayFromZero)
      block[2 + i] = UInt8(bitPattern: Int8(clamped(q, -128, 127)))
    }
  }

  /// q4_0 and q5_0: the element of the largest size becomes −half exactly.
  private func quantiseSigned(_ x: UnsafePointer<Float>, _ block: UnsafeMutablePointer<UInt8>, half: Float) {
    var peak = x[0]
    for i in 1..<32 where abs(x[i]) > abs(peak) { peak = x[i] }
    let d = peak / -half
    let inverse = d == 0 ? 0 : 1 / d
    store(d, block)
    packNibbles(block + 2, hasFifth: half == 16) { x[$0] * inverse + (half + 0.5) }
  }

  /// q4_1 and q5_1: the smallest element becomes 0, the largest `top`.
  private func quantiseRange(_ x: UnsafePointer<Float>, _ block: UnsafeMutablePointer<UInt8>, top: Float) {
    var (low, high) = (x[0], x[0])
    for i in 1..<32 { (low, high) = (min(low, x[i]), max(high, x[i])) }
    let d = (high - low) / top
    let inverse = d == 0 ? 0 : 1 / d
    store(d, block)
    store(low, block + 2)
    packNibbles(block + 4, hasFifth: top == 31) { (x[$0] - low) * inverse + 0.5 }
  }

  /// Quants of 32 elements, cut to whole numbers: fifth bits, where there are any, then 16 bytes of nibbles.
  private func packNibbles(_ bytes: UnsafeMutablePointer<UInt8>, hasFifth: Bool, _ value: (Int) -> Float) {
    let nibbles = hasFifth ? bytes + 4 : bytes
    var high: UInt32 = 0
    for i in 0..<16 {
      let low = UInt32(clamped(value(i).rounded(.towardZero), 0, hasFifth ? 31 : 15))
      let up = UInt32(clamped(value(i + 16).rounded(.towardZero), 0, hasFifth ? 31 : 15))
      nibbles[i] = UInt8(low & 15 | (up & 15) << 4)
      high |= (low >> 4) << UInt32(i) | (up >> 4) << UInt32(i + 16)
    }
    if hasFifth { for k in 0..<4 { bytes[k] = UInt8(truncatingIfNeeded: high >> UInt32(8 * k)) } }
  }

  /// iq4_nl: of steps that put the element of the largest size near the lowest level, the one that fits best.
  private func quantiseLevels(_ x: UnsafePointer<Float>, _ block: UnsafeMutablePointer<UInt8>) {
    let levels = Self.levels.map { Float($0) }
    func nearest(_ value: Float) -> Int {
      var best = 0
      for n in 1..<16 where abs(levels[n] - value) < abs(levels[best] - value) { best = n }
      return best
    }
    let step = bestStep(x, 32, candidates: stride(from: Float(-134), through: -120, by: 2)) {
      levels[nearest($0)]
    }
    let d = Float(Float16(step))
    let inverse = d == 0 ? 0 : 1 / d
    store(d, block)
    for i in 0..<16 {
      block[2 + i] = UInt8(nearest(x[i] * inverse) | nearest(x[i + 16] * inverse) << 4)
    }
  }
}

/// The step that makes Σ w · (x − step · round(x / step))² least, w = |x| + rms(x), among those that put the element of the
/// largest size at one of `candidates`, each then fitted to its quants by least squares.
func bestStep(
  _ x: UnsafePointer<Float>, _ count: Int, candidates: some Sequence<Float>, _ quant: (Float) -> Float
) -> Float {
  var (peak, squares): (Float, Float) = (0, 0)
  for i in 0..<count {
    if abs(x[i]) > abs(peak) { peak = x[i] }
    squares += x[i] * x[i]
  }
  guard peak.isNormal else { return 0 }
  let rms = (squares / Float(count)).squareRoot()
  var (best, step): (Float, Float) = (0, 0)
  for candidate in candidates {
    let inverse = candidate / peak
    var (xq, qq): (Float, Float) = (0, 0)
    for i in 0..<count {
      let q = quant(x[i] * inverse)
      let w = abs(x[i]) + rms
      xq += w * x[i] * q
      qq += w * q * q
    }
    // Σ w x² − (Σ w x q)² / Σ w q² remains when the step is Σ w x q / Σ w q².
    if qq > 0, xq * xq > best * qq { (best, step) = (xq * xq / qq, xq / qq) }
  }
  return step
}

/// The nearest whole number within these bounds; NaN gives the lower one.
@inline(__always)
func clamped(_ value: Float, _ low: Float, _ high: Float) -> Int {
  value > low ? Int(min(value, high)) : Int(low)
}

/// Writes an f16.
@inline(__always)
func store(_ value: Float, _ bytes: UnsafeMutablePointer<UInt8>) {
  let bits = Float16(value).bitPattern
  bytes[0] = UInt8(bits & 255)
  bytes[1] = UInt8(bits >> 8)
}

/// The nearest whole number of values within ±2²²: adding 1.5 · 2²³ leaves no fraction. Unlike `rounded`, it needs no call.
@inline(__always)
func whole(_ value: Float) -> Float { (value + 12_582_912) - 12_582_912 }
