/// Bounds each element smoothly: y = cap · tanh(x / cap), near x for |x| ≪ cap and never beyond ±cap.
///
/// Shapes: x, y of one shape and storage type. `cap` is above 0. Source: Bello et al. 2017; Gemma 2 (2024).
public struct Softcap: Operation {
  public static let name = "softcap"
  public let cap: Float
  public let x: Tensor
  public let y: Tensor

  public init(_ cap: Float, x: Tensor, y: Tensor) {
    self.cap = cap
    self.x = x
    self.y = y
  }

  public var inputs: [Tensor] { [x] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Cost(flops: 10 * Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try x.require(Self.name, "x", x.shape.map { $0 }, ElementType.activations)
    try y.require(Self.name, "y", x.shape.map { $0 }, [x.type])
    guard cap > 0, cap.isFinite else {
      throw FlashCLError.shape("\(Self.name): the cap must be above 0 and finite, not \(cap)")
    }
  }
}

extension Backend {
  /// cap · tanh(x / cap) of each element; see `Softcap`.
  public func softcap(_ x: Tensor, _ cap: Float) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(Softcap(cap, x: x, y: y))
    return y
  }
}
