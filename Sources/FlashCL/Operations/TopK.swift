/// The k greatest elements of each row and their columns, greatest first, the lower column first among equals.
///
/// Shapes: x `[rows, columns]` f32, values `[rows, k]` f32, indices `[rows, k]` i32; 1 ≤ k ≤ min(columns, `TopK.limit`).
/// NaN counts as −∞.
public struct TopK: Operation {
  public static let name = "top_k"
  /// The largest k on a device: its lists stay in local memory (1024 · 8 bytes = 8 KiB).
  public static let limit = 1024
  public let x: Tensor  // [rows, columns]
  public let values: Tensor  // [rows, k]
  public let indices: Tensor  // [rows, k] i32

  public init(x: Tensor, values: Tensor, indices: Tensor) {
    self.x = x
    self.values = values
    self.indices = indices
  }

  public var k: Int { values.columns }
  public var inputs: [Tensor] { [x] }
  public var outputs: [Tensor] { [values, indices] }
  public var cost: Cost { Cost(flops: Double(x.count), bytes: tensorBytes) }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, nil])
    try values.require(Self.name, "values", [x.rows, nil])
    try indices.require(Self.name, "indices", values.shape.map { $0 }, [.i32])
    guard k >= 1, k <= min(x.columns, Self.limit) else {
      throw FlashCLError.shape("\(Self.name): k is \(k), the limit \(min(x.columns, Self.limit))")
    }
  }
}

extension Backend {
  /// The k greatest elements of each row, `[rows, k]`, and their columns; see `TopK`.
  public func topK(_ x: Tensor, _ k: Int) throws -> (values: Tensor, indices: Tensor) {
    let values = try allocate([x.rows, k], .f32)
    let indices = try allocate([x.rows, k], .i32)
    try run(TopK(x: x, values: values, indices: indices))
    return (values, indices)
  }
}
