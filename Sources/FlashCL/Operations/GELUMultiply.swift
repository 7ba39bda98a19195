/// The gate of a GEGLU feed-forward layer, with GELU by tanh: y = gelu(gate) · up.
///
/// Shapes: gateUp `[rows, 2·width]`, each row first the gate and then the values that it scales; y `[rows, width]`.
/// Flan-T5 has it so. Source: Shazeer 2020.
public struct GELUMultiply: Operation {
  public static let name = "gelu_multiply"
  public let gateUp: Tensor  // [rows, 2·width]
  public let y: Tensor  // [rows, width]

  public init(gateUp: Tensor, y: Tensor) {
    self.gateUp = gateUp
    self.y = y
  }

  public var inputs: [Tensor] { [gateUp] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Cost(flops: 11 * Double(y.count), bytes: tensorBytes) }

  public func validate() throws {
    try gateUp.require(Self.name, "gateUp", [nil, nil], ElementType.activations)
    try y.require(Self.name, "y", [gateUp.rows, gateUp.columns / 2], [gateUp.type])
    guard gateUp.columns % 2 == 0 else {
      throw FlashCLError.shape("\(Self.name): gateUp has \(gateUp.columns) columns, an odd number")
    }
  }
}

extension Backend {
  /// gelu(gate) · up, GELU by tanh; see `GELUMultiply`.
  public func geluMultiply(_ gateUp: Tensor) throws -> Tensor {
    let y = try allocate([gateUp.rows, gateUp.columns / 2], gateUp.type)
    try run(GELUMultiply(gateUp: gateUp, y: y))
    return y
  }
}
