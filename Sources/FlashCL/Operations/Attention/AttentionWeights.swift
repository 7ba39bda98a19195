/// The weights that attention gives each key, for looking at: softmax of the same scores, queries × keys in memory.
///
/// Shapes: weights `[B, heads.count, Lq, Lk]` f32, of the query heads in `heads`; 0 where a key takes no part. With a sink
/// a row's sum is below 1; a Gaussian focus is included. Ragged queries and keys are not served.
public struct AttentionWeights: Operation {
  public static let name = "attention_weights"

  public let attention: Attention
  public let heads: [Int]
  public let weights: Tensor  // [B, heads.count, Lq, Lk] f32

  public init(of attention: Attention, heads: [Int], weights: Tensor) {
    self.attention = attention
    self.heads = heads
    self.weights = weights
  }

  public var inputs: [Tensor] { attention.inputs }
  public var outputs: [Tensor] { [weights] }
  public var cost: Cost {
    let products = 2 * Double(weights.count) * Double(attention.keySize)
    return Cost(flops: products, bytes: 4 * Double(weights.count))
  }

  public func validate() throws {
    try attention.validate()
    guard attention.isUniform, attention.options.choice == .soft else {
      throw FlashCLError.unsupported("\(Self.name): weights are shown of soft attention over dense keys")
    }
    if let head = heads.first(where: { !(0..<attention.heads).contains($0) }) {
      throw FlashCLError.shape("\(Self.name): head \(head) of \(attention.heads)")
    }
    try weights.require(
      Self.name, "weights", [attention.batch, heads.count, attention.queryCount, attention.keyCount])
  }
}

extension Backend {
  /// The weights `[B, heads.count, Lq, Lk]` of the query heads in `heads`, all of them where nil; see `AttentionWeights`.
  public func attentionWeights(
    _ q: Tensor, _ k: Tensor, _ options: AttentionOptions = AttentionOptions(), lengths: Tensor? = nil,
    heads: [Int]? = nil
  ) throws -> Tensor {
    try q.require(Attention.name, "q", [nil, nil, nil, nil], ElementType.activations, dense: false)
    let heads = heads ?? [Int](0..<q.shape[1])
    let weights = try allocate([q.shape[0], heads.count, q.shape[2], k.shape[2]], .f32)
    // The keys stand in for the values, which weights do not depend on.
    let y = Tensor(shape: q.shape.dropLast() + [k.columns], type: q.type, storage: q.storage)
    try run(
      AttentionWeights(
        of: Attention(q: q, source: .dense(keys: k, values: k, lengths: lengths), options: options, y: y),
        heads: heads, weights: weights))
    return weights
  }
}
