/// Root-mean-square normalisation of each row: y = s / √(mean(s²) + ε) · gain with s = x + residual.
///
/// Shapes: x, residual, sum, y `[rows, columns]` of one storage type; gain `[columns]` f32. Source: Zhang, Sennrich 2019.
public struct RMSNorm: Operation {
  public static let name = "rms_norm"
  public let x: Tensor  // [rows, columns]
  public let residual: Tensor?  // [rows, columns]; added before normalising
  public let gain: Tensor  // [columns]
  public let epsilon: Float
  public let sum: Tensor?  // [rows, columns]; receives x + residual; may be residual itself
  public let y: Tensor  // [rows, columns]

  public init(
    x: Tensor, residual: Tensor? = nil, gain: Tensor, epsilon: Float, sum: Tensor? = nil, y: Tensor
  ) {
    self.x = x
    self.residual = residual
    self.gain = gain
    self.epsilon = epsilon
    self.sum = sum
    self.y = y
  }

  public var inputs: [Tensor] { [x, residual, gain].compactMap { $0 } }
  public var outputs: [Tensor] { [y, sum].compactMap { $0 } }
  public var cost: Cost { Cost(flops: 4 * Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try validateNorm(Self.name, x: x, residual: residual, gain: gain, bias: nil, sum: sum, y: y)
  }
}

extension Backend {
  /// RMSNorm of each row of x; see `RMSNorm`.
  public func rmsNorm(_ x: Tensor, gain: Tensor, epsilon: Float) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(RMSNorm(x: x, gain: gain, epsilon: epsilon, y: y))
    return y
  }
}
