/// Rows of a table: y[t] = scale · table[ids[t]], or y[t] += that.
///
/// Shapes: ids `[tokens]` i32, table `[rows, width]`, y `[tokens, width]` f32. An id outside the table gives NaN, so that
/// it cannot pass unseen; callers check ids on the host where they know them.
public struct Embedding: Operation {
  public static let name = "embedding"
  public let ids: Tensor  // [tokens] i32
  public let table: Weight  // [rows, width]
  public let scale: Float
  /// Adds to what y holds, as the sum of token, position and segment embeddings needs.
  public let accumulate: Bool
  public let y: Tensor  // [tokens, width]

  public init(ids: Tensor, table: Weight, scale: Float = 1, accumulate: Bool = false, y: Tensor) {
    self.ids = ids
    self.table = table
    self.scale = scale
    self.accumulate = accumulate
    self.y = y
  }

  public var inputs: [Tensor] { accumulate ? [ids, y] : [ids] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost {
    let elements = Double(y.count)
    let stored = elements / Double(table.type.blockLength) * Double(table.type.blockBytes)
    return Cost(flops: elements, bytes: elements * (accumulate ? 8 : 4) + stored)
  }

  public func validate() throws {
    try ids.require(Self.name, "ids", [nil], [.i32])
    try y.require(Self.name, "y", [ids.count, table.inputs])
  }
}

extension Backend {
  /// The rows `ids` of `table`, `[tokens, width]`; see `Embedding`.
  public func embedding(_ ids: Tensor, table: Weight, scale: Float = 1) throws -> Tensor {
    let y = try allocate([ids.count, table.inputs], .f32)
    try run(Embedding(ids: ids, table: table, scale: scale, y: y))
    return y
  }

  /// Adds the rows `ids` of `table` to y; see `Embedding`.
  public func addEmbedding(_ ids: Tensor, table: Weight, to y: Tensor) throws {
    try run(Embedding(ids: ids, table: table, accumulate: true, y: y))
  }
}
