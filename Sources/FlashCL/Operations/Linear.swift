/// A linear layer with what usually follows it: y = activation(x · Wᵀ + bias) + residual.
///
/// Shapes: x `[rows, inputs]` f32, weight `[outputs, inputs]` of any storage, bias `[outputs]`, residual and y
/// `[rows, outputs]` f32. The residual may be y itself. Sums are f32 over all inputs; quantised weights are expanded in
/// registers only. `phase` picks one order of summation, so that a row's bits do not depend on how many rows share the call.
public struct Linear: Operation {
  public static let name = "linear"
  public let x: Tensor  // [rows, inputs]
  public let weight: Weight  // [outputs, inputs]
  public let bias: Tensor?  // [outputs]
  public let activation: Activation
  public let residual: Tensor?  // [rows, outputs]
  public let phase: Phase
  public let y: Tensor  // [rows, outputs]

  public init(
    x: Tensor, weight: Weight, bias: Tensor? = nil, activation: Activation = .none, residual: Tensor? = nil,
    phase: Phase, y: Tensor
  ) {
    self.x = x
    self.weight = weight
    self.bias = bias
    self.activation = activation
    self.residual = residual
    self.phase = phase
    self.y = y
  }

  public var inputs: [Tensor] { [x, bias, residual].compactMap { $0 } }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost {
    let weights = Double(weight.outputs) * Double(weight.inputs)
    let stored = weights / Double(weight.type.blockLength) * Double(weight.type.blockBytes)
    return Cost(flops: 2 * weights * Double(x.rows), bytes: stored + tensorBytes)
  }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, weight.inputs])
    try bias?.require(Self.name, "bias", [weight.outputs])
    try residual?.require(Self.name, "residual", [x.rows, weight.outputs])
    try y.require(Self.name, "y", [x.rows, weight.outputs])
  }
}

extension Backend {
  /// activation(x · Wᵀ + bias) + residual; see `Linear`.
  public func linear(
    _ x: Tensor, _ weight: Weight, bias: Tensor? = nil, activation: Activation = .none,
    plus residual: Tensor? = nil, phase: Phase
  ) throws -> Tensor {
    let y = try allocate([x.rows, weight.outputs], .f32)
    try run(
      Linear(
        x: x, weight: weight, bias: bias, activation: activation, residual: residual, phase: phase, y: y))
    return y
  }
}
