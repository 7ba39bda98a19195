import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

extension Backend {
  /// Cosines and sines of position p and pair i: angle = p · base^(−2i / rotary) / factors[i], made in Double.
  ///
  /// Equal factors are linear scaling; without factors they are 1. `factors` holds rotary / 2 numbers. Both are multiplied by
  /// `magnitude`, as yarn has it.
  public func ropeTable(
    length: Int, rotary: Int, base: Double, factors: [Double]? = nil, magnitude: Double = 1,
    pairing: Rope.Pairing
  ) throws -> RopeTable {
    let pairs = rotary / 2
    guard pairs > 0, factors == nil || factors?.count == pairs else {
      throw ModelError("\(factors?.count ?? 0) rope factors for \(pairs) pairs")
    }
    let frequencies = (0..<pairs).map { pow(base, -2 * Double($0) / Double(rotary)) / (factors?[$0] ?? 1) }
    var (cosines, sines) = ([Float](), [Float]())
    cosines.reserveCapacity(length * pairs)
    sines.reserveCapacity(length * pairs)
    for position in 0..<length {
      for frequency in frequencies {
        cosines.append(Float(magnitude * cos(Double(position) * frequency)))
        sines.append(Float(magnitude * sin(Double(position) * frequency)))
      }
    }
    return RopeTable(
      cos: try tensor(cosines, [length, pairs]), sin: try tensor(sines, [length, pairs]), pairing: pairing)
  }
}
