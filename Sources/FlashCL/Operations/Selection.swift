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
  /// Softmax of each row; see `Softmax`.
  public func softmax(_ x: Tensor) throws -> Tensor {
    let y = try allocate(x.shape, x.type)
    try run(Softmax(x: x, y: y))
    return y
  }

  /// The column of each row's greatest element, `[rows]` i32; see `ArgMax`.
  public func argmax(_ x: Tensor) throws -> Tensor {
    let y = try allocate([x.rows], .i32)
    try run(ArgMax(x: x, y: y))
    return y
  }

  /// The k greatest elements of each row, `[rows, k]`, and their columns; see `TopK`.
  public func topK(_ x: Tensor, _ k: Int) throws -> (values: Tensor, indices: Tensor) {
    let values = try allocate([x.rows, k], .f32)
    let indices = try allocate([x.rows, k], .i32)
    try run(TopK(x: x, values: values, indices: indices))
    return (values, indices)
  }
}
