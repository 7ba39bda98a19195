import FlashCL

/// One block of a k type on its way into bytes: 256 quants, and a scale and a minimum for each group.
///
/// Scales are searched in two steps. Each group alone gets the step and the offset that make Σ w · (x − step · q − offset)²
/// least, w = |x| + rms(x), among some twenty trial steps around (max − min) / levels, each fitted to its quants by least
/// squares. Then d and m are set so that the largest step and offset of the block are the largest whole scale, the others
/// are rounded to multiples of them, and every quant is rounded again for the scales that came out.
struct SuperBlock {
  private var quants = [Int](repeating: 0, count: 256)
  private var scales = [Int](repeating: 0, count: 16)
  private var minima = [Int](repeating: 0, count: 16)
  private var steps = [Float](repeating: 0, count: 16)
  private var offsets = [Float](repeating: 0, count: 16)
  private var d: Float = 0
  private var m: Float = 0

  /// q2_k, q4_k, q5_k: x ≈ d · scale · q − m · minimum, q in 0 … levels.
  mutating func affine(_ x: UnsafePointer<Float>, levels: Int, group: Int, scaleTop: Int) {
    let groups = 256 / group
    for g in 0..<groups {
      (steps[g], offsets[g]) = Self.bestLine(x + g * group, group, levels: Float(levels))
    }
    d = Float(Float16((steps[..<groups].max() ?? 0) / Float(scaleTop)))
    m = Float(Float16((offsets[..<groups].max() ?? 0) / Float(scaleTop)))
    for g in 0..<groups {
      scales[g] = d == 0 ? 0 : clamped(whole(steps[g] / d), 0, Float(scaleTop))
      minima[g] = m == 0 ? 0 : clamped(whole(offsets[g] / m), 0, Float(scaleTop))
      let (step, offset) = (d * Float(scales[g]), m * Float(minima[g]))
      for i in g * group..<(g + 1) * group {
        quants[i] = step == 0 ? 0 : clamped(whole((x[i] + offset) / step), 0, Float(levels))
      }
    }
  }

  /// q3_k, q6_k: x ≈ d · scale · (q − half), scale in −scaleHalf … scaleHalf − 1.
  mutating func symmetric(_ x: UnsafePointer<Float>, half: Int, scaleHalf: Int) {
    let top = Float(half)
    for g in 0..<16 {
      steps[g] = bestStep(x + g * 16, 16, candidates: stride(from: -top - 0.9, through: -top + 0.9, by: 0.1))
      {
        min(max(whole($0), -top), top - 1)
      }
    }
    let peak = steps.max { abs($0) < abs($1) } ?? 0
    d = Float(Float16(peak / Float(-scaleHalf)))
    for g in 0..<16 {
      scales[g] = d == 0 ? 0 : clamped(whole(steps[g] / d), Float(-scaleHalf), Float(scaleHalf - 1))
      let step = d * Float(scales[g])
      for i in g * 16..<(g + 1) * 16 {
        quants[i] = half + (step == 0 ? 0 : clamped(whole(x[i] / step), -top, top - 1))
      }
    }
  }

  /// Step and offset of x ≈ step · q − offset, both 0 or more, q in 0 … levels.
  private static func bestLine(_ x: UnsafePointer<Float>, _ count: Int, levels: Float) -> (Float, Float) {
    var (low, high, squares): (Float, Float, Float) = (0, x[0], 0)
    for i in 0..<count {
      (low, high) = (min(low, x[i]), max(high, x[i]))
      squares += x[i] * x[i]
    }
    guard (high - low).isNormal else { return (0, -low) }
    let rms = (squares / Float(count)).squareRoot()
    var best = (error: Float.infinity, step: (high - low) / levels, offset: -low)
    for trial in -10...10 {
      let inverse = (levels + 0.1 * Float(trial)) / (high - low)
      var (w1, wx, wq, wqq, wxq): (Float, Float, Float, Float, Float) = (0, 0, 0, 0, 0)
      for i in 0..<count {
        let q = min(max(whole(inverse * (x[i] - low)), 0), levels)
        let w = abs(x[i]) + rms
        w1 += w
        wx += w * x[i]
        wq += w * q
        wqq += w * q * q
        wxq += w * x[i] * q
      }
      let determinant = w1 * wqq - wq * wq
      guard determinant > 0 else { continue }
      var step = (w1 * wxq - wx * wq) / determinant
      var offset = (wq * wxq - wqq * wx) / determinant
      if offset < 0 { (step, offset) = (wxq / wqq, 0) }
      guard step > 0 else { continue }
      var error: Float = 0
      for i in 0..<count {
        let q = min(max(whole(inverse * (x[i] - low)), 0), levels)
        let difference = x[i] - (step * q - offset)
        error += (abs(x[i]) + rms) * difference * difference
      }
      if error < best.error { best = (error, step, offset) }
    }
    return (best.step, best.offset)
  }

  // MARK: Packing

  /// Writes the block as GGUF has it (`ElementType`, QuantisedBlocks.swift).
  func pack(_ type: ElementType, into bytes: UnsafeMutablePointer<UInt8>) {
    for i in 0..<type.blockBytes { bytes[i] = 0 }
    let places = type.scaleOffsets
    store(d, bytes + places[0])
    if places.count > 1 { store(m, bytes + places[1]) }
    func add(_ value: Int, _ at: Int, _ shift: Int) { bytes[at] |= UInt8(truncatingIfNeeded: value << shift) }
    for i in 0..<256 {
      let (run, q) = (i / 32, quants[i])
      switch type {
      case .q4_k, .q5_k:
        add(q & 15, (type == .q4_k ? 16 : 48) + 32 * (run / 2) + i % 32, 4 * (run % 2))
        if type == .q5_k { add(q >> 4, 16 + i % 32, run) }
      case .q6_k:
        add(q & 15, 64 * (run / 4) + 32 * (run % 2) + i % 32, 4 * (run % 4 / 2))
        add(q >> 4, 128 + 32 * (run / 4) + i % 32, 2 * (run % 4))
      default:
        add(q & 3, (type == .q2_k ? 16 : 32) + 32 * (run / 4) + i % 32, 2 * (run % 4))
        if type == .q3_k { add(q >> 2, i % 32, run) }
      }
    }
    switch type {
    case .q4_k, .q5_k:
      for g in 0..<4 {
        add(scales[g], 4 + g, 0)
        add(minima[g], 8 + g, 0)
        add(scales[g + 4] & 15, 12 + g, 0)
        add(minima[g + 4] & 15, 12 + g, 4)
        add(scales[g + 4] >> 4, 4 + g, 6)
        add(minima[g + 4] >> 4, 8 + g, 6)
      }
    case .q2_k:
      for g in 0..<16 { add(scales[g] | minima[g] << 4, g, 0) }
    case .q3_k:
      for g in 0..<16 {
        let scale = scales[g] + 32
        add(scale & 15, 96 + g % 8, 4 * (g / 8))
        add(scale >> 4, 104 + g % 4, 2 * (g / 4))
      }
    default:
      for g in 0..<16 { add(scales[g] & 255, 192 + g, 0) }
    }
  }
}
