import FlashCL

/// XLNet: relative positions, memories of earlier segments, and a second stream of queries that do not see their own token.
///
///     score(i, j) = ((q_i + u) · k_j + (q_i + v) · W_r e(p − j) + (q_i + w) · s[segments of i and j differ]) / √size
///     h = layerNorm(h + W_o · attention(h; keys of memory and h)),   h = layerNorm(h + down(activation(up(h))))
///     g = the same with queries of g and keys of h, where g begins as one trained vector for every place
///
/// The content stream h reads a token at each place; the query stream g, computed where targets are asked for, knows its
/// place alone and is what predicts it. Segments are compared, not embedded. Source: Yang et al. 2019.
public final class XLNet: TextEncoder {
  private struct Layer {
    let query: Weight  // [heads · size, width]
    let keyValue: Weight  // [2 · heads · size, width]
    let distance: Weight  // [heads · size, width]
    let contentBias, positionBias: Tensor  // [heads, size]
    /// (q + w) · s, scaled, as a projection of the states: row 2 · head + (0: same segment, 1: another).
    let segment: Weight  // [2 · heads, width]
    let segmentBias: Tensor  // [2 · heads]
    let out: PostNorm
    let feedForward: FeedForward
  }

  public let backend: any Backend
  public let vocabularySize: Int
  public let width: Int
  public let labels: [String]
  public let summary: SummaryToken
  /// Segments are compared, not looked up: any number is one.
  public var segmentCount: Int { Int(Int32.max) }
  /// Distances have no end; this is what attention serves.
  public var contextLength: Int { 1 << 20 }
  public var task: EncoderTask? { head?.task }
  private let heads: Int
  private let tokens: Weight  // [vocabulary, width]
  private let target: Tensor  // [1, width], where g begins
  private let layers: [Layer]
  private let head: ScoringHead?
  private let isCausal: Bool
  private let clamp, memoryLength, reuseLength: Int?

  static let names = [
    "XLNetModel", "XLNetLMHeadModel", "XLNetForSequenceClassification", "XLNetForTokenClassification",
    "XLNetForQuestionAnsweringSimple",
  ]

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let width = try c.size("d_model")
    let heads = try c.size("n_head")
    guard width % heads == 0, width % 2 == 0 else {
      throw c.error("width \(width) is no even multiple of \(heads) heads")
    }
    (self.width, self.heads) = (width, heads)
    let inner = try c.size("d_inner")
    let epsilon = try c.number("layer_norm_eps", default: 1e-12)
    let activation = try c.activation("ff_activation")
    labels = try c.labels()
    try c.require("attn_type", ["bi", "uni"])
    isCausal = c["attn_type"]?.string == "uni"
    for name in ["bi_data", "same_length"] where try c.flag(name, default: false) {
      throw c.error("the setting \(name) is not supported")
    }
    clamp = try c.limit("clamp_len")
    (memoryLength, reuseLength) = (try c.limit("mem_len"), try c.limit("reuse_len"))

    let prefix = c.has("transformer.word_embedding.weight") ? "transformer." : ""
    let vocabulary = try c.rows("\(prefix)word_embedding.weight", columns: width)
    vocabularySize = vocabulary
    tokens = try c.weight("\(prefix)word_embedding.weight", [vocabulary, width])
    target = try c.tensor("\(prefix)mask_emb", [1, 1, width]).reshaped([1, width])
    let layerCount = try c.size("n_layer")
    layers = try (0..<layerCount).map { n in
      defer { c.progress?(Double(n + 1) / Double(layerCount)) }
      return try Self.layer(
        c, on: backend, "\(prefix)layer.\(n)", width: width, heads: heads, inner: inner, activation, epsilon)
    }

    let names: ScoringHead.Names?
    switch c.architecture.dropFirst("XLNet".count) {
    case "LMHeadModel": names = .init(.maskedToken, "lm_loss")
    case "ForSequenceClassification":
      try c.require("summary_type", ["last", "first"])
      guard try c.flag("summary_use_proj", default: true) else {
        throw c.error("a summary without its projection (summary_use_proj) is not supported")
      }
      names = .init(
        .sequence, "logits_proj", dense: "sequence_summary.summary",
        c["summary_activation"]?.isNull ?? false ? Activation.none : try c.activation("summary_activation"))
    case "ForTokenClassification": names = .init(.token, "classifier")
    case "ForQuestionAnsweringSimple": names = .init(.span, "qa_outputs")
    default: names = nil
    }
    summary = c["summary_type"]?.string == "first" ? .first : .last
    head = try names.map { [tokens, labels] names in
      let isMasked = names.task == .maskedToken
      return try ScoringHead(
        c, names, width: width, classes: isMasked ? vocabulary : max(labels.count, 1),
        activation: activation, epsilon: epsilon, tied: isMasked ? tokens : nil)
    }
  }

  private static func layer(
    _ c: Checkpoint, on backend: any Backend, _ prefix: String, width: Int, heads: Int, inner: Int,
    _ activation: Activation, _ epsilon: Float
  ) throws -> Layer {
    let size = width / heads
    let attention = "\(prefix).rel_attn"
    let stored = [width, heads, size]
    func projection(_ names: String...) throws -> Weight {
      try c.stacked(
        names.map { "\(attention).\($0)" }, stored: stored, outputs: width, inputs: width,
        order: .inputsByOutputs)
    }

    // The segments' term of a query, (W_q x + w) · s / √size, is linear in x: one small projection.
    let q = try c.floats("\(attention).q", stored)
    let bias = try c.floats("\(attention).r_s_bias", [heads, size])
    let segments = try c.floats("\(attention).seg_embed", [2, heads, size])
    let scale = 1 / Float(size).squareRoot()
    var weight = [Float](repeating: 0, count: 2 * heads * width)
    var offset = [Float](repeating: 0, count: 2 * heads)
    for head in 0..<heads {
      for kind in 0..<2 {
        let row = 2 * head + kind
        for d in 0..<size {
          let s = scale * segments[(kind * heads + head) * size + d]
          offset[row] += bias[head * size + d] * s
          for input in 0..<width { weight[row * width + input] += q[(input * heads + head) * size + d] * s }
        }
      }
    }
    return Layer(
      query: try projection("q"), keyValue: try projection("k", "v"), distance: try projection("r"),
      contentBias: try c.tensor("\(attention).r_w_bias", [heads, size]),
      positionBias: try c.tensor("\(attention).r_r_bias", [heads, size]),
      segment: try c.weight(weight, named: "\(attention).seg_embed", [2 * heads, width]),
      segmentBias: try backend.tensor(offset, [2 * heads]),
      out: PostNorm(
        weight: try c.stacked(
          ["\(attention).o"], stored: stored, outputs: width, inputs: width, order: .outputsByInputs),
        bias: nil, norm: try c.norm("\(attention).layer_norm", width), epsilon: epsilon),
      feedForward: try FeedForward(
        c, up: "\(prefix).ff.layer_1", down: "\(prefix).ff.layer_2", norm: "\(prefix).ff.layer_norm",
        width: width, inner: inner, activation: activation, epsilon: epsilon))
  }

  // MARK: - Running

  public func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor {
    try hidden(batch, hidden: nil, targets: nil, memory: nil, observe: observe).states
  }

  /// Hidden states with what `transformers` calls perm_mask, target_mapping and mems, and the memory that is left.
  ///
  /// - Parameters:
  ///   - hidden: for each sequence of L tokens L · L switches, row-major: true where token i must not see token j. The
  ///     content stream sees its own token nevertheless. A query that may see nothing, no memory either, attends to
  ///     nothing.
  ///   - targets: for each sequence the places to predict; the result is then the query stream's, `[targets, width]` in
  ///     this order, else the content stream's `[tokens, width]`.
  ///   - memory: what the segments before left. Its tokens count as of segment 0.
  public func hidden(
    _ batch: TokenBatch, hidden: [[Bool]]?, targets: [[Int]]? = nil, memory: SegmentMemory? = nil,
    observe: Observer? = nil
  ) throws -> (states: Tensor, memory: SegmentMemory) {
    let packed = try pack(batch, segments: segmentCount)
    let plan = try SegmentPlan(
      memory, lengths: packed.lengths, layers: layers.count, reuse: reuseLength, limit: memoryLength,
      on: backend)
    let targetRows = try targets.map { try rows(of: $0, batch) }
    let runs = AttentionRun.list(queries: packed.lengths, keys: plan.keyLengths)
    let content = try runs.map { try mask($0, hidden, packed.lengths, seesItself: true) }
    let query = targets == nil ? [] : try runs.map { try mask($0, hidden, packed.lengths, seesItself: false) }
    let segments = try batch.segments.map { try Segments($0, packed, plan.keyLengths, runs, on: backend) }
    let distances = try DistanceKeys(
      longest: plan.keyLengths.max() ?? 1, width: width, heads: heads, clamp: clamp, on: backend)

    var h = try backend.embedding(packed.ids, table: tokens)
    var g = try targets.map { _ in
      try backend.gather(
        target, rows: backend.tensor([Int32](repeating: 0, count: h.rows), [h.rows]))
    }
    try observe?("embedding", h)
    var kept: [Tensor?] = []
    for (n, layer) in layers.enumerated() {
      let joined = try plan.join(h, layer: n, on: backend)
      kept.append(joined.kept)
      let keyValue = try backend.linear(joined.keys, layer.keyValue, phase: .prefill)
      let keys = try distances(layer.distance, on: backend)
      func stream(_ x: Tensor, _ masks: [AttentionMask]) throws -> Tensor {
        let q = try backend.linear(x, layer.query, phase: .prefill)
        let terms = try segments.map { _ in
          try backend.linear(x, layer.segment, bias: layer.segmentBias, phase: .prefill)
        }
        // Distances are not served over ragged queries: sequences of equal lengths share a call.
        let attended = try backend.attention(
          q, keyValue.slice(1, 0..<width), keyValue.slice(1, width..<2 * width), heads: heads, runs
        ) { index, run in
          var options = AttentionOptions(mask: masks[index])
          options.positions = RelativePositions(
            contentBias: layer.contentBias, positionBias: layer.positionBias, keys: keys)
          if let segments, let terms {
            options.scoreMod = segments.term(index, terms.slice(0, run.queries), heads: heads)
          }
          return options
        }
        return try layer.feedForward(layer.out(attended, plus: x, on: backend), on: backend)
      }
      let next = try stream(h, content)
      g = try g.map { try stream($0, query) }
      h = next
      try observe?("layer \(n)", h)
    }
    guard let g, let targetRows else { return (h, plan.next(kept)) }
    return (try backend.gather(g, rows: targetRows), plan.next(kept))
  }

  private func rows(of targets: [[Int]], _ batch: TokenBatch) throws -> Tensor {
    guard targets.count == batch.sequences.count else {
      throw ModelError("targets are given for \(targets.count) sequences, not for \(batch.sequences.count)")
    }
    guard targets.contains(where: { !$0.isEmpty }) else { throw ModelError("there are no targets") }
    let rows = try zip(targets, batch.ranges).flatMap { list, range in
      try list.map { place in
        guard (0..<range.count).contains(place) else {
          throw ModelError("target \(place) is outside its sequence of \(range.count)")
        }
        return Int32(range.lowerBound + place)
      }
    }
    return try backend.tensor(rows, [rows.count])
  }

  /// What a run's tokens see: everything, or their past; of that what is not hidden, and themselves.
  private func mask(_ run: AttentionRun, _ hidden: [[Bool]]?, _ lengths: [Int], seesItself: Bool) throws
    -> AttentionMask
  {
    let order: AttentionMask = isCausal ? .causal(.lowerRight) : .all
    guard let hidden else { return order }
    guard hidden.map(\.count) == lengths.map({ $0 * $0 }) else {
      throw ModelError(
        "permutation masks have \(hidden.map(\.count)) switches, expected \(lengths.map { $0 * $0 })")
    }
    let (queries, memory) = (run.queryCount, run.keyCount - run.queryCount)
    var keeps: [UInt8] = []
    for sequence in run.sequences {
      for i in 0..<queries {
        keeps += [UInt8](repeating: 1, count: memory)
        keeps += (0..<queries).map { j in
          !hidden[sequence][i * queries + j] || (seesItself && i == j) ? 1 : 0
        }
      }
    }
    let tensor = try backend.allocate([run.sequences.count, 1, queries, run.keyCount], .bool)
    try keeps.withUnsafeBytes { try backend.write($0, to: tensor) }
    return order.and(.tensor(tensor))
  }

  public func scores(_ rows: Tensor) throws -> Tensor {
    guard let head else { throw ModelError("the model has no head: it gives hidden states only") }
    return try head.scores(rows, on: backend)
  }
}

/// The segments of queries and keys, and the term of the score that compares them.
private struct Segments {
  private struct Part {
    let own: Tensor  // [queries] i32
    let others: Tensor  // [keys] i32
    let lengths: Tensor  // [2] i32: queries and keys of one sequence
  }

  private let parts: [Part]

  init(
    _ segments: [[Int32]], _ batch: PackedTokens, _ keyLengths: [Int], _ runs: [AttentionRun],
    on backend: any Backend
  ) throws {
    let all = zip(segments, keyLengths).flatMap { list, count in
      [Int32](repeating: 0, count: count - list.count) + list
    }
    let keys = try backend.tensor(all, [all.count])
    parts = try runs.map { run in
      Part(
        own: batch.segments.slice(0, run.queries), others: keys.slice(0, run.keys),
        lengths: try backend.tensor([Int32(run.queryCount), Int32(run.keyCount)], [2]))
    }
  }

  /// `terms` `[queries, 2 · heads]`: what a query adds to keys of its segment, and to those of another.
  func term(_ run: Int, _ terms: Tensor, heads: Int) -> ScoreExpression {
    let part = parts[run]
    return ScoreExpression(
      "score + terms[((b * lengths[0] + i) * \(heads) + h) * 2"
        + " + (own[b * lengths[0] + i] != others[b * lengths[1] + j])]",
      constants: ["terms": terms, "own": part.own, "others": part.others, "lengths": part.lengths])
  }
}
