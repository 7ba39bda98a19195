import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// DeBERTa, versions 2 and 3: BERT with disentangled attention, where content and distance meet in terms of their own.
///
///     score(i, j) = (q_i · k_j + q_i · K[b(i − j)] + k_j · Q[b(i − j)]) / √(3 · size)
///     K = P · W_k,   Q = P · W_q,   P the (normalised) table of relative embeddings, [2 · span, width]
///     b(d) = clamp(bucket(d) + span, 0, 2 · span − 1): near distances are exact, far ones share logarithmic buckets
///
/// Terms that the file's `pos_att_type` does not name are left out, and the 3 counts those that are there. Some files add a
/// convolution over the embeddings to the first layer: x = layerNorm(x + activation(conv(embeddings))). Sources: He et al.
/// 2021 (DeBERTa); He, Gao, Chen 2021 (version 3).
public final class DebertaV2: TextEncoder {
  private struct Layer {
    let base: EncoderLayer
    /// Keys and queries of buckets, row bucket · heads + head.
    let keys, queries: Tensor?  // [2 · span · heads, size]
  }

  /// out[t] = activation(Σ_s W_s · x[t + s − size / 2] + b), nothing beyond a sequence's ends.
  private struct Convolution {
    let size: Int
    let weight: Weight  // [width, size · width]
    let bias: Tensor  // [width]
    let activation: Activation
    let norm: (gain: Tensor, bias: Tensor)  // [width]
  }

  public let backend: any Backend
  public let contextLength: Int
  public let labels: [String]
  public var vocabularySize: Int { embeddings.tokens.outputs }
  public var width: Int { size.width }
  public var task: EncoderTask? { head?.task }
  public var summary: SummaryToken { .first }
  public var segmentCount: Int { embeddings.kinds }
  private let size: EncoderLayer.Size
  private let embeddings: InputEmbeddings
  private let layers: [Layer]
  private let convolution: Convolution?
  private let head: ScoringHead?
  private let scale: Float
  private let buckets: DistanceBuckets

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let size = try EncoderLayer.Size(c)
    self.size = size
    labels = try c.labels()
    contextLength = try c.size("max_position_embeddings")
    let prefix = c.has("deberta.embeddings.word_embeddings.weight") ? "deberta." : ""
    embeddings = try InputEmbeddings(
      c, "\(prefix)embeddings", width: size.width, inner: try c.size("embedding_size", default: size.width),
      places: try c.flag("position_biased_input", default: true) ? contextLength : nil,
      hasSegments: try c.count("type_vocab_size", default: 0) > 0)

    // Relative attention: which terms there are, and the table of distances' embeddings.
    let headSize = try c.size("attention_head_size", default: size.width / size.heads)
    let attended = headSize * size.heads
    let terms = c["pos_att_type"]?.array?.compactMap(\.string) ?? [c["pos_att_type"]?.string ?? ""]
    let (hasKeys, hasQueries) = (
      terms.contains { $0.contains("c2p") }, terms.contains { $0.contains("p2c") }
    )
    scale = 1 / Float(headSize * (1 + (hasKeys ? 1 : 0) + (hasQueries ? 1 : 0))).squareRoot()
    buckets = DistanceBuckets(
      count: try c.limit("position_buckets"),
      longest: try c.limit("max_relative_positions") ?? contextLength)
    let rows = 2 * buckets.span
    var relative: Tensor?
    if try c.flag("relative_attention", default: false), hasKeys || hasQueries {
      guard (1...1 << 20).contains(rows) else { throw c.error("there are \(rows) relative embeddings") }
      var table = try c.tensor("\(prefix)encoder.rel_embeddings.weight", [rows, size.width])
      if c["norm_rel_ebd"]?.string?.contains("layer_norm") == true {
        let norm = try c.norm("\(prefix)encoder.LayerNorm", size.width)
        table = try backend.layerNorm(table, gain: norm.gain, bias: norm.bias, epsilon: size.epsilon)
      }
      relative = table
    }
    let isShared = try c.flag("share_att_key", default: false)

    let layerCount = try c.size("num_hidden_layers")
    layers = try (0..<layerCount).map { n in
      let name = "\(prefix)encoder.layer.\(n)"
      /// The table's embeddings as a projection sees them.
      func projected(_ own: String, _ shared: String) throws -> Tensor? {
        guard let relative else { return nil }
        let projection = "\(name).attention.self.\(isShared ? shared : own)"
        let y = try backend.linear(
          relative, try c.weight("\(projection).weight", [attended, size.width]),
          bias: try c.vector("\(projection).bias", attended), phase: .prefill)
        return y.reshaped([rows * size.heads, headSize])
      }
      let layer = Layer(
        base: try EncoderLayer(
          c, name, size,
          .init(
            query: "attention.self.query_proj", key: "attention.self.key_proj",
            value: "attention.self.value_proj"), attended: attended),
        keys: hasKeys ? try projected("pos_key_proj", "key_proj") : nil,
        queries: hasQueries ? try projected("pos_query_proj", "query_proj") : nil)
      c.progress?(Double(n + 1) / Double(layerCount))
      return layer
    }
    convolution =
      try c.count("conv_kernel_size", default: 0) > 0
      ? try Self.convolution(c, "\(prefix)encoder.conv", width: size.width) : nil

    let task = EncoderTask(suffix: c.architecture.dropFirst("DebertaV2".count))
    let names: ScoringHead.Names? = try task.map { task in
      switch task {
      case .maskedToken:
        try c.flag("legacy", default: true)
          ? .predictions
          : .init(
            task, "lm_predictions.lm_head.decoder", bias: "lm_predictions.lm_head.bias",
            dense: "lm_predictions.lm_head.dense", norm: "lm_predictions.lm_head.LayerNorm")
      case .sequence:
        .init(
          task, "classifier", dense: "pooler.dense",
          c["pooler_hidden_act"] == nil ? .gelu : try c.activation("pooler_hidden_act"))
      case .token: .init(task, "classifier")
      case .span: .init(task, "qa_outputs")
      }
    }
    head = try names.map { [embeddings, labels] names in
      let isMasked = names.task == .maskedToken
      return try ScoringHead(
        c, names, width: size.width, classes: isMasked ? embeddings.tokens.outputs : max(labels.count, 1),
        activation: size.activation, epsilon: size.epsilon, tied: isMasked ? embeddings.tokens : nil)
    }
  }

  /// The convolution, its weight `[width, width, size]` turned into one product over the neighbours side by side.
  private static func convolution(_ c: Checkpoint, _ prefix: String, width: Int) throws -> Convolution {
    let size = try c.size("conv_kernel_size")
    let groups = try c.size("conv_groups", default: 1)
    guard size % 2 == 1, size <= 255, groups == 1 else {
      throw c.error(
        "a convolution of \(size) places in \(groups) groups is not supported; known: odd, 1 group")
    }
    let stored = try c.floats("\(prefix).conv.weight", [width, width, size])
    var values = [Float](repeating: 0, count: stored.count)
    for output in 0..<width {
      for input in 0..<width {
        for place in 0..<size {
          values[(output * size + place) * width + input] = stored[(output * width + input) * size + place]
        }
      }
    }
    return Convolution(
      size: size, weight: try c.weight(values, named: "\(prefix).conv.weight", [width, size * width]),
      bias: try c.vector("\(prefix).conv.bias", width),
      activation: c["conv_act"] == nil ? .tanh : try c.activation("conv_act"),
      norm: try c.norm("\(prefix).LayerNorm", width))
  }

  // MARK: - Running

  public func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor {
    let packed = try pack(batch, segments: segmentCount)
    var x = try embeddings(packed, epsilon: size.epsilon, on: backend)
    let embedded = x
    try observe?("embedding", x)
    let rows = try backend.tensor(
      buckets.rows(longest: packed.longest, heads: size.heads), [size.heads * (2 * packed.longest - 1)])
    let runs = AttentionRun.list(queries: packed.lengths)
    for (n, layer) in layers.enumerated() {
      func table(_ projected: Tensor?) throws -> Tensor? {
        try projected.map {
          try backend.gather($0, rows: rows).reshaped([size.heads, 2 * packed.longest - 1, $0.columns])
        }
      }
      var options = AttentionOptions(scale: scale)
      if layer.keys != nil || layer.queries != nil {
        options.positions = RelativePositions(keys: try table(layer.keys), queries: try table(layer.queries))
      }
      x = try layer.base(x, on: backend) { q, k, v in
        // Tables of distances are not served over ragged queries, nor over ragged keys.
        options.positions == nil
          ? try backend.attention(q, k, v, heads: size.heads, packed, options)
          : try backend.attention(q, k, v, heads: size.heads, runs) { _, _ in options }
      }
      if n == 0, let convolution { x = try convolved(embedded, convolution, plus: x, packed) }
      try observe?("layer \(n)", x)
    }
    return x
  }

  /// layerNorm(x + activation(conv(embedded))): each token's neighbours side by side, then one product.
  private func convolved(_ embedded: Tensor, _ conv: Convolution, plus x: Tensor, _ batch: PackedTokens)
    throws -> Tensor
  {
    let count = embedded.rows
    // One row of zeros stands for whatever lies beyond a sequence.
    let padded = try backend.allocate([count + 1, width], .f32)
    let copied = try backend.tensor((0..<count).map { Int32($0) }, [count])
    try backend.run(Gather(x: embedded, rows: copied, y: padded.slice(0, 0..<count)))
    try [Float](repeating: 0, count: width).withUnsafeBytes {
      try backend.write($0, to: padded.slice(0, count..<count + 1))
    }
    var neighbours: [Int32] = []
    var start = 0
    for length in batch.lengths {
      for place in 0..<length {
        for step in -(conv.size / 2)...conv.size / 2 {
          let isInside = (0..<length).contains(place + step)
          neighbours.append(Int32(isInside ? start + place + step : count))
        }
      }
      start += length
    }
    let beside = try backend.gather(padded, rows: backend.tensor(neighbours, [neighbours.count]))
      .reshaped([count, conv.size * width])
    let y = try backend.linear(
      beside, conv.weight, bias: conv.bias, activation: conv.activation, phase: .prefill)
    return try backend.layerNorm(
      y, plus: x, gain: conv.norm.gain, bias: conv.norm.bias, epsilon: size.epsilon)
  }

  public func scores(_ rows: Tensor) throws -> Tensor {
    guard let head else { throw ModelError("the model has no head: it gives hidden states only") }
    return try head.scores(rows, on: backend)
  }
}

/// Which relative embedding a distance reads.
struct DistanceBuckets {
  /// Half of the table's rows.
  let span: Int
  /// Buckets of one side, half of them exact; nil: every distance is exact.
  private let count: Int?
  /// The distance at which the last bucket begins.
  private let longest: Int

  init(count: Int?, longest: Int) {
    self.count = count
    span = count ?? longest
    self.longest = longest
  }

  /// The row of distance i − j, from 0 to 2 · span − 1.
  func row(_ distance: Int) -> Int { min(max(bucket(distance) + span, 0), 2 * span - 1) }

  private func bucket(_ distance: Int) -> Int {
    guard let count, abs(distance) > count / 2 else { return distance }
    let half = count / 2
    // mid + ⌈log(d / mid) / log((longest − 1) / mid) · (mid − 1)⌉, in the single precision of the trained models.
    let share = logf(Float(abs(distance)) / Float(half)) / logf(Float(longest - 1) / Float(half))
    let step = (share * Float(half - 1)).rounded(.up)
    // Settings that leave no room between the middle and the longest distance have no logarithmic buckets.
    let bucket = step.isFinite ? half + Int(min(max(step, 0), Float(1 << 24))) : count
    return distance < 0 ? -bucket : bucket
  }

  /// Rows of a table of buckets × heads, head by head, for the distances j − i of −(longest − 1) … longest − 1.
  func rows(longest: Int, heads: Int) -> [Int32] {
    let rows = (1 - longest...longest - 1).map { row(-$0) }
    return (0..<heads).flatMap { head in rows.map { Int32($0 * heads + head) } }
  }
}
