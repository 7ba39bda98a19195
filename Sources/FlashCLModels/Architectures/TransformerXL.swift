import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Transformer-XL: a language model that moves by whole segments and attends to the hidden states of the ones before.
///
///     score(i, j) = ((q_i + u) · k_j + (q_i + v) · W_r e(i − j)) / √size,   j ≤ i, keys of memory and segment
///     h = layerNorm(h + W_o · attention(h)),   h = layerNorm(h + down(relu(up(h))))
///     log p(token of tail c) = log softmax(head)[c] + log softmax(tail c)[token]
///
/// Rare tokens have narrower embeddings (`cutoffs`, `div_val`) and are predicted in two steps, the tail and the token in it.
/// The memory has `mem_len` tokens; a first segment has zeros there, which take part as any others: that is how
/// `transformers` begins. It is no bidirectional encoder, but answers as one does: states of a sequence, scores of states.
/// Source: Dai et al. 2019.
public final class TransformerXL: TextEncoder {
  private struct Layer {
    let query: Weight  // [heads · size, width]
    let keyValue: Weight  // [2 · heads · size, width]
    let distance: Weight  // [heads · size, width]
    let contentBias, positionBias: Tensor  // [heads, size]
    let out: PostNorm
    let feedForward: FeedForward
  }

  /// Tokens of similar frequency: `tokens.lowerBound` is the id of the first row.
  private struct Cluster {
    let tokens: Range<Int>
    let table: Weight  // [tokens, embedding width]
    let projection: Weight?  // [width, embedding width]
  }

  /// Logits of one cluster's tokens: W · (Pᵀ x) + b.
  private struct Output {
    let projection: Weight?  // [embedding width, width]
    let weight: Weight  // [tokens, embedding width]
    let bias: Tensor  // [tokens]
  }

  public let backend: any Backend
  public let vocabularySize: Int
  public let width: Int
  public var contextLength: Int { 1 << 20 }
  public var task: EncoderTask? { nil }
  public var labels: [String] { [] }
  public var summary: SummaryToken { .last }
  public var segmentCount: Int { 1 }
  /// Tokens of earlier segments that are kept.
  public let memoryLength: Int
  private let heads, size: Int
  private let layers: [Layer]
  private let clusters: [Cluster]
  private let outputs: [Output]  // of each cluster; empty where the file has no head
  /// The tails themselves, beside the first cluster's tokens.
  private let tails: (weight: Weight, bias: Tensor)?  // [clusters - 1, embedding width], [clusters - 1]
  private let clamp: Int?
  private let isSameLength: Bool

  static let names = ["TransfoXLModel", "TransfoXLLMHeadModel"]

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let width = try c.size("d_model")
    let (heads, size) = (try c.size("n_head"), try c.size("d_head"))
    (self.width, self.heads, self.size) = (width, heads, size)
    guard width % 2 == 0 else { throw c.error("the setting d_model is \(width), expected an even number") }
    if try c.flag("pre_lnorm", default: false) { throw c.error("the setting pre_lnorm is not supported") }
    guard try c.count("attn_type", default: 0) == 0 else { throw c.error("attn_type is not 0") }
    clamp = try c.limit("clamp_len")
    memoryLength = try c.count("mem_len", default: 1600)
    guard memoryLength <= 1 << 20 else {
      throw c.error("the setting mem_len is \(memoryLength), expected at most \(1 << 20)")
    }
    isSameLength = try c.flag("same_length", default: true)
    let epsilon = try c.number("layer_norm_epsilon", default: 1e-5)
    let inner = try c.size("d_inner")
    let prefix = c.has("transformer.word_emb.emb_layers.0.weight") ? "transformer." : ""

    // The adaptive embedding and softmax
    let vocabulary = try c.size("vocab_size")
    vocabularySize = vocabulary
    let embedded = try c.size("d_embed", default: width)
    let divisor = try c.size("div_val", default: 4)
    let ends = (c["cutoffs"]?.array?.compactMap(\.int) ?? []) + [vocabulary]
    guard zip([0] + ends, ends).allSatisfy({ $0 < $1 }) else {
      throw c.error("the setting cutoffs does not rise to the vocabulary of \(vocabulary)")
    }
    let ranges = zip([0] + ends, ends).map { $0..<$1 }
    let widths = try ranges.indices.map { n in
      let narrow = (0..<n).reduce(embedded) { width, _ in width / divisor }
      guard narrow > 0 else { throw c.error("the embeddings of cluster \(n) have no elements") }
      return narrow
    }
    let tables = "\(prefix)word_emb.emb_layers"
    let projections = "\(prefix)word_emb.emb_projs"
    if divisor == 1 {
      // One table and one projection serve all.
      clusters = [
        Cluster(
          tokens: 0..<vocabulary, table: try c.weight("\(tables).0.weight", [vocabulary, embedded]),
          projection: embedded == width ? nil : try c.weight("\(projections).0", [width, embedded]))
      ]
    } else {
      clusters = try ranges.enumerated().map { n, tokens in
        Cluster(
          tokens: tokens, table: try c.weight("\(tables).\(n).weight", [tokens.count, widths[n]]),
          projection: try c.weight("\(projections).\(n)", [width, widths[n]]))
      }
    }
    if c.architecture == "TransfoXLLMHeadModel" {
      outputs = try ranges.enumerated().map { n, tokens in
        try Self.output(
          c, on: backend, n, tokens, vocabulary: vocabulary, width: width, embedded: widths[n],
          divisor: divisor,
          tables: tables, projections: projections)
      }
      tails =
        ranges.count == 1
        ? nil
        : (
          try c.weight("crit.cluster_weight", [ranges.count - 1, embedded]),
          try c.vector("crit.cluster_bias", ranges.count - 1)
        )
    } else {
      (outputs, tails) = ([], nil)
    }

    let layerCount = try c.size("n_layer")
    layers = try (0..<layerCount).map { n in
      defer { c.progress?(Double(n + 1) / Double(layerCount)) }
      let attention = "\(prefix)layers.\(n).dec_attn"
      let forward = "\(prefix)layers.\(n).pos_ff"
      let qkv = try c.floats("\(attention).qkv_net.weight", [3 * heads * size, width])
      let split = heads * size * width
      func bias(_ name: String) throws -> Tensor {
        let own = "\(attention).\(name)"
        return try c.tensor(c.has(own) ? own : "\(prefix)\(name)", [heads, size])
      }
      return Layer(
        query: try c.weight([Float](qkv[..<split]), named: attention, [heads * size, width]),
        keyValue: try c.weight([Float](qkv[split...]), named: attention, [2 * heads * size, width]),
        distance: try c.weight("\(attention).r_net.weight", [heads * size, width]),
        contentBias: try bias("r_w_bias"), positionBias: try bias("r_r_bias"),
        out: PostNorm(
          weight: try c.weight("\(attention).o_net.weight", [width, heads * size]), bias: nil,
          norm: try c.norm("\(attention).layer_norm", width), epsilon: epsilon),
        feedForward: try FeedForward(
          c, up: "\(forward).CoreNet.0", down: "\(forward).CoreNet.3", norm: "\(forward).layer_norm",
          width: width, inner: inner, activation: .relu, epsilon: epsilon))
    }
  }

  /// What the file has of cluster n's output; a tied one stands under the embedding's name.
  private static func output(
    _ c: Checkpoint, on backend: any Backend, _ n: Int, _ tokens: Range<Int>, vocabulary: Int, width: Int,
    embedded: Int, divisor: Int,
    tables: String, projections: String
  ) throws -> Output {
    func name(_ own: String, _ tied: String) -> String { c.has(own) ? own : tied }
    let source = divisor == 1 ? 0 : n
    let projection =
      divisor == 1 && embedded == width
      ? nil
      : try c.weight(
        name("crit.out_projs.\(n)", "\(projections).\(source)"), [embedded, width], order: .inputsByOutputs)
    let weight = name("crit.out_layers.\(source).weight", "\(tables).\(source).weight")
    let bias = "crit.out_layers.\(source).bias"
    if divisor > 1 {
      return Output(
        projection: projection, weight: try c.weight(weight, [tokens.count, embedded]),
        bias: try c.vector(bias, tokens.count))
    }
    let rows = try c.floats(weight, [vocabulary, embedded])
    let biases = try c.floats(bias, [vocabulary])
    let part = [Float](rows[tokens.lowerBound * embedded..<tokens.upperBound * embedded])
    return Output(
      projection: projection, weight: try c.weight(part, named: weight, [tokens.count, embedded]),
      bias: try backend.tensor([Float](biases[tokens]), [tokens.count]))
  }

  // MARK: - Running

  public func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor {
    try hidden(batch, memory: nil, observe: observe).states
  }

  /// Hidden states of a segment of each sequence, `[tokens, width]`, and the memory for its next segment.
  public func hidden(_ batch: TokenBatch, memory: SegmentMemory?, observe: Observer? = nil) throws -> (
    states: Tensor, memory: SegmentMemory
  ) {
    let packed = try pack(batch, segments: segmentCount)
    let plan = try SegmentPlan(
      memory ?? empty(packed.lengths.count), lengths: packed.lengths, layers: layers.count,
      limit: memoryLength, on: backend)
    let runs = AttentionRun.list(queries: packed.lengths, keys: plan.keyLengths)
    let distances = try DistanceKeys(
      longest: plan.keyLengths.max() ?? 1, width: width, heads: heads, clamp: clamp, on: backend)
    var x = try embedding(batch)
    try observe?("embedding", x)
    var kept: [Tensor?] = []
    for (n, layer) in layers.enumerated() {
      let joined = try plan.join(x, layer: n, on: backend)
      kept.append(joined.kept)
      let q = try backend.linear(x, layer.query, phase: .prefill)
      let keyValue = try backend.linear(joined.keys, layer.keyValue, phase: .prefill)
      let keys = try distances(layer.distance, on: backend)
      let attended = try backend.attention(
        q, keyValue.slice(1, 0..<heads * size), keyValue.slice(1, heads * size..<2 * heads * size),
        heads: heads, runs
      ) { _, run in
        // Every query with the same number of keys, where there are more than the memory has.
        let isCut = isSameLength && memoryLength > 0 && run.keyCount > memoryLength
        return AttentionOptions(
          mask: isCut ? .window(left: memoryLength - 1, right: 0) : .causal(.lowerRight),
          positions: RelativePositions(
            contentBias: layer.contentBias, positionBias: layer.positionBias, keys: keys))
      }
      x = try layer.feedForward(layer.out(attended, plus: x, on: backend), on: backend)
      try observe?("layer \(n)", x)
    }
    return (x, plan.next(kept))
  }

  /// The memory before the first segment: zeros.
  private func empty(_ sequences: Int) throws -> SegmentMemory {
    let count = sequences * memoryLength
    let zeros = try backend.tensor([Float](repeating: 0, count: count * width), [count, width])
    return SegmentMemory(
      states: count == 0 ? [] : layers.map { _ in zeros },
      lengths: [Int](repeating: memoryLength, count: sequences))
  }

  /// √width · (the token's own, narrow embedding, widened), cluster by cluster and then in the tokens' order.
  private func embedding(_ batch: TokenBatch) throws -> Tensor {
    let ids = batch.sequences.flatMap { $0 }
    var order = [Int32](repeating: 0, count: ids.count)
    var (all, count): (Tensor?, Int) = (nil, 0)
    for cluster in clusters {
      let places = ids.indices.filter { cluster.tokens.contains(Int(ids[$0])) }
      if places.isEmpty { continue }
      for place in places {
        order[place] = Int32(count)
        count += 1
      }
      let rows = places.map { ids[$0] - Int32(cluster.tokens.lowerBound) }
      var part = try backend.embedding(
        backend.tensor(rows, [rows.count]), table: cluster.table, scale: Float(width).squareRoot())
      if let projection = cluster.projection { part = try backend.linear(part, projection, phase: .prefill) }
      all = try all.map { try backend.stacked($0, part) } ?? part
    }
    guard let all else { throw ModelError("there are no tokens to encode") }
    return try backend.gather(all, rows: backend.tensor(order, [order.count]))
  }

  // MARK: - The adaptive softmax

  /// Logarithms of the probabilities of every token, `[rows, vocabulary]`, made of the logits on the host.
  public func scores(_ rows: Tensor) throws -> Tensor {
    guard let first = outputs.first else {
      throw ModelError("the model has no head: it gives hidden states only")
    }
    func logits(_ output: Output) throws -> (states: Tensor, logits: [Float]) {
      let states = try output.projection.map { try backend.linear(rows, $0, phase: .prefill) } ?? rows
      return (
        states, try backend.floats(backend.linear(states, output.weight, bias: output.bias, phase: .prefill))
      )
    }
    let head = try logits(first)
    let tailLogits = try tails.map {
      try backend.floats(backend.linear(head.states, $0.weight, bias: $0.bias, phase: .prefill))
    }
    let others = try outputs.dropFirst().map { try logits($0).logits }
    var scores: [Float] = []
    scores.reserveCapacity(rows.rows * vocabularySize)
    for row in 0..<rows.rows {
      func part(_ all: [Float]) -> [Float] {
        let count = all.count / rows.rows
        return [Float](all[row * count..<(row + 1) * count])
      }
      let own = part(head.logits)
      let near = Self.logSoftmax(own + (tailLogits.map(part) ?? []))
      scores += near.prefix(own.count)
      for (n, other) in others.enumerated() {
        scores += Self.logSoftmax(part(other)).map { near[own.count + n] + $0 }
      }
    }
    return try backend.tensor(scores, [rows.rows, vocabularySize])
  }

  private static func logSoftmax(_ logits: [Float]) -> [Float] {
    let top = Double(logits.max() ?? 0)
    let sum = logits.reduce(0) { $0 + exp(Double($1) - top) }
    return logits.map { Float(Double($0) - top - log(sum)) }
  }
}
