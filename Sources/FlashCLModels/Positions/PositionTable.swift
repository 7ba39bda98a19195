import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Sines and cosines of positions: with ω_i = 10000^(−2i / width), PE(p) holds sin(p · ω_i) and cos(p · ω_i) of each pair i.
///
/// Source: Vaswani et al. 2017.
public enum PositionTable {
  public enum Layout: Sendable {
    /// sin, cos, sin, cos, …: the paper's.
    case interleaved
    /// All sines, then all cosines: Marian's.
    case split
  }

  /// The table `[length, width]`, made in Double; of an odd width the last sine has no cosine.
  public static func sinusoids(length: Int, width: Int, _ layout: Layout) -> [Float] {
    let frequencies = (0..<(width + 1) / 2).map { pow(10000, -2 * Double($0) / Double(width)) }
    return (0..<length).flatMap { position in
      let angles = frequencies.map { Double(position) * $0 }
      return switch layout {
      case .interleaved: (0..<width).map { Float($0 % 2 == 0 ? sin(angles[$0 / 2]) : cos(angles[$0 / 2])) }
      case .split: angles.map { Float(sin($0)) } + angles.prefix(width / 2).map { Float(cos($0)) }
      }
    }
  }
}

extension Backend {
  /// A table of sinusoids for `Embedding`, `[length, width]`.
  func sinusoids(length: Int, width: Int, _ layout: PositionTable.Layout) throws -> Weight {
    try PositionTable.sinusoids(length: length, width: width, layout).withUnsafeBytes {
      try prepare([
        WeightSource(name: "positions", outputs: length, inputs: width, type: .f32, bytes: $0)
      ])
    }
  }
}
