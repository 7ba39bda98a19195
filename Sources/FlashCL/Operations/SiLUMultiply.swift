/// The gate of a SwiGLU feed-forward layer: y = silu(gate) · up.
///
/// Shapes: gateUp `[rows, 2·width]`, each row first the gate and then the values that it scales; y `[rows, width]`.
/// Source: Shazeer 2020.
public struct SiLUMultiply: Operation {
  public static let name = "silu_multiply"
  public let gateUp: Tensor  // [rows, 2·width]
  public let y: Tensor  // [rows, width]

  public init(gateUp: Tensor, y: Tensor) {
    self.gateUp = gateUp
    self.y = y
  }

  public var inputs: [Tensor] { [gateUp] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Cost(flops: 5 * Double(y.count), bytes: tensorBytes) }

  public func validate() throws {
    try gateUp.require(Self.name, "gateUp", [nil, nil], ElementType.activations)
    try y.require(Self.name, "y", [gateUp.rows, gateUp.columns / 2], [gateUp.type])
    guard gateUp.columns % 2 == 0 else {
      throw FlashCLError.shape("\(Self.name): gateUp has \(gateUp.columns) columns, an odd number")
    }
  }
}

extension Backend {
  /// silu(gate) · up; see `SiLUMultiply`.
  public func siluMultiply(_ gateUp: Tensor) throws -> Tensor {
    let y = try allocate([gateUp.rows, gateUp.columns / 2], gateUp.type)
    try run(SiLUMultiply(gateUp: gateUp, y: y))
    return y
  }
}
