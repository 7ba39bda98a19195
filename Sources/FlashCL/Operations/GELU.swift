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

extension Backend {
  /// GELU of each element; see `GELU`.
  public func gelu(_ x: Tensor, _ form: GELU.Form) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(GELU(form, x: x, y: y))
    return y
  }
}
