/// Softmax attention of every kind, fused: y = softmax(scores(q, k)) · v, no score leaves the kernel.
///
/// Shapes: q `[B, Hq, Lq, D]`, keys `[B, Hkv, Lk, D]`, values `[B, Hkv, Lk, Dv]`, y `[B, Hq, Lq, Dv]`, all strided views
/// whose last axis is contiguous, so that `[B, L, H, D]` and slices of a fused projection need no copy; D and Dv from 1 to
/// 512. Hq is a multiple of Hkv and query head h reads key head h / (Hq / Hkv). Softmax runs in f32 with a running maximum
/// and sum. A row that no key takes part in is 0, and its log-sum-exp −∞. Memory is linear in Lq and Lk. Sources: Vaswani
/// et al. 2017; Milakov, Gimelshein 2018 (online softmax); Dao et al. 2022 (FlashAttention); `AttentionOptions`.
public struct Attention: Operation {
  public static let name = "attention"

  /// Where keys and values lie.
  public enum Source {
    /// Tensors `[B, Hkv, Lk, D]` and `[B, Hkv, Lk, Dv]`; with `lengths` `[B]` i32 a sequence's keys j ≥ length are masked.
    case dense(keys: Tensor, values: Tensor, lengths: Tensor? = nil)
    /// Tensors `[1, Hkv, total, D]` and `[1, Hkv, total, Dv]`; sequence b is `starts[b] ..< starts[b + 1]`, with `starts`
    /// `[B + 1]` i32 and `longest` the most keys of one sequence, known on the host.
    case ragged(keys: Tensor, values: Tensor, starts: Tensor, longest: Int)
    /// A cache read through a table: key j of sequence b is slot `table[b, j / blockLength] · blockLength + j % blockLength`.
    /// `table` `[B, blocks per sequence]` i32, `lengths` `[B]` i32 counts keys with the new tokens' own; `longest` is
    /// their maximum, known on the host.
    case paged(cache: KeyValueCache, table: Tensor, lengths: Tensor, longest: Int)
  }

  /// How queries and results are packed.
  public enum Rows {
    /// `[B, Hq, Lq, D]`.
    case equal
    /// `[1, Hq, total, D]`; sequence b is `starts[b] ..< starts[b + 1]`, `starts` `[B + 1]` i32, `longest` the most of one.
    case ragged(starts: Tensor, longest: Int)
  }

  public let q: Tensor  // [B, Hq, Lq, D], or [1, Hq, total, D]
  /// What joins the cache first: the keys and values of these queries' own tokens, in the order of the rows of q. Where it turns
  /// queries they are those of q, which may or may not lie turned in their memory afterwards.
  public let appending: CacheAppend?
  public let rows: Rows
  public let source: Source
  public let options: AttentionOptions
  public let phase: Phase
  public let y: Tensor  // as q, with Dv
  /// The logarithm of each row's denominator, the sink's part included; −∞ where that is 0.
  public let logSumExp: Tensor?  // [B, Hq, Lq] f32, or [1, Hq, total]

  public init(
    q: Tensor, appending: CacheAppend? = nil, rows: Rows = .equal, source: Source,
    options: AttentionOptions = AttentionOptions(), phase: Phase = .prefill, y: Tensor,
    logSumExp: Tensor? = nil
  ) {
    self.q = q
    self.appending = appending
    self.rows = rows
    self.source = source
    self.options = options
    self.phase = phase
    self.y = y
    self.logSumExp = logSumExp
  }

  // MARK: - Sizes

  /// Sequences.
  public var batch: Int {
    if case .ragged(let starts, _) = rows { return starts.count - 1 }
    return q.shape[0]
  }

  /// Query heads.
  public var heads: Int { q.shape[1] }

  /// Lq: the most queries of one sequence.
  public var queryCount: Int {
    if case .ragged(_, let longest) = rows { return longest }
    return q.shape[2]
  }

  /// Key-value heads.
  public var keyHeads: Int {
    switch source {
    case .dense(let keys, _, _), .ragged(let keys, _, _, _): keys.shape[1]
    case .paged(let cache, _, _, _): cache.heads
    }
  }

  /// Lk: the most keys that any sequence has.
  public var keyCount: Int {
    switch source {
    case .dense(let keys, _, _): keys.shape[2]
    case .ragged(_, _, _, let longest), .paged(_, _, _, let longest): longest
    }
  }

  /// The size of one key.
  public var keySize: Int {
    switch source {
    case .dense(let keys, _, _), .ragged(let keys, _, _, _): keys.columns
    case .paged(let cache, _, _, _): cache.keySize
    }
  }

  /// The factor of every score.
  public var scale: Float {
    if let scale = options.scale { return scale }
    if case .scaled = options.kind { return Float(1 / Double(q.columns).squareRoot()) }
    return 1
  }

  /// Where each sequence's queries begin, `[B + 1]`; nil where they are not ragged.
  public var queryStarts: Tensor? {
    if case .ragged(let starts, _) = rows { return starts }
    return nil
  }

  /// True where all sequences have the tensors' own lengths, so that one map of tiles serves them all.
  public var isUniform: Bool {
    if case .dense = source, case .equal = rows { return true }
    return false
  }

  // MARK: - Operands

  public var inputs: [Tensor] {
    var tensors = appending?.inputs ?? []
    if appending?.queries == nil { tensors.append(q) }
    switch source {
    case .dense(let keys, let values, let lengths): tensors += [keys, values] + (lengths.map { [$0] } ?? [])
    case .ragged(let keys, let values, let starts, _): tensors += [keys, values, starts]
    case .paged(_, let table, let lengths, _): tensors += [table, lengths]
    }
    if case .ragged(let starts, _) = rows { tensors.append(starts) }
    return tensors + options.tensors
  }
  public var overwritten: [Tensor] { appending?.queries.map { [$0] } ?? [] }
  public var outputs: [Tensor] { [y] + (logSumExp.map { [$0] } ?? []) }

  /// Keys and values count as they are stored, once for each sequence, and those that the mask's band reaches.
  public var cost: Cost {
    let band = options.mask.split.band
    func reach(_ i: Int) -> Range<Int> { band.keys(i, queries: queryCount, keys: keyCount) }
    let read = queryCount == 0 ? 0 : max(0, reach(queryCount - 1).upperBound - reach(0).lowerBound)
    let type = if case .paged(let cache, _, _, _) = source { cache.type } else { q.type }
    let token = type.bytes(keySize) + type.bytes(y.columns)
    let others = ([q] + options.tensors + outputs).reduce(0) { $0 + $1.type.bytes($1.count) }
    return Cost(
      flops: 2 * Double(batch * heads) * scoredPairs * Double(keySize + y.columns),
      bytes: Double(others) + Double(batch * keyHeads) * Double(read) * Double(token))
  }

  /// Pairs of query and key whose scores count as work: those of the mask's band, one by one, and of patterns the tiles
  /// of 16 queries × 32 keys that are not wholly masked. Key lengths, tensors and expressions are not looked into.
  public var scoredPairs: Double {
    let (queries, keys) = (queryCount, keyCount)
    let (band, pattern) = options.mask.split
    func width(_ i: Int) -> Int { band.keys(i, queries: queries, keys: keys).count }
    if case .all = pattern { return Double((0..<queries).reduce(0) { $0 + width($1) }) }
    var pairs = 0
    for first in stride(from: 0, to: queries, by: 16) {
      let last = min(first + 15, queries - 1)
      let reach =
        band.keys(first, queries: queries, keys: keys)
        .lowerBound..<band.keys(last, queries: queries, keys: keys)
        .upperBound
      for tile in stride(
        from: reach.lowerBound / 32 * 32, to: max(reach.upperBound, reach.lowerBound), by: 32)
      {
        let end = min(tile + 31, keys - 1)
        if options.mask.coverage(first...last, tile...end, queries: queries, keys: keys) != .none {
          pairs += (last - first + 1) * (end - tile + 1)
        }
      }
    }
    return Double(pairs)
  }

  // MARK: - Rules

  public func validate() throws {
    let name = Self.name
    func refuse(_ text: String) -> FlashCLError { .shape("\(name): \(text)") }
    try q.require(name, "q", [nil, nil, nil, nil], ElementType.activations, dense: false)
    if case .ragged(let starts, let longest) = rows {
      try starts.require(name, "query starts", [nil], [.i32])
      guard q.shape[0] == 1, starts.count > 0, longest >= 0, longest <= q.shape[2] else {
        throw refuse(
          "ragged queries are [1, Hq, total, D] with starts [B + 1] and a longest of 0 to total; q is \(q.shape), "
            + "starts \(starts.shape), longest \(longest)")
      }
    }
    let valueSize: Int
    switch source {
    case .dense(let keys, let values, let lengths):
      try keys.require(name, "keys", [batch, nil, nil, nil], [q.type], dense: false)
      try values.require(name, "values", [batch, keys.shape[1], keys.shape[2], nil], [q.type], dense: false)
      try lengths?.require(name, "lengths", [batch], [.i32])
      valueSize = values.columns
      try requireAdjacent(keys, values)
    case .ragged(let keys, let values, let starts, let longest):
      try keys.require(name, "keys", [1, nil, nil, nil], [q.type], dense: false)
      try values.require(name, "values", [1, keys.shape[1], keys.shape[2], nil], [q.type], dense: false)
      try starts.require(name, "key starts", [batch + 1], [.i32])
      guard longest >= 0, longest <= keys.shape[2] else {
        throw refuse("the longest sequence has \(longest) keys, all together \(keys.shape[2])")
      }
      valueSize = values.columns
      try requireAdjacent(keys, values)
    case .paged(let cache, let table, let lengths, let longest):
      try table.require(name, "table", [batch, nil], [.i32])
      try lengths.require(name, "lengths", [batch], [.i32])
      guard longest >= 0, longest <= table.shape[1] * cache.blockLength else {
        throw refuse(
          "\(longest) keys, but the table has \(table.shape[1]) blocks of \(cache.blockLength)")
      }
      valueSize = cache.valueSize
    }
    try y.require(name, "y", [q.shape[0], heads, q.shape[2], valueSize], [q.type], dense: false)
    try logSumExp?.require(name, "log-sum-exp", [q.shape[0], heads, q.shape[2]], dense: false)
    try requireAdjacent(q, y)
    for (operand, size) in [("q", q.columns), ("keys", keySize), ("values", valueSize)] {
      guard (1...512).contains(size) else {
        throw refuse("the heads of \(operand) have \(size) elements; 1 to 512 are served")
      }
    }
    guard keyHeads > 0, heads % keyHeads == 0 else {
      throw refuse("\(heads) query heads are no multiple of \(keyHeads) key heads")
    }
    try validateAppending()
    guard queryCount <= 1 << 20, keyCount <= 1 << 20 else {
      throw refuse("\(queryCount) queries and \(keyCount) keys; 2^20 of each are served")
    }
    try options.validate(self)
  }

  private func validateAppending() throws {
    guard let appending else { return }
    func refuse(_ text: String) -> FlashCLError { .shape("\(Self.name): \(text)") }
    try appending.validate()
    guard case .paged(let cache, _, _, _) = source, cache.storage === appending.cache.storage else {
      throw refuse("keys and values can only be appended to the cache that is read")
    }
    let tokens = q.shape[0] * q.shape[2]
    guard appending.keys.shape[0] == tokens else {
      throw refuse("\(appending.keys.shape[0]) keys are appended for \(tokens) queries of each head")
    }
    guard (appending.table == nil) == (appending.queries == nil) else {
      throw refuse("keys that are appended turn with their queries, or neither does")
    }
    guard let queries = appending.queries else { return }
    guard queries.storage === q.storage, queries.offset == q.offset, queries.shape[1] == heads,
      queries.strides[1] == q.strides[1], queries.strides[0] == q.strides[2]
    else { throw refuse("the queries that turn with appended keys must be q, token after token") }
  }

  private func requireAdjacent(_ a: Tensor, _ b: Tensor) throws {
    guard a.columns <= 1 || a.strides[3] == 1, b.columns <= 1 || b.strides[3] == 1 else {
      throw FlashCLError.shape(
        "\(Self.name): the elements of one query, key, value or result must be adjacent")
    }
  }
}

extension AttentionOptions {
  /// The tensors that the options read.
  var tensors: [Tensor] {
    var all = mask.tensors + [bias, relative, sinks, focus?.centers].compactMap { $0 }
    if case .slopes(let slopes) = alibi { all.append(slopes) }
    switch kind {
    case .general(let matrix): all.append(matrix)
    case .additive(let query, let key, let score): all += [query, key, score].compactMap { $0 }
    default: break
    }
    if let p = positions {
      all += [p.contentBias, p.positionBias, p.keys, p.queries, p.values].compactMap { $0 }
    }
    for (_, tensor) in scoreMod?.constants ?? [:] { all.append(tensor) }
    for (_, tensor) in maskMod?.constants ?? [:] { all.append(tensor) }
    return all
  }

  /// Throws unless the options fit each other and the operands.
  func validate(_ op: Attention) throws {
    let name = Attention.name
    func refuse(_ text: String) -> FlashCLError { .shape("\(name): \(text)") }
    let (heads, size) = (op.heads, op.q.columns)
    let scores = [op.batch, heads, op.queryCount, op.keyCount]
    try mask.validate(name, scores: scores)
    try validateKind(op)
    if let softcap {
      guard softcap > 0, softcap.isFinite else { throw refuse("a softcap is above 0, not \(softcap)") }
    }
    if let scale, !scale.isFinite { throw refuse("the scale is \(scale)") }
    try bias?.requireBroadcast(name, "bias", to: scores, .f32)
    if case .slopes(let slopes) = alibi { try slopes.require(name, "slopes", [heads]) }
    func table(_ tensor: Tensor?, _ operand: String, _ shape: [Int?]) throws {
      guard let tensor else { return }
      let first = tensor.shape.first == 1 ? 1 : heads
      try tensor.require(name, operand, [first] + shape)
      guard tensor.shape[1] % 2 == 1 else {
        throw refuse("\(operand) has distances -R to R, an odd number of rows; it is \(tensor.shape)")
      }
    }
    try table(relative, "relative", [nil])
    if let p = positions {
      try p.contentBias?.require(name, "contentBias", [heads, size])
      try p.positionBias?.require(name, "positionBias", [heads, size])
      try table(p.keys, "relative keys", [nil, size])
      try table(p.queries, "relative queries", [nil, size])
      try table(p.values, "relative values", [nil, op.y.columns])
      guard p.positionBias == nil || p.keys != nil else { throw refuse("a positionBias needs relative keys") }
      guard [.scaled, .dot].contains(where: { $0 == kind.plain }) else {
        throw refuse("relative positions go with the kinds scaled and dot")
      }
    }
    if let focus {
      let shape = [op.batch, heads, op.queryCount]
      try focus.centers.requireBroadcast(name, "centers", to: shape, .f32)
      guard focus.radius > 0 else { throw refuse("a focus has a radius above 0, not \(focus.radius)") }
    }
    try sinks?.require(name, "sinks", [heads])
    try scoreMod?.validate(name, "scoreMod")
    try maskMod?.validate(name, "maskMod")
    guard choice == .soft || (sinks == nil && focus?.gaussian != true && op.logSumExp == nil) else {
      throw refuse("hard attention has no denominator: no sinks, no Gaussian focus, no log-sum-exp")
    }
  }

  private func validateKind(_ op: Attention) throws {
    let name = Attention.name
    let (heads, size) = (op.heads, op.q.columns)
    func requireKeySize(_ wanted: Int) throws {
      guard op.keySize == wanted else {
        throw FlashCLError.shape(
          "\(name): q has heads of \(size), which need keys of \(wanted), not of \(op.keySize)")
      }
    }
    switch kind {
    case .scaled, .dot, .gaussian: try requireKeySize(size)
    case .general(let matrix):
      if matrix.shape.count == 3 {
        try matrix.require(name, "the score's matrix", [heads, size, op.keySize])
      } else {
        try matrix.require(name, "the score's matrix", [size, op.keySize])
      }
    case .additive(let query, let key, let score):
      try score.require(name, "the score's weights", [nil])
      try query?.require(name, "the queries' weights", [size, score.count])
      try key?.require(name, "the keys' weights", [op.keySize, score.count])
      guard query != nil || size == score.count, key != nil || op.keySize == score.count else {
        throw FlashCLError.shape(
          "\(name): projected queries and keys have heads of \(score.count), not of \(size) and \(op.keySize)"
        )
      }
      if case .paged = op.source, key != nil {
        throw FlashCLError.unsupported(
          "\(name): a cache holds keys for additive scores projected already; append Wk·k and give no key weights"
        )
      }
    }
  }
}

extension ScoreKind {
  enum Plain { case scaled, dot, other }
  var plain: Plain {
    switch self {
    case .scaled: .scaled
    case .dot: .dot
    default: .other
    }
  }
}

// MARK: - Functions

extension Backend {
  /// Attention over dense keys and values; see `Attention` and `AttentionOptions`.
  ///
  /// Shapes: q `[B, Hq, Lq, D]`, k `[B, Hkv, Lk, D]`, v `[B, Hkv, Lk, Dv]`, views or dense; the result is `[B, Hq, Lq, Dv]`,
  /// dense. `lengths` `[B]` i32 masks keys past each sequence's own; `logSumExp` `[B, Hq, Lq]` f32 receives the logarithm
  /// of each row's denominator. Up to `decodeRows` queries are computed as decode is, in splits of the keys.
  public func attention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ options: AttentionOptions = AttentionOptions(),
    lengths: Tensor? = nil, logSumExp: Tensor? = nil
  ) throws -> Tensor {
    try q.require(Attention.name, "q", [nil, nil, nil, nil], ElementType.activations, dense: false)
    let y = try allocate(q.shape.dropLast() + [v.columns], q.type)
    try run(
      Attention(
        q: q, source: .dense(keys: k, values: v, lengths: lengths), options: options,
        phase: q.shape[2] <= Attention.decodeRows ? .decode : .prefill, y: y, logSumExp: logSumExp))
    return y
  }

  /// The same with the heads of a position side by side, `[B · Lq, Hq · Dv]`, or `[total, Hq · Dv]` of ragged rows, as a
  /// linear layer reads them.
  public func mergedAttention(
    _ q: Tensor, appending: CacheAppend? = nil, rows: Attention.Rows = .equal, _ source: Attention.Source,
    _ options: AttentionOptions = AttentionOptions(), phase: Phase
  ) throws -> Tensor {
    let valueSize =
      switch source {
      case .dense(_, let values, _), .ragged(_, let values, _, _): values.columns
      case .paged(let cache, _, _, _): cache.valueSize
      }
    let (batch, heads, queries) = (q.shape[0], q.shape[1], q.shape[2])
    let y = try allocate([batch, queries, heads, valueSize], q.type)
    try run(
      Attention(
        q: q, appending: appending, rows: rows, source: source, options: options, phase: phase,
        y: y.permuted([0, 2, 1, 3])))
    return y.reshaped([batch * queries, heads * valueSize])
  }
}

extension Attention {
  /// With so few queries a tile of sixteen would be mostly empty.
  public static let decodeRows = 4
}
