import FlashCL

/// BigBird: BERT whose long sequences attend in blocks, to the first and last block, their neighbours, and random ones.
///
///     row 0 and row n − 1 of the n blocks see all blocks
///     row r sees blocks 0, r − 1, r, r + 1, n − 1, and r_random more
///
/// In evaluation `transformers` draws block 0 for every random block and so counts it 1 + r_random times; the same is done
/// here, by counts of the block pattern, since trained files are used with that. A sequence of at most
/// (5 + 2 · r_random) · size tokens is attended to in full, each sequence by its own length. Blocks count from the sequence's
/// own first token, the last may be shorter. Source: Zaheer et al. 2020.
public final class BigBird: TextEncoder {
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
  private let layers: [EncoderLayer]
  private let head: ScoringHead?
  /// A half layer that the head of answers has before its scores.
  private let answering: FeedForward?
  private let blocks: (size: Int, random: Int)?

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let size = try EncoderLayer.Size(c)
    self.size = size
    labels = try c.labels()
    try c.require("position_embedding_type", ["absolute"])
    try c.require("attention_type", ["block_sparse", "original_full"])
    blocks =
      c["attention_type"]?.string == "original_full"
      ? nil : (try c.size("block_size", default: 64), try c.count("num_random_blocks", default: 3))
    if let blocks, blocks.random > 254 {
      throw c.error("the setting num_random_blocks is \(blocks.random), expected at most 254")
    }
    contextLength = try c.size("max_position_embeddings")
    let prefix = c.has("bert.embeddings.word_embeddings.weight") ? "bert." : ""
    var embeddings = try InputEmbeddings(
      c, "\(prefix)embeddings", width: size.width, places: contextLength, hasSegments: true)
    if try c.flag("rescale_embeddings", default: false) {
      // Scaling the tokens alone is what the sum is made of: scale · token + segment + position.
      embeddings.scale = Float(size.width).squareRoot()
    }
    self.embeddings = embeddings
    let layerCount = try c.size("num_hidden_layers")
    layers = try (0..<layerCount).map { n in
      defer { c.progress?(Double(n + 1) / Double(layerCount)) }
      return try EncoderLayer(c, "\(prefix)encoder.layer.\(n)", size)
    }
    let task = EncoderTask(suffix: c.architecture.dropFirst("BigBird".count))
    answering =
      task == .span
      ? try FeedForward(
        c, up: "qa_classifier.intermediate.dense", down: "qa_classifier.output.dense",
        norm: "qa_classifier.output.LayerNorm", width: size.width, inner: size.inner,
        activation: size.activation, epsilon: size.epsilon)
      : nil
    head = try task.map { [labels] task in
      let names: ScoringHead.Names =
        switch task {
        case .maskedToken: .predictions
        case .sequence: .init(task, "classifier.out_proj", dense: "classifier.dense")
        case .token: .init(task, "classifier")
        case .span: .init(task, "qa_classifier.qa_outputs")
        }
      let isMasked = task == .maskedToken
      return try ScoringHead(
        c, names, width: size.width, classes: isMasked ? embeddings.tokens.outputs : max(labels.count, 1),
        activation: size.activation, epsilon: size.epsilon, tied: isMasked ? embeddings.tokens : nil)
    }
  }

  public func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor {
    let packed = try pack(batch, segments: segmentCount)
    // The pattern depends on a sequence's length: where one is long enough to have it, equal lengths share a call.
    let runs = packed.lengths.contains(where: isSparse) ? AttentionRun.list(queries: packed.lengths) : nil
    let patterns = try runs?.map { AttentionOptions(mask: try mask($0.queryCount)) }
    var x = try embeddings(packed, epsilon: size.epsilon, on: backend)
    try observe?("embedding", x)
    for (n, layer) in layers.enumerated() {
      x = try layer(x, on: backend) { q, k, v in
        guard let runs, let patterns else { return try backend.attention(q, k, v, heads: size.heads, packed) }
        return try backend.attention(q, k, v, heads: size.heads, runs) { index, _ in patterns[index] }
      }
      try observe?("layer \(n)", x)
    }
    return x
  }

  private func isSparse(_ length: Int) -> Bool {
    blocks.map { length > (5 + 2 * $0.random) * $0.size } ?? false
  }

  /// What a sequence of that length sees.
  private func mask(_ length: Int) throws -> AttentionMask {
    guard let blocks, isSparse(length) else { return .all }
    let count = (length + blocks.size - 1) / blocks.size
    let keys = (0..<count).map { row -> [Int] in
      if row == 0 || row == count - 1 { return [Int](0..<count) }
      let near = Set([0, row - 1, row, row + 1, count - 1]).sorted()
      return near + [Int](repeating: 0, count: blocks.random)
    }
    return .blocks(try BlockMask(size: blocks.size, columns: count, keys: keys))
  }

  /// As every encoder's; `transformers` also takes 10⁶ from the question's scores of answers, which callers here leave out.
  public func scores(_ rows: Tensor) throws -> Tensor {
    guard let head else { throw ModelError("the model has no head: it gives hidden states only") }
    return try head.scores(answering.map { try $0(rows, on: backend) } ?? rows, on: backend)
  }
}
