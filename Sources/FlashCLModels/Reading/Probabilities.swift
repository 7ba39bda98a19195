#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// e^x / Σ e^x, summed in Double; the greatest is taken off first.
func softmax(_ scores: some Collection<Float>) -> [Double] {
  let greatest = Double(scores.max() ?? 0)
  let powers = scores.map { exp(Double($0) - greatest) }
  let total = powers.reduce(0, +)
  return powers.map { $0 / total }
}

/// 1 / (1 + e^−x)
func sigmoid(_ x: Float) -> Double { 1 / (1 + exp(-Double(x))) }
