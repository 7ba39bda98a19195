import FlashCL

// In reading order: here softmax or choice, and the weighted sum; AttentionScore.swift has the score of a pair,
// AttentionMask.swift who takes part, AttentionOperands.swift where everything lies.

extension Attention: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] { try attend(precision) }

  // As the protocol has them, but here, where the compiler makes code of one precision of them: 30 times faster.
  public func truth() throws -> [[Double]] { try attend(Double.self) }
  public func naive() throws -> [[Double]] { try attend(Float.self).map { $0.map { Double($0) } } }
  public func magnitude() throws -> [[Double]] { try sizes() }
  public func products() throws -> [Double] { try attend(Double.self, absolute: true)[0] }
}

extension Attention: SampledOperation {
  public var rowCount: Int { y.rows }
  public func truth(rows: [Int]) throws -> [[Double]] { try attend(Double.self, rows: rows) }
  public func naive(rows: [Int]) throws -> [[Double]] {
    try attend(Float.self, rows: rows).map { $0.map { Double($0) } }
  }
  public func magnitude(rows: [Int]) throws -> [[Double]] { try sizes(rows: rows) }
  public func products(rows: [Int]) throws -> [Double] {
    try attend(Double.self, rows: rows, absolute: true)[0]
  }
}

extension Attention {
  /// Σ p·(1 + |score − max| + size of the score)·|v|: an error of a score, or of what e^x is taken of, is one of p in
  /// proportion, and a score is as large as its terms are, scale·Σ|q||k| and all that is added. Each row takes the
  /// greatest of its elements that is finite. Of the log-sum-exp the same with 1 for |v|, and its own size.
  private func sizes(rows: [Int]? = nil) throws -> [[Double]] {
    var sizes = try attend(Double.self, rows: rows, measured: true)
    let columns = y.columns
    for row in stride(from: 0, to: sizes[0].count, by: max(columns, 1)) {
      let greatest = sizes[0][row..<row + columns].reduce(0) { $1.isFinite ? max($0, $1) : $0 }
      for i in row..<row + columns { sizes[0][i] = greatest }
    }
    return sizes
  }

  /// Σ p·v, or with `absolute` Σ p·|v|, and the log-sum-exp, or the sizes of both, of `rows`, nil being all. Ragged rows of
  /// no sequence are as rows without keys.
  private func attend<S: ReferenceScalar>(
    _ precision: S.Type, rows: [Int]? = nil, measured: Bool = false, absolute: Bool = false
  ) throws -> [[S]] {
    if appending != nil {
      return try appended().attend(precision, rows: rows, measured: measured, absolute: absolute)
    }
    let (columns, count) = (self.y.columns, rows?.count ?? rowCount)
    let places = rows.map { Dictionary(uniqueKeysWithValues: zip($0, 0...)) }
    var y = [S](repeating: 0, count: count * columns)
    var logSumExp = [S](repeating: measured ? 0 : -.infinity, count: count)
    try y.withUnsafeMutableBufferPointer { y in
      try logSumExp.withUnsafeMutableBufferPointer { logSumExp in
        try forEachRow(precision, heads: [Int](0..<heads), rows: rows.map(Set.init), measured: measured) {
          row in
          let place = places?[row.number] ?? row.number
          logSumExp[place] = row.logSumExp
          if let y = y.baseAddress { row.addValues(to: y + place * columns, absolute: absolute) }
        }
      }
    }
    return self.logSumExp == nil ? [y] : [y, logSumExp]
  }

  /// The same after what is appended was written, with turned queries of its own: it may be asked for again and again.
  private func appended() throws -> Attention {
    guard let appending else { return self }
    try appending.write()
    var turned = q
    if let turning = appending.turning, let values = try turning.compute(Double.self).first {
      let row = heads * q.columns
      turned = Tensor(
        shape: q.shape, strides: [q.shape[2] * row, q.columns, row, 1], type: q.type,
        storage: ReferenceStorage(q.type.bytes(q.count)))
      // Token after token, as the rows of q lie.
      try Tensor(shape: [q.count], type: q.type, storage: turned.storage).store(values)
    }
    return Attention(
      q: turned, rows: rows, source: source, options: options, phase: phase, y: y, logSumExp: logSumExp)
  }

  /// Calls `body`, on all cores, with the row of each query of each of `heads`, or with those of them in `rows`.
  func forEachRow<S: ReferenceScalar>(
    _: S.Type, heads: [Int], rows: Set<Int>? = nil, measured: Bool, _ body: (AttentionRow<S>) -> Void
  ) throws {
    let arena = Arena(measured: measured)
    let scores = try AttentionScore<S>(self, arena)
    let distanceValues = try options.positions?.values.map {
      try DistanceTable($0, columns: $0.columns, arena)
    }
    let sinks = try options.sinks?.load()
    let runs = try ragged()
    for b in 0..<batch {
      let memory = Arena(measured: measured)
      let sequence = try sequence(b, rows: runs.rows?[b], keys: runs.keys?[b], memory)
      let keys = scores.prepare(sequence.keys, memory)
      let queries = sequence.queryCount
      let wanted = (0..<heads.count * queries).filter { row in
        rows?.contains(sequence.row(heads[row / queries], row % queries)) != false
      }
      try parallel(wanted.count, grain: 4) { range in
        let scratch = Arena(measured: measured)
        for row in wanted[range] {
          let (head, i) = (row / queries, row % queries)
          let h = heads[head]
          let p = i + sequence.keyCount - queries
          let query = scores.prepare(sequence.queries[h * queries + i], head: h, scratch)
          let firstKey = h / (self.heads / keyHeads) * sequence.existing
          var scored = ScoredKeys<S>(sink: sinks?[h], measured: measured)
          for j in 0..<sequence.existing {
            let pair = Pair(b: b, h: h, i: i, j: j, p: p)
            if let (count, score) = try scores.score(pair, query, keys, row: firstKey + j) {
              scored.append(pair, count, score)
            }
          }
          let weighed =
            switch options.choice {
            case .soft: scored.softmax(scores.focus)
            case .hard: scored.greatest { _ in 0 }
            case .sampled(let seed): scored.greatest { gumbel(seed, $0) }
            }
          body(
            AttentionRow(
              b: b, h: h, i: i, p: p, head: head, number: sequence.row(h, i), weights: weighed.weights,
              logSumExp: weighed.logSumExp, values: sequence.values, firstKey: firstKey,
              distanceValues: distanceValues))
        }
        withExtendedLifetime(scratch) {}
      }
      withExtendedLifetime(memory) {}
    }
    withExtendedLifetime(arena) {}
  }
}

/// One query of one head, and what it makes of its keys.
struct AttentionRow<S: ReferenceScalar> {
  let b: Int
  let h: Int
  let i: Int
  let p: Int
  /// Which of the heads asked for h is.
  let head: Int
  /// Which row of y and of the log-sum-exp this is.
  let number: Int
  /// The keys that take part and what each weighs; where terms are measured, the sizes of that.
  let weights: [(j: Int, weight: S)]
  let logSumExp: S
  fileprivate let values: Vectors
  fileprivate let firstKey: Int
  fileprivate let distanceValues: DistanceTable?

  /// y += Σ weight · (v + the value of the distance), with `absolute` of their magnitudes.
  func addValues(to y: UnsafeMutablePointer<S>, absolute: Bool = false) {
    func add(_ weight: S, _ value: Vector) {
      if absolute {
        for d in 0..<value.count { y[d] += weight * S(abs(value.values[d])) }
      } else {
        S.add(weight, value.sizes ?? value.values, to: y, value.count)
      }
    }
    for (j, weight) in weights {
      add(weight, values[firstKey + j])
      if let distanceValues { add(weight, distanceValues[h, j - p]) }
    }
  }
}

/// The keys that take part in one query, how often each counts, and its score, which is not −∞.
struct ScoredKeys<S: ReferenceScalar> {
  private let sink: S
  private let measured: Bool
  private var pairs: [Pair] = []
  private var counts: [S] = []
  private var scores: [Sized<S>] = []

  init(sink: Double?, measured: Bool) {
    self.sink = sink.map { S($0) } ?? -.infinity
    self.measured = measured
  }

  mutating func append(_ pair: Pair, _ count: Double, _ score: Sized<S>) {
    pairs.append(pair)
    counts.append(S(count))
    scores.append(score)
  }

  typealias Weighed = (weights: [(j: Int, weight: S)], logSumExp: S)

  /// n·e^score / Σ and ln Σ, where Σ = Σ n·e^score + e^sink, the greatest exponent taken off first because e^x
  /// overflows; then the focus's factor.
  func softmax(_ focus: FocusWindow?) -> Weighed {
    if pairs.isEmpty { return ([], measured ? (sink.isFinite ? abs(sink) : 0) : sink) }
    let greatest = scores.reduce(sink) { $0 < $1.value ? $1.value : $0 }
    let exponentials = zip(counts, scores).map { n, score in n * S.exp(score.value - greatest) }
    let sinkExponential = sink == -.infinity ? 0 : S.exp(sink - greatest)
    let sum = exponentials.total() + sinkExponential
    let logSumExp = S.log(sum) + greatest

    var weights = exponentials.map { $0 / sum }
    var size = abs(logSumExp)
    if measured {
      for (k, score) in scores.enumerated() where weights[k] != 0 {
        weights[k] *= 1 + abs(score.value - greatest) + S(score.size)
      }
      size += weights.total()
      if sinkExponential > 0 { size += sinkExponential / sum * (1 + abs(sink - greatest) + abs(sink)) }
    }
    if let focus, focus.isGaussian {
      for (k, pair) in pairs.enumerated() {
        let exponent = S(focus.exponent(pair))
        weights[k] *= S.exp(exponent) * (measured ? 1 - exponent : 1)
      }
    }
    return (zip(pairs, weights).map { ($0.j, $1) }, measured ? size : logSumExp)
  }

  /// All weight on the key with the greatest score + ln n + noise, the first of equals; NaN where one of them is.
  func greatest(_ noise: (Pair) -> Double) -> Weighed {
    var best: (j: Int, rank: S)?
    for (k, pair) in pairs.enumerated() {
      let rank = scores[k].value + S.log(counts[k]) + S(noise(pair))
      if rank.isNaN { return ([(pair.j, .nan)], .nan) }
      if let best, rank <= best.rank { continue }
      best = (pair.j, rank)
    }
    return (best.map { [($0.j, S(1))] } ?? [], .nan)
  }
}

/// Noise g = −ln(−ln u) for one pair, with u in (0, 1) from 24 bits of a hash that all devices compute alike.
///
/// The key with the greatest score + g is drawn with the softmax's probability (Gumbel 1954). The hash mixes as
/// Wellons' lowbias32 does.
func gumbel(_ seed: UInt64, _ pair: Pair) -> Double {
  func mix(_ value: UInt32) -> UInt32 {
    var x = value
    x ^= x >> 16
    x = x &* 0x7feb_352d
    x ^= x >> 15
    x = x &* 0x846c_a68b
    return x ^ (x >> 16)
  }
  func number(_ n: Int) -> UInt32 { UInt32(truncatingIfNeeded: n + 1) }
  var x = mix(UInt32(truncatingIfNeeded: seed))
  x = mix(x ^ UInt32(truncatingIfNeeded: seed >> 32))
  x = mix(x &+ 0x9e37_79b9 &* number(pair.h))
  x = mix(x &+ 0x85eb_ca6b &* number(pair.p))
  x = mix(x &+ 0xc2b2_ae35 &* number(pair.j))
  return -Double.log(-Double.log((Double(x >> 8) + 0.5) * 0x1p-24))
}
