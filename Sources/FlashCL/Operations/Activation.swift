/// The function applied to a linear layer's result.
public enum Activation: String, Sendable, CaseIterable {
  case none
  /// max(0, x)
  case relu
  /// x · Φ(x) = ½·x·erfc(−x/√2), the exact Gaussian error linear unit
  case gelu
  /// ½·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), GPT-2's `gelu_new`
  case geluTanh = "gelu_tanh"
  /// x / (1 + e^−x), also called swish
  case silu
  /// (e^x − e^−x) / (e^x + e^−x), before the classes of BERT
  case tanh
}
