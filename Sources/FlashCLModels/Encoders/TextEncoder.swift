import FlashCL

/// A bidirectional stack of layers with, in most files, a head: what every encoder-only architecture is to the rest.
public protocol TextEncoder: AnyObject {
  var backend: any Backend { get }
  /// Rows of the table of tokens.
  var vocabularySize: Int { get }
  /// The most tokens of one sequence.
  var contextLength: Int { get }
  /// Elements of a hidden state.
  var width: Int { get }
  /// What the file's head answers; nil where it has none.
  var task: EncoderTask? { get }
  /// The classes that the head tells apart, in the order of their scores; empty for masked tokens and spans.
  var labels: [String] { get }
  /// Segments that tokens can be of; 1 where the model does not tell them apart.
  var segmentCount: Int { get }
  /// The token whose state a head of sequences reads.
  var summary: SummaryToken { get }

  /// Hidden states of the last layer, `[tokens, width]`, sequence after sequence without padding.
  func hidden(_ batch: TokenBatch, observe: Observer?) throws -> Tensor
  /// What the head makes of hidden states, row by row: `[rows, vocabulary]`, `[rows, labels]`, or `[rows, 2]` of spans.
  /// A head of sequences is given the rows of their summary tokens.
  func scores(_ rows: Tensor) throws -> Tensor
}

public enum EncoderTask: String, Sendable {
  /// Scores of every vocabulary entry for each token.
  case maskedToken = "masked tokens"
  /// Scores of classes for each sequence.
  case sequence = "classes of sequences"
  /// Scores of classes for each token.
  case token = "classes of tokens"
  /// Scores of each token as the first and as the last of an answer.
  case span = "answers in a text"
}

public enum SummaryToken: Sendable { case first, last }

/// Sequences of tokens that are computed together: packed one after the other, so that unequal lengths cost by tokens.
public struct TokenBatch: Sendable {
  public let sequences: [[Int32]]
  /// A segment (token type) for each token; nil: all 0.
  public let segments: [[Int32]]?

  public init(_ sequences: [[Int32]], segments: [[Int32]]? = nil) {
    self.sequences = sequences
    self.segments = segments
  }

  /// Tokens of all sequences.
  public var count: Int { sequences.reduce(0) { $0 + $1.count } }

  /// The rows of each sequence's tokens.
  public var ranges: [Range<Int>] {
    var end = 0
    return sequences.map { sequence in
      end += sequence.count
      return end - sequence.count..<end
    }
  }
}

/// A batch on a backend.
struct PackedTokens {
  let ids: Tensor  // [tokens] i32
  let positions: Tensor  // [tokens] i32
  let segments: Tensor  // [tokens] i32
  /// Where each sequence begins, `[sequences + 1]` i32.
  let starts: Tensor
  let lengths: [Int]
  var longest: Int { lengths.max() ?? 0 }
  var isEqual: Bool { lengths.allSatisfy { $0 == lengths[0] } }
}

extension TextEncoder {
  public func hidden(_ batch: TokenBatch) throws -> Tensor { try hidden(batch, observe: nil) }

  /// What the head makes of every token, or, where it classifies sequences, of their summary tokens.
  public func scores(_ hidden: Tensor, of batch: TokenBatch) throws -> Tensor {
    guard task == .sequence else { return try scores(hidden) }
    let rows = batch.ranges.map { Int32(summary == .first ? $0.lowerBound : $0.upperBound - 1) }
    return try scores(backend.gather(hidden, rows: backend.tensor(rows, [rows.count])))
  }

  /// The batch on the backend; see `TokenBatch.packed`.
  func pack(_ batch: TokenBatch, segments kinds: Int, positions: (([Int32]) -> [Int32])? = nil) throws
    -> PackedTokens
  {
    try batch.packed(
      on: backend, vocabulary: vocabularySize, context: contextLength, segments: kinds, positions: positions)
  }
}

extension TokenBatch {
  /// The batch on a backend, checked; `positions` gives a sequence's positions where they are not 0, 1, 2, ….
  func packed(
    on backend: any Backend, vocabulary vocabularySize: Int, context contextLength: Int,
    segments kinds: Int = 1, positions: (([Int32]) -> [Int32])? = nil
  ) throws -> PackedTokens {
    guard !sequences.isEmpty, sequences.allSatisfy({ !$0.isEmpty }) else {
      throw ModelError("there are no tokens to encode")
    }
    let longest = sequences.map(\.count).max() ?? 0
    guard longest <= contextLength else {
      throw ModelError("\(longest) tokens do not fit in the model's context of \(contextLength)")
    }
    for id in sequences.joined() where id < 0 || id >= vocabularySize {
      throw ModelError("token id \(id) is outside the model's vocabulary of \(vocabularySize)")
    }
    let segments = segments ?? sequences.map { [Int32](repeating: 0, count: $0.count) }
    guard segments.map(\.count) == sequences.map(\.count) else {
      throw ModelError(
        "segments are given for \(segments.map(\.count)) tokens, not for \(sequences.map(\.count))")
    }
    for segment in segments.joined() where segment < 0 || segment >= max(kinds, 1) {
      throw ModelError("segment \(segment) is outside the model's \(kinds)")
    }
    let places = sequences.flatMap { positions?($0) ?? (0..<$0.count).map { Int32($0) } }
    let starts = sequences.reduce(into: [Int32(0)]) { $0.append($0[$0.count - 1] + Int32($1.count)) }
    let count = places.count
    let packed = try backend.tensor(
      sequences.flatMap { $0 } + places + segments.flatMap { $0 } + starts, [3 * count + starts.count])
    return PackedTokens(
      ids: packed.slice(0, 0..<count), positions: packed.slice(0, count..<2 * count),
      segments: packed.slice(0, 2 * count..<3 * count),
      starts: packed.slice(0, 3 * count..<3 * count + starts.count), lengths: sequences.map(\.count))
  }
}

extension Backend {
  /// Attention of every sequence of a batch over itself: q, k, v `[tokens, heads · size]` give `[tokens, heads · value size]`.
  func attention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, _ batch: PackedTokens,
    _ options: AttentionOptions = AttentionOptions()
  ) throws -> Tensor {
    if batch.isEqual {
      let count = batch.lengths.count
      return try mergedAttention(
        q.heads(heads, batch: count),
        .dense(keys: k.heads(heads, batch: count), values: v.heads(heads, batch: count)), options,
        phase: .prefill)
    }
    return try mergedAttention(
      q.heads(heads), rows: .ragged(starts: batch.starts, longest: batch.longest),
      .ragged(keys: k.heads(heads), values: v.heads(heads), starts: batch.starts, longest: batch.longest),
      options,
      phase: .prefill)
  }
}
