import FlashCL

/// BERT and its family: post-norm bidirectional encoders with token, position and segment embeddings.
///
///     x = layerNorm(x + out(attention(q, k, v))),   [q k v] = x · Wᵀ + b
///     x = layerNorm(x + down(activation(up(x))))
///
/// RoBERTa, DistilBERT, ALBERT (layers that share their weights), ELECTRA and MiniLM differ in names and embeddings alone, RoFormer
/// turns queries and keys by their positions; `BERTDialect` says how. Sources: Devlin et al. 2018; Liu et al. 2019; Sanh
/// et al. 2019; Lan et al. 2019; Clark et al. 2020; Su et al. 2021.
public final class BERT: TextEncoder {
  public let backend: any Backend
  public let vocabularySize: Int
  public let contextLength: Int
  public var width: Int { size.width }
  public var task: EncoderTask? { head?.task }
  public let labels: [String]
  public var summary: SummaryToken { .first }
  public var segmentCount: Int { segments?.outputs ?? 1 }
  private let size: EncoderLayer.Size
  private let tokens: Weight  // [vocabulary, embedding width]
  private let positions: Weight?  // [places, embedding width]
  private let segments: Weight?  // [kinds, embedding width]
  private let normGain, normBias: Tensor  // [embedding width]
  private let projection: (weight: Weight, bias: Tensor)?  // [width, embedding width], where the two differ
  private let layers: [EncoderLayer]
  private let head: ScoringHead?
  private let rope: RopeTable?
  /// RoBERTa's token that has no position; the others count from the one after it.
  private let padding: Int32?

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let dialect = try BERTDialect(c)
    let size =
      dialect.isDistilled
      ? try EncoderLayer.Size(
        c, width: "dim", inner: "hidden_dim", heads: "n_heads", activation: "activation")
      : try EncoderLayer.Size(c)
    self.size = size
    let width = size.width
    let layerCount = try c.size(dialect.isDistilled ? "n_layers" : "num_hidden_layers")
    try c.require("position_embedding_type", ["absolute"])
    let labels = try c.labels()
    self.labels = labels

    // Embeddings
    let embeddings = "\(dialect.prefix)embeddings"
    let embeddingWidth = try c.size("embedding_size", default: width)
    let vocabulary = try c.rows("\(embeddings).word_embeddings.weight", columns: embeddingWidth)
    vocabularySize = vocabulary
    tokens = try c.weight("\(embeddings).word_embeddings.weight", [vocabulary, embeddingWidth])
    let places = try c.size("max_position_embeddings")
    let padding = dialect.countsFromPadding ? try c.count("pad_token_id", default: 1) : nil
    self.padding = padding.map { Int32($0) }
    contextLength = places - (padding.map { $0 + 1 } ?? 0)
    guard contextLength > 0 else { throw c.error("\(places) positions leave none for tokens") }
    if dialect.isRotary {
      positions = nil
      rope = try backend.ropeTable(
        length: places, rotary: width / size.heads, base: 10000, pairing: .adjacent)
    } else {
      positions = try c.weight("\(embeddings).position_embeddings.weight", [places, embeddingWidth])
      rope = nil
    }
    let segmentName = "\(embeddings).token_type_embeddings.weight"
    segments =
      dialect.isDistilled
      ? nil : try c.weight(segmentName, [try c.rows(segmentName, columns: embeddingWidth), embeddingWidth])
    (normGain, normBias) = try c.norm("\(embeddings).LayerNorm", embeddingWidth)
    projection =
      try dialect.projection.flatMap { name in
        embeddingWidth == width && !c.has("\(name).weight")
          ? nil
          : (try c.weight("\(name).weight", [width, embeddingWidth]), try c.vector("\(name).bias", width))
      }

    // Layers; those that share weights are loaded once.
    var loaded: [String: EncoderLayer] = [:]
    layers = try (0..<layerCount).flatMap { n in
      try dialect.layers(n, of: layerCount).map { prefix in
        if let layer = loaded[prefix] { return layer }
        let layer = try EncoderLayer(c, prefix, size, dialect.layer)
        c.progress?(Double(n + 1) / Double(layerCount))
        loaded[prefix] = layer
        return layer
      }
    }
    head = try dialect.head.map { [tokens] names in
      try ScoringHead(
        c, names, width: width, classes: names.task == .maskedToken ? vocabulary : max(labels.count, 1),
        activation: size.activation, epsilon: size.epsilon, tied: names.task == .maskedToken ? tokens : nil)
    }
  }

  public func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor {
    let packed = try pack(
      batch, segments: segmentCount, positions: padding.map { Self.positions(after: $0) })
    let summed = try backend.embedding(packed.ids, table: tokens)
    if let positions { try backend.addEmbedding(packed.positions, table: positions, to: summed) }
    if let segments { try backend.addEmbedding(packed.segments, table: segments, to: summed) }
    var x = try backend.layerNorm(summed, gain: normGain, bias: normBias, epsilon: size.epsilon)
    if let projection { x = try backend.linear(x, projection.weight, bias: projection.bias, phase: .prefill) }
    try observe?("embedding", x)
    for (n, layer) in layers.enumerated() {
      x = try layer(x, on: backend) { q, k, v in
        if let rope {
          for turned in [q.split(size.heads), k.split(size.heads)] {
            try backend.rope(turned, positions: packed.positions, table: rope, into: turned)
          }
        }
        return try backend.attention(q, k, v, heads: size.heads, packed)
      }
      try observe?("layer \(n)", x)
    }
    return x
  }

  public func scores(_ rows: Tensor) throws -> Tensor {
    guard let head else { throw ModelError("the model has no head: it gives hidden states only") }
    return try head.scores(rows, on: backend)
  }

  /// RoBERTa's positions: tokens are counted from the one after the padding token's, which keeps its own.
  static func positions(after padding: Int32) -> ([Int32]) -> [Int32] {
    { ids in
      var count: Int32 = 0
      return ids.map { id in
        if id == padding { return padding }
        count += 1
        return padding + count
      }
    }
  }
}
