import FlashCL

/// Longformer: RoBERTa whose tokens attend to a window around them, and to and from a few global tokens.
///
///     local token i:   softmax over |j − i| ≤ window / 2 or j global, of q_i · k_j / √size
///     global token i:  softmax over all j of q'_i · k'_j / √size, weighing v'_j: projections of their own
///
/// Global are, unless the caller says otherwise, what `transformers` takes: the first token where sequences are classified,
/// the question (all before the first separator; none where there is no separator) where answers are found, else none.
/// Padding to whole windows, which `transformers` does, changes no result and is left out. Source: Beltagy, Peters, Cohan
/// 2020.
public final class Longformer: TextEncoder {
  private struct Layer {
    let base: EncoderLayer
    let window: Int  // on each side
    let query: Weight  // [width, width], of global tokens
    let queryBias: Tensor
    let keyValue: Weight  // [2 · width, width], for global tokens
    let keyValueBias: Tensor?
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
  private let head: ScoringHead?
  private let padding, separator: Int32

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let size = try EncoderLayer.Size(c)
    self.size = size
    labels = try c.labels()
    padding = Int32(try c.count("pad_token_id", default: 1))
    separator = Int32(try c.count("sep_token_id", default: 2))
    let places = try c.size("max_position_embeddings")
    contextLength = places - Int(padding) - 1
    guard contextLength > 0 else { throw c.error("\(places) positions leave none for tokens") }
    let prefix = c.has("longformer.embeddings.word_embeddings.weight") ? "longformer." : ""
    embeddings = try InputEmbeddings(
      c, "\(prefix)embeddings", width: size.width, places: places,
      hasSegments: c.has("\(prefix)embeddings.token_type_embeddings.weight"))

    let layerCount = try c.size("num_hidden_layers")
    let windows =
      c["attention_window"]?.array.map { $0.map(\.int) }
      ?? [Int?](repeating: c["attention_window"]?.int, count: layerCount)
    guard windows.count == layerCount, windows.allSatisfy({ $0.map { $0 > 0 && $0 % 2 == 0 } ?? false })
    else {
      throw c.error(
        "the setting attention_window has no even number above 0 for each of \(layerCount) layers")
    }
    layers = try (0..<layerCount).map { n in
      let name = "\(prefix)encoder.layer.\(n)"
      let global = "\(name).attention.self"
      let parts = ["key_global", "value_global"].map {
        (name: "\(global).\($0)", outputs: size.width)
      }
      let layer = Layer(
        base: try EncoderLayer(c, name, size), window: (windows[n] ?? 0) / 2,
        query: try c.weight("\(global).query_global.weight", [size.width, size.width]),
        queryBias: try c.vector("\(global).query_global.bias", size.width),
        keyValue: try c.stacked(parts, inputs: size.width), keyValueBias: try c.stackedBias(parts))
      c.progress?(Double(n + 1) / Double(layerCount))
      return layer
    }
    let task = EncoderTask(suffix: c.architecture.dropFirst("Longformer".count))
    head = try task.map { [embeddings, labels] task in
      let names: ScoringHead.Names =
        switch task {
        case .maskedToken:
          .init(
            task, "lm_head.decoder", bias: "lm_head.bias", dense: "lm_head.dense", .gelu,
            norm: "lm_head.layer_norm")
        case .sequence: .init(task, "classifier.out_proj", dense: "classifier.dense", .tanh)
        case .token: .init(task, "classifier")
        case .span: .init(task, "qa_outputs")
        }
      let isMasked = task == .maskedToken
      return try ScoringHead(
        c, names, width: size.width, classes: isMasked ? embeddings.tokens.outputs : max(labels.count, 1),
        activation: size.activation, epsilon: size.epsilon, tied: isMasked ? embeddings.tokens : nil)
    }
  }

  // MARK: - Running

  public func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor {
    try hidden(batch, global: batch.sequences.map(globalByTask), observe: observe)
  }

  private func globalByTask(_ ids: [Int32]) -> [Int] {
    switch task {
    case .sequence: [0]
    case .span: [Int](0..<(ids.firstIndex(of: separator) ?? 0))
    default: []
    }
  }

  /// Hidden states with these global tokens of each sequence, counted from its first, in any order.
  public func hidden(_ batch: TokenBatch, global: [[Int]], observe: Observer? = nil) throws -> Tensor {
    let packed = try pack(batch, segments: segmentCount, positions: BERT.positions(after: padding))
    guard global.count == packed.lengths.count else {
      throw ModelError(
        "global tokens are given for \(global.count) sequences, not for \(packed.lengths.count)")
    }
    let global = global.map { Set($0).sorted() }
    for (list, length) in zip(global, packed.lengths) {
      if let token = list.first(where: { !(0..<length).contains($0) }) {
        throw ModelError("global token \(token) is outside its sequence of \(length)")
      }
    }
    let plan = try GlobalTokens(global, batch.ranges, on: backend)
    var x = try embeddings(packed, epsilon: size.epsilon, on: backend)
    try observe?("embedding", x)
    for (n, layer) in layers.enumerated() {
      let input = x
      x = try layer.base(x, on: backend) { q, k, v in
        let local = try self.local(q, k, v, layer.window, global, packed)
        return try plan.map { try replaced(local, layer, input, $0, packed) } ?? local
      }
      try observe?("layer \(n)", x)
    }
    return x
  }

  /// Every token's window and the global tokens.
  private func local(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, _ window: Int, _ global: [[Int]], _ batch: PackedTokens
  ) throws -> Tensor {
    func options(_ global: [Int]) -> AttentionOptions {
      AttentionOptions(mask: global.isEmpty ? .local(window) : .local(window).or(.global(global)))
    }
    if global.allSatisfy({ $0 == global[0] }) {
      return try backend.attention(q, k, v, heads: size.heads, batch, options(global[0]))
    }
    // A list of global tokens is one of the call's options: sequences with lists of their own go one by one.
    let runs = AttentionRun.list(queries: batch.lengths, alone: true)
    return try backend.attention(q, k, v, heads: size.heads, runs) { index, _ in
      options(global[index])
    }
  }

  /// `attended` with the rows of global tokens replaced by what their own projections attend to.
  private func replaced(
    _ attended: Tensor, _ layer: Layer, _ x: Tensor, _ global: GlobalTokens, _ batch: PackedTokens
  ) throws -> Tensor {
    let q = try backend.linear(
      backend.gather(x, rows: global.rows), layer.query, bias: layer.queryBias, phase: .prefill)
    let keyValue = try backend.linear(x, layer.keyValue, bias: layer.keyValueBias, phase: .prefill)
    let own = try backend.mergedAttention(
      q.heads(size.heads), rows: .ragged(starts: global.starts, longest: global.longest),
      .ragged(
        keys: keyValue.slice(1, 0..<width).heads(size.heads),
        values: keyValue.slice(1, width..<2 * width).heads(size.heads), starts: batch.starts,
        longest: batch.longest), phase: .prefill)
    let both = try backend.stacked(attended, own)
    return try backend.gather(both, rows: global.merged)
  }

  public func scores(_ rows: Tensor) throws -> Tensor {
    guard let head else { throw ModelError("the model has no head: it gives hidden states only") }
    return try head.scores(rows, on: backend)
  }
}

/// The global tokens of a batch as rows.
private struct GlobalTokens {
  let rows: Tensor  // [global] i32
  let starts: Tensor  // [sequences + 1] i32
  let longest: Int
  /// For each token its row among all tokens followed by the global ones.
  let merged: Tensor  // [tokens] i32

  /// Nil where there are none.
  init?(_ lists: [[Int]], _ ranges: [Range<Int>], on backend: any Backend) throws {
    let all = zip(lists, ranges).flatMap { list, range in list.map { range.lowerBound + $0 } }
    guard !all.isEmpty else { return nil }
    let count = ranges.last?.upperBound ?? 0
    var merged = [Int](0..<count)
    for (place, row) in all.enumerated() { merged[row] = count + place }
    rows = try backend.tensor(all.map { Int32($0) }, [all.count])
    starts = try backend.tensor(
      lists.reduce(into: [Int32(0)]) { $0.append($0[$0.count - 1] + Int32($1.count)) }, [lists.count + 1])
    longest = lists.map(\.count).max() ?? 0
    self.merged = try backend.tensor(merged.map { Int32($0) }, [count])
  }
}
