import FlashCL

/// The Transformer of 2017: an encoder, and a decoder whose every layer attends to the encoder's last.
///
///     x = √width · tokens[id] + positions[place]
///     encoder:  x = norm(x + attention(x)),  x = norm(x + W₂ · activation(W₁ · x))
///     decoder:  the same with a causal mask, and x = norm(x + attention(x, encoded)) in between
///     logits = x · Wᵀ + b
///
/// Loads `MarianMTModel`, `BartForConditionalGeneration` and `MBartForConditionalGeneration`, and, as `Transformer`, BART's
/// names of tensors with every switch of `TransformerDialect`. Sources: Vaswani et al. 2017; Junczys-Dowmunt et al. 2018;
/// Lewis et al. 2020; Liu et al. 2020.
public final class Transformer: EncoderDecoder {
  typealias Norm = (gain: Tensor, bias: Tensor)  // [width]

  struct AttentionLayer {
    /// Of self-attention q, k and v, `[3 · width, width]`; of attention to the source q alone.
    let input: Weight
    let inputBias: Tensor?
    /// k and v of the source, `[2 · width, width]`.
    var source: (weight: Weight, bias: Tensor?)?
    let out: Weight  // [width, width]
    let outBias: Tensor?
    let norm: Norm
  }

  struct Layer {
    let own: AttentionLayer
    let cross: AttentionLayer?
    let up: Weight  // [feedForward, width]
    let upBias: Tensor
    let down: Weight  // [width, feedForward]
    let downBias: Tensor
    let norm: Norm
  }

  struct Stack {
    let heads: Int
    let tokens: Weight  // [vocabulary, width]
    let positions: Weight?  // [places, width]
    let embeddingNorm: Norm?
    let layers: [Layer]
    let finalNorm: Norm?
  }

  /// A stack's states, and ResiDual's sum of what was added to them.
  private struct Stream {
    var x: Tensor  // [tokens, width]
    var sum: Tensor?
  }

  public let backend: any Backend
  public var sourceVocabularySize: Int { encoder.tokens.outputs }
  public var vocabularySize: Int { head.outputs }
  public let sourceLength: Int
  public let targetLength: Int
  public let cacheShape: CacheShape
  private let width: Int
  private let dialect: TransformerDialect
  private let encoder, decoder: Stack
  private let head: Weight  // [vocabulary, width]
  private let headBias: Tensor?  // [vocabulary]

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let dialect = try TransformerDialect(c)
    self.dialect = dialect
    let width = try c.size("d_model")
    self.width = width
    let places = try c.size("max_position_embeddings", default: 1024)
    (sourceLength, targetLength) = (places, places)
    let layerCounts = try (encoder: c.size("encoder_layers"), decoder: c.size("decoder_layers"))
    var loaded = 0

    // A table that both stacks read is loaded once.
    var tables: [String: Weight] = [:]
    func table(_ stack: String) throws -> Weight {
      let names = dialect.tables(stack)
      let name = names.first(where: c.has) ?? names[1]
      if let table = tables[name] { return table }
      let table = try c.weight(name, [try c.rows(name, columns: width), width])
      tables[name] = table
      return table
    }

    func stack(_ name: String, layers: Int) throws -> Stack {
      let heads = try c.size("\(name)_attention_heads")
      guard width % heads == 0 else { throw c.error("width \(width) is no multiple of \(heads) heads") }
      let feedForward = try c.size("\(name)_ffn_dim")
      let place = "\(dialect.prefix)\(name)"
      func bias(_ name: String, _ count: Int) throws -> Tensor? {
        c.has("\(name).bias") ? try c.vector("\(name).bias", count) : nil
      }
      func attention(_ prefix: String, ofSource: Bool) throws -> AttentionLayer {
        func parts(_ names: [String]) -> [(name: String, outputs: Int)] {
          names.map { (name: "\(prefix).\($0)_proj", outputs: width) }
        }
        func stacked(_ names: [String]) throws -> (Weight, Tensor?) {
          (try c.stacked(parts(names), inputs: width), try c.stackedBias(parts(names)))
        }
        let input = try stacked(ofSource ? ["q"] : ["q", "k", "v"])
        return AttentionLayer(
          input: input.0, inputBias: input.1, source: ofSource ? try stacked(["k", "v"]) : nil,
          out: try c.weight("\(prefix).out_proj.weight", [width, width]),
          outBias: try bias("\(prefix).out_proj", width), norm: try c.norm("\(prefix)_layer_norm", width))
      }
      let table = try table(name)
      let positions: Weight? =
        switch dialect.positions {
        case .none: nil
        case .sinusoids(let layout): try backend.sinusoids(length: places, width: width, layout)
        case .learned(let unused):
          try c.table("\(place).embed_positions.weight", from: unused, [places, width])
        }
      return Stack(
        heads: heads, tokens: table, positions: positions,
        embeddingNorm: dialect.normalisesEmbedding ? try c.norm("\(place).layernorm_embedding", width) : nil,
        layers: try (0..<layers).map { n in
          let prefix = "\(place).layers.\(n)"
          let layer = Layer(
            own: try attention("\(prefix).self_attn", ofSource: false),
            cross: name == "decoder" ? try attention("\(prefix).encoder_attn", ofSource: true) : nil,
            up: try c.weight("\(prefix).fc1.weight", [feedForward, width]),
            upBias: try c.vector("\(prefix).fc1.bias", feedForward),
            down: try c.weight("\(prefix).fc2.weight", [width, feedForward]),
            downBias: try c.vector("\(prefix).fc2.bias", width),
            norm: try c.norm("\(prefix).final_layer_norm", width))
          loaded += 1
          c.progress?(Double(loaded) / Double(layerCounts.encoder + layerCounts.decoder))
          return layer
        },
        finalNorm: dialect.hasFinalNorm ? try c.norm("\(place).layer_norm", width) : nil)
    }
    encoder = try stack("encoder", layers: layerCounts.encoder)
    decoder = try stack("decoder", layers: layerCounts.decoder)
    // The table may have more rows than there are tokens to be said.
    let vocabulary = dialect.isTied ? decoder.tokens.outputs : try c.rows("lm_head.weight", columns: width)
    guard vocabulary <= decoder.tokens.outputs else {
      throw c.error("\(vocabulary) tokens can be said, and the decoder's table has \(decoder.tokens.outputs)")
    }
    head = dialect.isTied ? decoder.tokens : try c.weight("lm_head.weight", [vocabulary, width])
    if c.has("final_logits_bias") {
      headBias = try backend.tensor(c.floats("final_logits_bias", [1, vocabulary]), [vocabulary])
    } else {
      headBias = c.has("lm_head.bias") ? try c.vector("lm_head.bias", vocabulary) : nil
    }
    let size = width / decoder.heads
    cacheShape = CacheShape(
      layers: layerCounts.decoder, heads: decoder.heads, keySize: size, valueSize: size)
  }

  // MARK: - Encoder

  public func encode(_ sources: TokenBatch, observe: Observer?) throws -> Tensor {
    let packed = try sources.packed(on: backend, vocabulary: sourceVocabularySize, context: sourceLength)
    var stream = try embed(packed.ids, packed.positions, encoder)
    try observe?("encoder embedding", stream.x)
    for (n, layer) in encoder.layers.enumerated() {
      try sublayer(&stream, layer.own.norm) { x, residual in
        let qkv = try backend.linear(x, layer.own.input, bias: layer.own.inputBias, phase: .prefill)
        let attended = try backend.attention(
          part(qkv, 0), part(qkv, 1), part(qkv, 2), heads: encoder.heads, packed)
        return try backend.linear(
          attended, layer.own.out, bias: layer.own.outBias, plus: residual, phase: .prefill)
      }
      try feedForward(&stream, layer, .prefill)
      try observe?("encoder layer \(n)", stream.x)
    }
    return try finish(stream, encoder)
  }

  public func crossKeys(_ encoded: Tensor) throws -> [CrossKeys] {
    try decoder.layers.compactMap(\.cross?.source).map { source in
      let kv = try backend.linear(encoded, source.weight, bias: source.bias, phase: .prefill)
      return CrossKeys(keys: part(kv, 0), values: part(kv, 1))
    }
  }

  // MARK: - Decoder

  public func hidden(_ step: Step, _ caches: [KeyValueCache], _ sources: CrossStep, observe: Observer?) throws
    -> Tensor
  {
    let (heads, phase) = (decoder.heads, step.linearPhase)
    var stream = try embed(step.ids, step.positions, decoder)
    try observe?("decoder embedding", stream.x)
    for (n, layer) in decoder.layers.enumerated() {
      try sublayer(&stream, layer.own.norm) { x, residual in
        let qkv = try backend.linear(x, layer.own.input, bias: layer.own.inputBias, phase: phase)
        let attended = try backend.attention(
          part(qkv, 0), part(qkv, 1), part(qkv, 2), heads: heads, over: caches[n], step,
          AttentionOptions(mask: .causal(.lowerRight)))
        return try backend.linear(
          attended, layer.own.out, bias: layer.own.outBias, plus: residual, phase: phase)
      }
      if let cross = layer.cross {
        try sublayer(&stream, cross.norm) { x, residual in
          let q = try backend.linear(x, cross.input, bias: cross.inputBias, phase: phase)
          let attended = try backend.attention(q, heads: heads, to: n, of: sources)
          return try backend.linear(attended, cross.out, bias: cross.outBias, plus: residual, phase: phase)
        }
      }
      try feedForward(&stream, layer, phase)
      try observe?("decoder layer \(n)", stream.x)
    }
    return try finish(stream, decoder)
  }

  public func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    try backend.linear(hidden, head, bias: headBias, phase: phase)
  }

  // MARK: - What both have

  private func part(_ x: Tensor, _ index: Int) -> Tensor { x.slice(1, index * width..<(index + 1) * width) }

  private func normalised(_ x: Tensor, plus residual: Tensor? = nil, _ norm: Norm) throws -> Tensor {
    guard let residual else {
      return try backend.layerNorm(x, gain: norm.gain, bias: norm.bias, epsilon: dialect.epsilon)
    }
    return try backend.layerNorm(
      x, plus: residual, gain: norm.gain, bias: norm.bias, epsilon: dialect.epsilon)
  }

  private func embed(_ ids: Tensor, _ places: Tensor, _ stack: Stack) throws -> Stream {
    let scale = dialect.scalesEmbedding ? Float(width).squareRoot() : 1
    var x = try backend.embedding(ids, table: stack.tokens, scale: scale)
    if let positions = stack.positions { try backend.addEmbedding(places, table: positions, to: x) }
    if let norm = stack.embeddingNorm { x = try normalised(x, norm) }
    return Stream(x: x, sum: dialect.norms == .residual ? x : nil)
  }

  /// Adds a part of a layer to the stream, its norm where the dialect has it. `body` is given what it reads, and what it
  /// may add to its result.
  private func sublayer(
    _ stream: inout Stream, _ norm: Norm, _ body: (Tensor, _ residual: Tensor?) throws -> Tensor
  ) throws {
    switch dialect.norms {
    case .pre: stream.x = try body(normalised(stream.x, norm), stream.x)
    case .post: stream.x = try normalised(body(stream.x, nil), plus: stream.x, norm)
    case .residual:
      let added = try body(stream.x, nil)
      stream.x = try normalised(added, plus: stream.x, norm)
      if let sum = stream.sum { stream.sum = try total(added, sum, norm) }
    }
  }

  private func feedForward(_ stream: inout Stream, _ layer: Layer, _ phase: Phase) throws {
    try sublayer(&stream, layer.norm) { x, residual in
      let up = try backend.linear(
        x, layer.up, bias: layer.upBias, activation: dialect.activation, phase: phase)
      return try backend.linear(up, layer.down, bias: layer.downBias, plus: residual, phase: phase)
    }
  }

  private func finish(_ stream: Stream, _ stack: Stack) throws -> Tensor {
    guard let norm = stack.finalNorm else { return stream.x }
    guard let sum = stream.sum else { return try normalised(stream.x, norm) }
    return try total(normalised(sum, norm), stream.x, norm)
  }

  /// a + b, which a layer norm gives beside its result.
  private func total(_ a: Tensor, _ b: Tensor, _ norm: Norm) throws -> Tensor {
    let (sum, unused) = (try backend.allocate(a.shape, a.type), try backend.allocate(a.shape, a.type))
    try backend.run(
      LayerNorm(
        x: a, residual: b, gain: norm.gain, bias: norm.bias, epsilon: dialect.epsilon, sum: sum, y: unused))
    return sum
  }
}
