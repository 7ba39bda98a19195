import FlashCL

/// An encoder of sources and a decoder that looks at what became of them: what every encoder–decoder is to the rest.
public protocol EncoderDecoder: AnyObject {
  var backend: any Backend { get }
  /// Rows of the table of source tokens.
  var sourceVocabularySize: Int { get }
  /// Rows of the output projection: one logit each. Ids of target tokens are below it.
  var vocabularySize: Int { get }
  /// The most tokens of one source.
  var sourceLength: Int { get }
  /// The most tokens that the decoder is fed.
  var targetLength: Int { get }
  /// One cache's sizes in the decoder's layers, which are alike.
  var cacheShape: CacheShape { get }

  /// Hidden states of the encoder's last layer, `[source tokens, width]`, source after source without padding.
  func encode(_ sources: TokenBatch, observe: Observer?) throws -> Tensor
  /// What every decoder layer makes of them once and looks at in each step.
  func crossKeys(_ encoded: Tensor) throws -> [CrossKeys]
  /// The decoder's hidden states of a step's tokens as the output projection reads them, `[tokens, width]`.
  func hidden(_ step: Step, _ caches: [KeyValueCache], _ sources: CrossStep, observe: Observer?) throws
    -> Tensor
  /// Scores of every vocabulary entry for each row of `hidden`, `[rows, vocabulary]`.
  func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor
}

/// One decoder layer's keys and values of the last encoder layer.
public struct CrossKeys {
  public let keys: Tensor  // [source tokens, heads · key size], a view
  public let values: Tensor  // [source tokens, heads · value size], a view
}

/// What a step's tokens see of the sources: all tokens of sequences that share a source are its queries.
public struct CrossStep {
  public let layers: [CrossKeys]
  /// Where each source's keys begin, `[sources + 1]` i32.
  public let starts: Tensor
  public let longest: Int
  /// Where the tokens of each source's sequences begin, `[sources + 1]` i32.
  public let queryStarts: Tensor
  public let longestRows: Int
  public let phase: Phase
}

extension Backend {
  /// Attention of a step's queries to one layer's source keys: q `[tokens, heads · size]` gives `[tokens, heads · value size]`.
  func attention(
    _ q: Tensor, heads: Int, to layer: Int, of step: CrossStep, _ options: AttentionOptions = .init()
  ) throws -> Tensor {
    let source = step.layers[layer]
    return try mergedAttention(
      q.heads(heads), rows: .ragged(starts: step.queryStarts, longest: step.longestRows),
      .ragged(
        keys: source.keys.heads(heads), values: source.values.heads(heads), starts: step.starts,
        longest: step.longest), options, phase: step.phase)
  }
}

/// Sources that are encoded, and the sequences that a decoder makes of them side by side, `beams` of each.
public final class EncoderDecoderState {
  public let model: any EncoderDecoder
  public let beams: Int
  /// Files of encoder–decoders have plain weights, which decode reads once for four rows: four sources of four beams.
  private static let decodedTogether = 16
  private let sequences: SequenceCaches
  private let crossKeys: [CrossKeys]
  private let starts: Tensor  // [sources + 1]
  private let longest: Int

  /// Encodes the sources. There is room for `capacity` tokens of each sequence; throws when that passes the model's positions.
  /// Memory is taken for `reserve` of them, and for more when they come.
  public init(
    _ model: any EncoderDecoder, _ sources: TokenBatch, beams: Int = 1, capacity: Int, reserve: Int = 64,
    cacheType: ElementType = .f32, observe: Observer? = nil
  ) throws {
    guard capacity <= model.targetLength else {
      throw ModelError("\(capacity) target tokens do not fit in the model's \(model.targetLength) positions")
    }
    self.model = model
    self.beams = beams
    crossKeys = try model.crossKeys(model.encode(sources, observe: observe))
    let ends = sources.ranges.map { Int32($0.upperBound) }
    starts = try model.backend.tensor([0] + ends, [ends.count + 1])
    longest = sources.sequences.map(\.count).max() ?? 0
    sequences = try SequenceCaches(
      model.cacheShape, capacity: capacity, reserve: reserve, sequences: ends.count * beams, type: cacheType,
      decodedTogether: Self.decodedTogether, on: model.backend)
  }

  /// Feeds tokens to each sequence, the beams of a source in a row, none to some, and returns their hidden states,
  /// `[tokens, width]`.
  public func hidden(_ ids: [[Int32]], phase: Phase, observe: Observer? = nil) throws -> Tensor {
    let plan = try sequences.plan(ids, vocabulary: model.vocabularySize, phase)
    let step = plan.step(in: try model.backend.tensor(plan.numbers, [plan.numbers.count]))
    var queryStarts: [Int32] = [0]
    for first in stride(from: 0, to: ids.count, by: beams) {
      queryStarts.append(
        ids[first..<first + beams].reduce(queryStarts[queryStarts.count - 1]) { $0 + Int32($1.count) })
    }
    let longestRows = zip(queryStarts.dropFirst(), queryStarts).map { Int($0 - $1) }.max() ?? 0
    let cross = CrossStep(
      layers: crossKeys, starts: starts, longest: longest,
      queryStarts: try model.backend.tensor(queryStarts, [queryStarts.count]), longestRows: longestRows,
      // What a beam's bits are must not follow from how many others are left.
      phase: phase == .decode && beams <= Attention.decodeRows ? .decode : .prefill)
    return try model.hidden(step, sequences.caches, cross, observe: observe)
  }

  /// Feeds tokens, at most one to each sequence, and returns the logits of those that had one, `[tokens, vocabulary]`.
  public func decode(_ ids: [[Int32]]) throws -> Tensor {
    try model.logits(hidden(ids, phase: .decode), phase: sequences.linearPhase(.decode))
  }

  /// Makes sequence i go on from what sequence `parents[i]` is, or from nothing where that is nil.
  public func reorder(_ parents: [Int?]) throws { try sequences.reorder(parents) }
}
