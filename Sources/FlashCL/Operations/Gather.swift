/// Rows of a matrix by their places: y[i] = x[rows[i]].
///
/// Shapes: x `[n, width]`, a view whose rows may lie apart; rows `[count]` i32, in any order, repeated or not; y
/// `[count, width]` of the same type. A place outside x gives a row of NaN, so that it cannot pass unseen.
public struct Gather: Operation {
  public static let name = "gather"
  public let x: Tensor  // [n, width]
  public let rows: Tensor  // [count] i32
  public let y: Tensor  // [count, width]

  public init(x: Tensor, rows: Tensor, y: Tensor) {
    self.x = x
    self.rows = rows
    self.y = y
  }

  public var inputs: [Tensor] { [x, rows] }
  public var outputs: [Tensor] { [y] }
  /// Rows count as they are read, once for each result.
  public var cost: Cost { Cost(flops: 0, bytes: Double(2 * y.type.bytes(y.count) + 4 * rows.count)) }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, nil], ElementType.activations, dense: false)
    try rows.require(Self.name, "rows", [nil], [.i32])
    try y.require(Self.name, "y", [rows.count, x.columns], [x.type])
    guard x.columns <= 1 || x.strides[1] == 1 else {
      throw FlashCLError.shape("\(Self.name): the elements of one row must be adjacent")
    }
  }
}

extension Backend {
  /// The rows of x at `rows`, `[count, width]`; see `Gather`.
  public func gather(_ x: Tensor, rows: Tensor) throws -> Tensor {
    let y = try allocate([rows.count, x.columns], x.type)
    try run(Gather(x: x, rows: rows, y: y))
    return y
  }
}
