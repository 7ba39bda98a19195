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
}

/// Gaussian error linear unit of each element, exact or by tanh.
///
/// Shapes: x, y of one shape and storage type. `geluTanh` is written as x · sigmoid(2u), which has no cancellation for
/// negative x. Source: Hendrycks, Gimpel 2016.
public struct GELU: Operation {
  public static let name = "gelu"
  public enum Form: String, Sendable { case exact, tanh }
  public let form: Form
  public let x: Tensor
  public let y: Tensor

  public init(_ form: Form, x: Tensor, y: Tensor) {
    self.form = form
    self.x = x
    self.y = y
  }

  public var inputs: [Tensor] { [x] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Cost(flops: 10 * Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try x.require(Self.name, "x", x.shape.map { $0 }, ElementType.activations)
    try y.require(Self.name, "y", x.shape.map { $0 }, [x.type])
  }
}

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
  /// GELU of each element; see `GELU`.
  public func gelu(_ x: Tensor, _ form: GELU.Form) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(GELU(form, x: x, y: y))
    return y
  }

  /// silu(gate) · up; see `SiLUMultiply`.
  public func siluMultiply(_ gateUp: Tensor) throws -> Tensor {
    let y = try allocate([gateUp.rows, gateUp.columns / 2], gateUp.type)
    try run(SiLUMultiply(gateUp: gateUp, y: y))
    return y
  }
}
