/// The output of a linear layer that is greatest in each row, the first of equals: y = argmax(x · Wᵀ + bias).
///
/// Shapes: x `[rows, inputs]` f32, weight `[outputs, inputs]` of any storage, bias `[outputs]`, y `[rows]` i32. Sums are those of
/// `Linear` in the same phase, to the bit, and NaN is never the greatest, as in `ArgMax`; a device need not write them.
public struct LinearArgMax: Operation {
  public static let name = "linear_argmax"
  public let x: Tensor  // [rows, inputs]
  public let weight: Weight  // [outputs, inputs]
  public let bias: Tensor?  // [outputs]
  public let phase: Phase
  public let y: Tensor  // [rows] i32

  public init(x: Tensor, weight: Weight, bias: Tensor? = nil, phase: Phase, y: Tensor) {
    (self.x, self.weight, self.bias) = (x, weight, bias)
    (self.phase, self.y) = (phase, y)
  }

  public var inputs: [Tensor] { [x, bias].compactMap { $0 } }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Linear(x: x, weight: weight, bias: bias, phase: phase, y: y).cost }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, weight.inputs])
    try bias?.require(Self.name, "bias", [weight.outputs])
    try y.require(Self.name, "y", [x.rows], [.i32])
    guard weight.outputs > 0 else { throw FlashCLError.shape("\(Self.name): the weight has no outputs") }
  }
}

extension Backend {
  /// argmax(x · Wᵀ + bias) of each row, `[rows]` i32; see `LinearArgMax`.
  public func linearArgmax(_ x: Tensor, _ weight: Weight, bias: Tensor? = nil, phase: Phase) throws -> Tensor
  {
    let y = try allocate([x.rows], .i32)
    try run(LinearArgMax(x: x, weight: weight, bias: bias, phase: phase, y: y))
    return y
  }
}
