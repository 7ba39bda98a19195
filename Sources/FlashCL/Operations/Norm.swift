/// What a row is normed by: what `RMSNorm` and `LayerNorm` have beside their rows.
public enum Norm {
  case layer(gain: Tensor, bias: Tensor?, epsilon: Float)
  case rms(gain: Tensor, epsilon: Float)

  public var gain: Tensor {  // [columns]
    switch self {
    case .layer(let gain, _, _), .rms(let gain, _): gain
    }
  }
  public var bias: Tensor? {  // [columns]
    if case .layer(_, let bias, _) = self { bias } else { nil }
  }
  public var epsilon: Float {
    switch self {
    case .layer(_, _, let epsilon), .rms(_, let epsilon): epsilon
    }
  }

  /// Elements of a row.
  public var width: Int { gain.count }
}

extension Backend {
  /// The norm of each row of x.
  public func norm(_ x: Tensor, _ norm: Norm) throws -> Tensor {
    switch norm {
    case .layer(let gain, let bias, let epsilon): try layerNorm(x, gain: gain, bias: bias, epsilon: epsilon)
    case .rms(let gain, let epsilon): try rmsNorm(x, gain: gain, epsilon: epsilon)
    }
  }
}
