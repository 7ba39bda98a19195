import FlashCL

/// One entry of the score matrix: query i and key j of sequence b under query head h, and p = i + Lk − Lq, the query's
/// place among the keys.
struct Pair {
  let b: Int
  let h: Int
  let i: Int
  let j: Int
  let p: Int
}

/// Whether a pair takes part and what its score is: the formulas of `AttentionOptions`, in their order.
struct AttentionScore<S: ReferenceScalar> {
  /// `ScoreKind` with its weights at hand.
  private enum Kind {
    case product
    case general([Vectors])  // one [D, Dk], or one of each head
    case gaussian
    case additive(query: Vectors?, key: Vectors?, score: Vectors)  // [D, M], [Dk, M], [1, M]
  }

  private let measured: Bool
  private let kind: Kind
  private let scale: S
  private let softcap: S?
  private let bias: Grid?
  private let slopes: [Double]?
  private let relative: DistanceTable?
  private let relativeStart: AttentionMask.Alignment
  private let contentBias: Vectors?  // [Hq, D]
  private let positionBias: Vectors?  // [Hq, D]
  private let positionKeys: DistanceTable?
  private let positionQueries: DistanceTable?
  private let mask: (Pair) -> Double
  let focus: FocusWindow?
  private let maskMod: Expression?
  private let scoreMod: Expression?

  init(_ op: Attention, _ arena: Arena) throws {
    let (options, positions) = (op.options, op.options.positions)
    measured = arena.measured
    kind =
      switch options.kind {
      case .scaled, .dot: .product
      case .gaussian: .gaussian
      case .general(let matrix):
        .general(
          matrix.shape.count == 2
            ? [try arena.vectors(matrix)]
            : try (0..<op.heads).map { try arena.vectors(matrix.slice(0, $0..<$0 + 1)) })
      case .additive(let query, let key, let score):
        .additive(
          query: try query.map(arena.vectors), key: try key.map(arena.vectors),
          score: try arena.vectors(score))
      }
    scale = S(op.scale)
    softcap = options.softcap.map { S($0) }
    bias = try options.bias.map { try Grid($0) }
    slopes =
      switch options.alibi {
      case nil: nil
      case .standard: alibiSlopes(op.heads)
      case .slopes(let tensor): try tensor.load()
      }
    relative = try options.relative.map { try DistanceTable($0, columns: 1, arena) }
    relativeStart = options.relativeAlignment
    contentBias = try positions?.contentBias.map(arena.vectors)
    positionBias = try positions?.positionBias.map(arena.vectors)
    positionKeys = try positions?.keys.map { try DistanceTable($0, columns: $0.columns, arena) }
    positionQueries = try positions?.queries.map { try DistanceTable($0, columns: $0.columns, arena) }
    mask = try options.mask.count()
    focus = try options.focus.map { try FocusWindow($0) }
    maskMod = try options.maskMod.map { try Expression($0, of: .mask) }
    scoreMod = try options.scoreMod.map { try Expression($0, of: .score) }
  }

  // MARK: - Before any pair

  /// A query as it meets keys, and as it meets the keys of distances.
  struct Query {
    let content: Vector
    let position: Vector
  }

  func prepare(_ q: Vector, head h: Int, _ arena: Arena) -> Query {
    let content =
      switch kind {
      case .general(let matrices): arena.product(q, matrices[matrices.count == 1 ? 0 : h], S.self)
      case .additive(let matrix?, _, _): arena.product(q, matrix, S.self)
      default: contentBias.map { arena.sum(q, $0[h], S.self) } ?? q
      }
    return Query(content: content, position: positionBias.map { arena.sum(q, $0[h], S.self) } ?? q)
  }

  /// Keys as they meet queries.
  func prepare(_ keys: Vectors, _ arena: Arena) -> Vectors {
    if case .additive(_, let matrix?, _) = kind { return arena.product(keys, matrix, S.self) }
    return keys
  }

  // MARK: - One pair

  /// How often the key counts and its score, which is not −∞; nil where it takes no part. Behind masks, and biases
  /// of −∞, the key is not read: whatever it is, it changes nothing.
  func score(_ pair: Pair, _ query: Query, _ keys: Vectors, row: Int) throws -> (
    count: Double, score: Sized<S>
  )? {
    let count = mask(pair)
    if count == 0 || focus?.keeps(pair) == false { return nil }
    if let maskMod, try maskMod.value(score: 0, pair) == 0 { return nil }
    let added = added(pair)
    if added.value == -.infinity { return nil }

    let key = keys[row]
    var score = scale * content(query, key)
    if let softcap { score = softcap * (1 / softcap * score).tanh() }
    score = score + added
    // (q + positionBias)·keys + k·queries
    let distance = pair.j - pair.p
    if let positionKeys { score = score + scale * .dot(query.position, positionKeys[pair.h, distance]) }
    if let positionQueries { score = score + scale * .dot(key, positionQueries[pair.h, distance]) }
    if let scoreMod { score = try modified(score, scoreMod, pair) }
    return score.value == -.infinity ? nil : (count, score)
  }

  /// kind(q, k)
  private func content(_ query: Query, _ key: Vector) -> Sized<S> {
    switch kind {
    case .product, .general: .dot(query.content, key)
    case .gaussian: S(-0.5) * .squaredDistance(query.content, key)
    case .additive(_, _, let score): .tanhDot(score[0], query.content, key)
    }
  }

  /// What depends on places alone: bias − slope·|p − j| + relative.
  private func added(_ pair: Pair) -> Sized<S> {
    var sum = Sized<S>(0)
    if let bias { sum = sum + Sized(bias[pair.b, pair.h, pair.i, pair.j]) }
    if let slopes { sum = sum + S(-slopes[pair.h]) * Sized(Double(abs(pair.p - pair.j))) }
    if let relative {
      let start = relativeStart == .upperLeft ? pair.i : pair.p
      sum = sum + Sized(relative[pair.h, pair.j - start].values[0])
    }
    return sum
  }

  /// The expression's value; its size follows from how far it moves when the score moves by a rounding of its terms.
  private func modified(_ score: Sized<S>, _ expression: Expression, _ pair: Pair) throws -> Sized<S> {
    let x = Double(score.value)
    let value = try expression.value(score: x, pair)
    guard measured, x.isFinite else { return Sized(value) }
    let step = 0x1p-24 * score.size
    let change =
      abs(try expression.value(score: x + step, pair) - expression.value(score: x - step, pair)) / 2
    return Sized(S(value), size: abs(value) + (change.isFinite ? change / 0x1p-24 : 0))
  }
}

/// 2^(−8h/H) for heads h = 1 … H where H is a power of two; of any other H the slopes of the power n below it, then
/// every other one of those of 2n.
func alibiSlopes(_ heads: Int) -> [Double] {
  func slopes(_ n: Int) -> [Double] {
    (1...n).map { Double.exp(-8 * Double($0) / Double(n) * Double.log(2)) }
  }
  var n = 1
  while 2 * n <= heads { n *= 2 }
  let between = stride(from: 0, to: 2 * n, by: 2).map { slopes(2 * n)[$0] }
  return [Double]((slopes(n) + between).prefix(heads))
}
