/// Scaled dot-product attention, fused: y = softmax(scale · q·kᵀ + mask) · v, the scores never leave the device's registers.
///
/// Shapes: q `[B, Hq, Lq, D]`, keys `[B, Hkv, Lk, D]`, values `[B, Hkv, Lk, Dv]`, y `[B, Hq, Lq, Dv]`, all strided views
/// whose last axis is contiguous; Hq is a multiple of Hkv and query head h reads key head h / (Hq / Hkv). Softmax runs in
/// f32 with a running maximum and sum. A row that no key takes part in is 0. Sources: Vaswani et al. 2017; Milakov,
/// Gimelshein 2018 (online softmax); Dao et al. 2022 (FlashAttention).
public struct Attention: Operation {
  public static let name = "attention"

  /// Where keys and values lie.
  public enum Source {
    /// Tensors `[B, Hkv, Lk, D]` and `[B, Hkv, Lk, Dv]`; with `lengths` `[B]` i32 a sequence's keys j ≥ length are masked.
    case dense(keys: Tensor, values: Tensor, lengths: Tensor?)
    /// A cache read through a table: key j of sequence b is slot `table[b, j / blockLength] · blockLength + j % blockLength`.
    /// `table` `[B, blocks per sequence]` i32, `lengths` `[B]` i32 counts keys with the new tokens' own; `longest` is
    /// their maximum, known on the host.
    case paged(cache: KeyValueCache, table: Tensor, lengths: Tensor, longest: Int)
  }

  /// Which keys may be seen by query i; Lk is the tensor's size, or the sequence's own length where keys are paged.
  public enum Causal: String, Sendable {
    case none
    /// j ≤ i, PyTorch's `is_causal`.
    case upperLeft = "upper_left"
    /// j ≤ i + Lk − Lq, FlashAttention's and every cache's.
    case lowerRight = "lower_right"
  }

  public let q: Tensor  // [B, Hq, Lq, D]
  public let source: Source
  public let causal: Causal
  public let scale: Float
  public let phase: Phase
  public let y: Tensor  // [B, Hq, Lq, Dv]

  public init(
    q: Tensor, source: Source, causal: Causal = .none, scale: Float? = nil, phase: Phase = .prefill, y: Tensor
  ) {
    self.q = q
    self.source = source
    self.causal = causal
    self.scale = scale ?? Float(1 / Double(q.columns).squareRoot())
    self.phase = phase
    self.y = y
  }

  /// Key-value heads.
  public var keyHeads: Int {
    switch source {
    case .dense(let keys, _, _): keys.shape[1]
    case .paged(let cache, _, _, _): cache.heads
    }
  }

  /// The most keys that any sequence has.
  public var keyCount: Int {
    switch source {
    case .dense(let keys, _, _): keys.shape[2]
    case .paged(_, _, _, let longest): longest
    }
  }

  public var inputs: [Tensor] {
    switch source {
    case .dense(let keys, let values, let lengths): [q, keys, values] + (lengths.map { [$0] } ?? [])
    case .paged(_, let table, let lengths, _): [q, table, lengths]
    }
  }
  public var outputs: [Tensor] { [y] }

  public var cost: Cost {
    let (queries, keys) = (Double(q.shape[2]), Double(keyCount))
    var pairs = queries * keys
    switch causal {
    case .none: break
    // Row i sees min(i + 1, Lk) keys, or min(i + 1 + Lk − Lq, Lk).
    case .upperLeft: pairs = keys >= queries ? queries * (queries + 1) / 2 : pairs - keys * (keys - 1) / 2
    case .lowerRight: pairs = keys >= queries ? pairs - queries * (queries - 1) / 2 : keys * (keys + 1) / 2
    }
    let heads = Double(q.shape[0] * q.shape[1])
    let elements = Double(q.shape[0] * keyHeads) * keys * Double(q.columns + y.columns)
    return Cost(
      flops: 2 * heads * pairs * Double(q.columns + y.columns),
      bytes: 4 * (Double(q.count + y.count) + elements))
  }

  public func validate() throws {
    try q.require(Self.name, "q", [nil, nil, nil, nil], ElementType.activations, dense: false)
    let (batch, heads, queries) = (q.shape[0], q.shape[1], q.shape[2])
    let valueSize: Int
    switch source {
    case .dense(let keys, let values, let lengths):
      try keys.require(Self.name, "keys", [batch, nil, nil, q.columns], [q.type], dense: false)
      try values.require(
        Self.name, "values", [batch, keys.shape[1], keys.shape[2], nil], [q.type], dense: false)
      try lengths?.require(Self.name, "lengths", [batch], [.i32])
      guard keys.strides[3] == 1, values.strides[3] == 1 else {
        throw FlashCLError.shape("\(Self.name): the elements of one key or value must be adjacent")
      }
      valueSize = values.columns
    case .paged(let cache, let table, let lengths, let longest):
      try table.require(Self.name, "table", [batch, nil], [.i32])
      try lengths.require(Self.name, "lengths", [batch], [.i32])
      guard cache.keySize == q.columns else {
        throw FlashCLError.shape("\(Self.name): q has heads of \(q.columns), the cache of \(cache.keySize)")
      }
      guard longest >= 0, longest <= table.shape[1] * cache.blockLength else {
        throw FlashCLError.shape(
          "\(Self.name): \(longest) keys, but the table has \(table.shape[1]) blocks of \(cache.blockLength)")
      }
      valueSize = cache.valueSize
    }
    try y.require(Self.name, "y", [batch, heads, queries, valueSize], [q.type], dense: false)
    guard q.strides[3] == 1, y.strides[3] == 1 else {
      throw FlashCLError.shape("\(Self.name): the elements of one query or result must be adjacent")
    }
    guard keyHeads > 0, heads % keyHeads == 0 else {
      throw FlashCLError.shape("\(Self.name): \(heads) query heads are no multiple of \(keyHeads) key heads")
    }
  }
}

extension Backend {
  /// Attention over dense keys and values, `[B, Hq, Lq, D]` each, given as views; y is `[B, Lq, Hq · Dv]`, dense.
  public func attention(
    _ q: Tensor, keys: Tensor, values: Tensor, lengths: Tensor? = nil, causal: Attention.Causal = .none,
    scale: Float? = nil
  ) throws -> Tensor {
    try attention(
      q, .dense(keys: keys, values: values, lengths: lengths), valueSize: values.columns, causal: causal,
      scale: scale, phase: .prefill)
  }

  /// Attention over a cache that already holds the new tokens' keys; y is `[B, Lq, Hq · Dv]`, dense.
  public func attention(
    _ q: Tensor, cache: KeyValueCache, table: Tensor, lengths: Tensor, longest: Int, scale: Float? = nil,
    phase: Phase
  ) throws -> Tensor {
    try attention(
      q, .paged(cache: cache, table: table, lengths: lengths, longest: longest), valueSize: cache.valueSize,
      causal: .lowerRight, scale: scale, phase: phase)
  }

  private func attention(
    _ q: Tensor, _ source: Attention.Source, valueSize: Int, causal: Attention.Causal, scale: Float?,
    phase: Phase
  ) throws -> Tensor {
    let (batch, heads, queries) = (q.shape[0], q.shape[1], q.shape[2])
    let y = try allocate([batch, queries, heads, valueSize], q.type)
    try run(
      Attention(
        q: q, source: source, causal: causal, scale: scale, phase: phase, y: y.permuted([0, 2, 1, 3])))
    return y.reshaped([batch * queries, heads * valueSize])
  }
}
