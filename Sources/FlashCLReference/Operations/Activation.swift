import FlashCL

extension Activation {
  /// The function's value.
  func apply<S: ReferenceScalar>(_ x: S) -> S {
    switch self {
    case .none: x
    case .relu: x < 0 ? 0 : x
    // Φ(x) = ½·erfc(−x/√2)
    case .gelu: x * S.erfc(-x / S(2).squareRoot()) / 2
    // ½·(1 + tanh u) = 1 / (1 + e^−2u), which does not cancel for negative u
    case .geluTanh: x / (1 + S.exp(-2 * S(2 / Double.pi).squareRoot() * (x + S(0.044715) * x * x * x)))
    case .silu: x / (1 + S.exp(-x))
    case .tanh: S.tanh(x)
    }
  }
}
