import FlashCL

/// Neighbouring sequences of a batch with equal lengths, which one dense call computes.
///
/// For attention whose options speak of one length, or of one sequence: a pattern of blocks, a mask for each pair of
/// tokens, a table of distances that meets the keys. Everything else is ragged.
struct AttentionRun {
  let sequences: Range<Int>
  let queries: Range<Int>  // rows
  let keys: Range<Int>  // rows

  /// Of one sequence.
  var queryCount: Int { queries.count / sequences.count }
  var keyCount: Int { keys.count / sequences.count }

  /// The runs of sequences of these lengths; `alone` puts each into one of its own.
  static func list(queries: [Int], keys: [Int]? = nil, alone: Bool = false) -> [AttentionRun] {
    let keys = keys ?? queries
    var runs: [AttentionRun] = []
    var (first, firstQuery, firstKey) = (0, 0, 0)
    for next in 1...queries.count {
      let goes =
        next < queries.count && queries[next] == queries[first] && keys[next] == keys[first] && !alone
      if goes { continue }
      let (nextQuery, nextKey) = (
        firstQuery + (next - first) * queries[first], firstKey + (next - first) * keys[first]
      )
      runs.append(
        AttentionRun(sequences: first..<next, queries: firstQuery..<nextQuery, keys: firstKey..<nextKey))
      (first, firstQuery, firstKey) = (next, nextQuery, nextKey)
    }
    return runs
  }
}

extension Backend {
  /// Attention run by run, `options` for each: q `[query rows, heads · size]`, k and v `[key rows, heads · size]` give `[query rows, heads · size]`.
  func attention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, _ runs: [AttentionRun],
    _ options: (_ index: Int, AttentionRun) throws -> AttentionOptions
  ) throws -> Tensor {
    let y = try allocate([q.rows, v.columns], q.type)
    for (index, part) in runs.enumerated() {
      func rows(_ x: Tensor, _ range: Range<Int>) -> Tensor {
        x.slice(0, range).heads(heads, batch: part.sequences.count)
      }
      try run(
        Attention(
          q: rows(q, part.queries), source: .dense(keys: rows(k, part.keys), values: rows(v, part.keys)),
          options: options(index, part), phase: .prefill, y: rows(y, part.queries)))
    }
    return y
  }
}
