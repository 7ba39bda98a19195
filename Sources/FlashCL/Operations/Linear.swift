/// A linear layer with what usually surrounds it: y = activation(n(x) · Wᵀ + bias) + residual; where it is gated, W and bias
/// are two halves [G U] and y = activation(n(x) · Gᵀ + b₀) ⊙ (n(x) · Uᵀ + b₁) + residual.
///
/// Shapes: x `[rows, inputs]` f32, weight `[outputs, inputs]` of any storage, bias `[outputs]`, residual and y
/// `[rows, outputs]` f32, or half as many columns. The residual may be y itself. `norm` is that of each row of x. Sums are f32 over
/// all inputs; quantised weights are expanded in registers only. `phase` picks one order of summation, so that a row's bits do not
/// depend on how many rows share the call. Source of the gate: Shazeer 2020.
public struct Linear: Operation {
  public static let name = "linear"
  public let x: Tensor  // [rows, inputs]
  public let norm: Norm?  // of [inputs]
  public let weight: Weight  // [outputs, inputs]
  public let bias: Tensor?  // [outputs]
  public let activation: Activation
  public let isGated: Bool
  public let residual: Tensor?  // [rows, columns]
  public let phase: Phase
  public let y: Tensor  // [rows, columns]

  public init(
    x: Tensor, norm: Norm? = nil, weight: Weight, bias: Tensor? = nil, activation: Activation = .none,
    isGated: Bool = false, residual: Tensor? = nil, phase: Phase, y: Tensor
  ) {
    (self.x, self.norm) = (x, norm)
    (self.weight, self.bias) = (weight, bias)
    (self.activation, self.isGated) = (activation, isGated)
    (self.residual, self.phase, self.y) = (residual, phase, y)
  }

  /// Columns of y: the weight's outputs, or half of them.
  public var columns: Int { isGated ? weight.outputs / 2 : weight.outputs }

  public var inputs: [Tensor] { [x, norm?.gain, norm?.bias, bias, residual].compactMap { $0 } }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost {
    let weights = Double(weight.outputs) * Double(weight.inputs)
    let stored = weights / Double(weight.type.blockLength) * Double(weight.type.blockBytes)
    return Cost(flops: 2 * weights * Double(x.rows), bytes: stored + tensorBytes)
  }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, weight.inputs])
    try bias?.require(Self.name, "bias", [weight.outputs])
    try norm?.gain.require(Self.name, "the norm's gain", [weight.inputs])
    try norm?.bias?.require(Self.name, "the norm's bias", [weight.inputs])
    try residual?.require(Self.name, "residual", [x.rows, columns])
    try y.require(Self.name, "y", [x.rows, columns])
    guard !isGated || weight.outputs % 2 == 0 else {
      throw FlashCLError.shape("\(Self.name): a gate of \(weight.outputs) outputs, an odd number")
    }
  }
}

extension Backend {
  /// activation(n(x) · Wᵀ + bias) + residual, or its gated form; see `Linear`.
  ///
  /// To decode it is one operation. To prefill, where tiles of many rows read x over and over, norm and gate have passes of their
  /// own; gates are then silu and gelu_tanh.
  public func linear(
    _ x: Tensor, norm: Norm? = nil, _ weight: Weight, bias: Tensor? = nil, activation: Activation = .none,
    isGated: Bool = false, plus residual: Tensor? = nil, phase: Phase
  ) throws -> Tensor {
    if phase == .prefill, let norm {
      return try linear(
        self.norm(x, norm), weight, bias: bias, activation: activation, isGated: isGated, plus: residual,
        phase: phase)
    }
    if phase == .prefill, isGated, residual == nil {
      let gateUp = try linear(x, weight, bias: bias, phase: phase)
      switch activation {
      case .silu: return try siluMultiply(gateUp)
      case .geluTanh: return try geluMultiply(gateUp)
      default: break
      }
    }
    let y = try allocate([x.rows, isGated ? weight.outputs / 2 : weight.outputs], .f32)
    try run(
      Linear(
        x: x, norm: norm, weight: weight, bias: bias, activation: activation, isGated: isGated,
        residual: residual, phase: phase, y: y))
    return y
  }
}
