/// The column of each row's greatest element, the first of equals.
///
/// Shapes: x `[rows, columns]` f32, y `[rows]` i32. NaN is never the greatest; a row of NaN alone gives 0.
public struct ArgMax: Operation {
  public static let name = "argmax"
  public let x: Tensor  // [rows, columns]
  public let y: Tensor  // [rows] i32

  public init(x: Tensor, y: Tensor) {
    self.x = x
    self.y = y
  }

  public var inputs: [Tensor] { [x] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost { Cost(flops: Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, nil])
    try y.require(Self.name, "y", [x.rows], [.i32])
    guard x.columns > 0 else { throw FlashCLError.shape("\(Self.name): x has no columns") }
  }
}

extension Backend {
  /// The column of each row's greatest element, `[rows]` i32; see `ArgMax`.
  public func argmax(_ x: Tensor) throws -> Tensor {
    let y = try allocate([x.rows], .i32)
    try run(ArgMax(x: x, y: y))
    return y
  }
}
