/// Layer normalisation of each row: y = (s − mean(s)) / √(var(s) + ε) · gain + bias with s = x + residual.
///
/// Shapes: x, residual, sum, y `[rows, columns]` of one storage type; gain, bias `[columns]` f32. The variance is the biased
/// one (divided by columns), as in PyTorch's `layer_norm`. Source: Ba, Kiros, Hinton 2016.
public struct LayerNorm: Operation {
  public static let name = "layer_norm"
  public let x: Tensor  // [rows, columns]
  public let residual: Tensor?  // [rows, columns]; added before normalising
  public let gain: Tensor  // [columns]
  public let bias: Tensor?  // [columns]
  public let epsilon: Float
  public let sum: Tensor?  // [rows, columns]; receives x + residual; may be residual itself
  public let y: Tensor  // [rows, columns]

  public init(
    x: Tensor, residual: Tensor? = nil, gain: Tensor, bias: Tensor?, epsilon: Float, sum: Tensor? = nil,
    y: Tensor
  ) {
    self.x = x
    self.residual = residual
    self.gain = gain
    self.bias = bias
    self.epsilon = epsilon
    self.sum = sum
    self.y = y
  }

  public var inputs: [Tensor] { [x, residual, gain, bias].compactMap { $0 } }
  public var outputs: [Tensor] { [y, sum].compactMap { $0 } }
  // Two passes for mean and variance, then subtract, scale, gain, bias.
  public var cost: Cost { Cost(flops: 8 * Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try validateNorm(Self.name, x: x, residual: residual, gain: gain, bias: bias, sum: sum, y: y)
  }
}

extension Backend {
  /// LayerNorm of each row of x; see `LayerNorm`.
  public func layerNorm(_ x: Tensor, gain: Tensor, bias: Tensor?, epsilon: Float) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(LayerNorm(x: x, gain: gain, bias: bias, epsilon: epsilon, y: y))
    return y
  }

  /// LayerNorm of x + residual, as post-LN layers need it; see `LayerNorm`.
  public func layerNorm(
    _ x: Tensor, plus residual: Tensor, gain: Tensor, bias: Tensor?, epsilon: Float
  ) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(LayerNorm(x: x, residual: residual, gain: gain, bias: bias, epsilon: epsilon, y: y))
    return y
  }
}

/// What both norms ask of their operands.
func validateNorm(
  _ operation: String, x: Tensor, residual: Tensor?, gain: Tensor, bias: Tensor?, sum: Tensor?, y: Tensor
) throws {
  try x.require(operation, "x", [nil, nil], ElementType.activations)
  try residual?.require(operation, "residual", x.shape.map { $0 }, [x.type])
  try gain.require(operation, "gain", [x.columns])
  try bias?.require(operation, "bias", [x.columns])
  try sum?.require(operation, "sum", x.shape.map { $0 }, [x.type])
  try y.require(operation, "y", x.shape.map { $0 }, [x.type])
  guard sum == nil || residual != nil else {
    throw FlashCLError.shape("\(operation): sum is written only where a residual is added")
  }
}
