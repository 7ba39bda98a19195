/// Softmax of each row: y = e^(x − max x) / Σ e^(x − max x).
///
/// Shapes: x, y `[rows, columns]` of one storage type. A row of −∞ alone is 0; a row with +∞ or NaN is NaN.
public struct Softmax: Operation {
  public static let name = "softmax"
  public let x: Tensor  // [rows, columns]
  public let y: Tensor  // [rows, columns]

  public init(x: Tensor, y: Tensor) {
    self.x = x
    self.y = y
  }

  public var inputs: [Tensor] { [x] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Cost(flops: 5 * Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, nil], ElementType.activations)
    try y.require(Self.name, "y", x.shape.map { $0 }, [x.type])
  }
}

extension Backend {
  /// Softmax of each row; see `Softmax`.
  public func softmax(_ x: Tensor) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(Softmax(x: x, y: y))
    return y
  }
}
