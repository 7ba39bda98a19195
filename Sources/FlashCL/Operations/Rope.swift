/// Rotary position embedding: each pair (a, b) of a head becomes (a·cos − b·sin, a·sin + b·cos) at its token's position.
///
/// Shapes: x, y `[tokens, heads, size]` views (rows of one token may lie in a fused buffer); positions `[tokens]` i32; cos,
/// sin `[table length, rotary / 2]` f32. Only the first `rotary` = 2 · columns(cos) elements of a head are rotated, the rest
/// are copied. y may be x. A position outside the table gives NaN. Source: Su et al. 2021 (RoFormer).
public struct Rope: Operation {
  public static let name = "rope"
  public enum Pairing: String, Sendable, CaseIterable {
    /// Element i with i + rotary/2: GPT-NeoX, Llama in Hugging Face's layout.
    case halves
    /// Element 2i with 2i + 1: RoFormer, GPT-J, Llama in GGUF.
    case adjacent
  }
  public let x: Tensor  // [tokens, heads, size]
  public let positions: Tensor  // [tokens] i32
  public let table: RopeTable
  public let y: Tensor  // [tokens, heads, size]

  public init(x: Tensor, positions: Tensor, table: RopeTable, y: Tensor) {
    self.x = x
    self.positions = positions
    self.table = table
    self.y = y
  }

  public var inputs: [Tensor] { [x, positions, table.cos, table.sin] }
  public var outputs: [Tensor] { [y] }
  public var cost: Cost {
    let rotated = Double(x.shape[0] * x.shape[1] * 2 * table.cos.columns)
    return Cost(flops: 3 * rotated, bytes: 8 * Double(x.count))
  }

  public func validate() throws {
    try x.require(Self.name, "x", [nil, nil, nil], ElementType.activations, dense: false)
    try y.require(Self.name, "y", x.shape.map { $0 }, [x.type], dense: false)
    try positions.require(Self.name, "positions", [x.shape[0]], [.i32])
    try table.validate(Self.name, size: x.shape[2])
    guard x.strides[2] == 1, y.strides[2] == 1 else {
      throw FlashCLError.shape("\(Self.name): the elements of one head must be adjacent")
    }
  }
}

/// Cosines and sines of every position and frequency, made on the host in Double.
public struct RopeTable {
  public let cos: Tensor  // [length, rotary / 2]
  public let sin: Tensor  // [length, rotary / 2]
  public let pairing: Rope.Pairing

  public init(cos: Tensor, sin: Tensor, pairing: Rope.Pairing) {
    self.cos = cos
    self.sin = sin
    self.pairing = pairing
  }

  func validate(_ operation: String, size: Int) throws {
    try cos.require(operation, "cos", [nil, nil])
    try sin.require(operation, "sin", cos.shape.map { $0 })
    guard 2 * cos.columns <= size else {
      throw FlashCLError.shape("\(operation): \(2 * cos.columns) rotated elements in a head of \(size)")
    }
  }
}

extension Backend {
  /// Rotates x by its tokens' positions; see `Rope`. With `into`, y is written there (it may be x itself).
  @discardableResult
  public func rope(_ x: Tensor, positions: Tensor, table: RopeTable, into: Tensor? = nil) throws -> Tensor {
    let y = try into ?? allocate(x.shape, x.type)
    try run(Rope(x: x, positions: positions, table: table, y: y))
    return y
  }
}
