import FlashCL

/// A causal stack of layers over a key-value cache: what every decoder-only architecture is to the rest.
public protocol Decoder: AnyObject {
  var backend: any Backend { get }
  /// Rows of the output projection: one logit each.
  var vocabularySize: Int { get }
  /// The most tokens of one sequence.
  var contextLength: Int { get }
  /// One cache's sizes; all layers are alike.
  var cacheShape: CacheShape { get }

  /// The hidden states of a step's tokens after the final norm, `[tokens, width]`; keys and values join the caches.
  func hidden(_ step: Step, _ caches: [KeyValueCache], observe: Observer?) throws -> Tensor
  /// Scores of every vocabulary entry for each row of `hidden`, `[rows, vocabulary]`.
  func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor
}

/// Receives the residual stream after the embedding and after each layer, under a name such as "layer 3".
public typealias Observer = (_ name: String, _ hidden: Tensor) throws -> Void

public struct CacheShape: Sendable {
  public let layers: Int
  public let heads: Int
  public let keySize: Int
  public let valueSize: Int
}

/// The tokens of one call, of one sequence or several, and their places: what changes from call to call.
public struct Step {
  public let ids: Tensor  // [tokens] i32, sequence after sequence
  public let positions: Tensor  // [tokens] i32
  public let slots: Tensor  // [tokens] i32
  /// Where each sequence's tokens begin, `[sequences + 1]` i32; nil where all have equally many.
  public let starts: Tensor?
  /// The most tokens of one sequence.
  public let longestRows: Int
  public let table: Tensor  // [sequences, blocks] i32
  public let lengths: Tensor  // [sequences] i32: keys in the cache with these tokens' own
  /// The most keys of one sequence.
  public let longest: Int
  /// What attention does: decode's splits of the keys, or prefill's tiles of queries.
  public let phase: Phase
  /// What linear layers do: decode's sums, or prefill's tiles, which read each weight once for many rows.
  public let linearPhase: Phase
}

extension Backend {
  /// Attention of a step's queries over one layer's cache: q `[tokens, heads · size]` gives `[tokens, heads · value size]`.
  func attention(
    _ q: Tensor, heads: Int, over cache: KeyValueCache, _ step: Step, _ options: AttentionOptions
  ) throws -> Tensor {
    let keys = Attention.Source.paged(
      cache: cache, table: step.table, lengths: step.lengths, longest: step.longest)
    if let starts = step.starts {
      return try mergedAttention(
        q.heads(heads), rows: .ragged(starts: starts, longest: step.longestRows), keys, options,
        phase: step.phase)
    }
    return try mergedAttention(
      q.heads(heads, batch: step.lengths.count), keys, options, phase: step.phase)
  }
}

/// The sequences that a decoder continues side by side: their caches, and how much of each is filled.
public final class DecoderState {
  private static let blockLength = 16
  /// Up to so many sequences linear layers sum in decode's order. From five on prefill's tiles are faster: a step of eight
  /// took 28 ms where two of four took 34 ms (SmolLM2 Q4_1, two cores).
  private static let decodedTogether = 4

  public let decoder: any Decoder
  /// The most tokens of each sequence.
  public let capacity: Int
  /// Tokens of one prefill call: enough to fill a device, few enough that scratch stays small.
  public let prefillRows: Int
  /// Tokens that each sequence has.
  public private(set) var counts: [Int]
  private let caches: [KeyValueCache]
  private let table: Tensor  // [sequences, blocks]

  /// Tokens of the only sequence, or of the longest.
  public var count: Int { counts.max() ?? 0 }

  /// Room for `sequences` of `capacity` tokens each; throws when that passes the model's context.
  public init(
    _ decoder: any Decoder, capacity: Int, sequences: Int = 1, cacheType: ElementType = .f32,
    prefillRows: Int = 512
  ) throws {
    guard capacity <= decoder.contextLength else {
      throw ModelError("\(capacity) tokens do not fit in the model's context of \(decoder.contextLength)")
    }
    guard sequences > 0 else { throw ModelError("at least 1 sequence must be asked for, not \(sequences)") }
    self.decoder = decoder
    self.capacity = capacity
    self.prefillRows = max(1, prefillRows)
    counts = [Int](repeating: 0, count: sequences)
    let shape = decoder.cacheShape
    let backend = decoder.backend
    let blocks = max(1, (capacity + Self.blockLength - 1) / Self.blockLength)
    caches = try (0..<shape.layers).map { _ in
      try backend.makeCache(
        blocks: sequences * blocks, blockLength: Self.blockLength, heads: shape.heads, keySize: shape.keySize,
        valueSize: shape.valueSize, type: cacheType)
    }
    table = try backend.tensor((0..<sequences * blocks).map { Int32($0) }, [sequences, blocks])
  }

  /// Feeds tokens to each sequence, none to some, and returns their hidden states, `[tokens, width]`, sequence after
  /// sequence; at most `prefillRows` tokens together.
  public func hidden(_ ids: [[Int32]], phase: Phase, observe: Observer? = nil) throws -> Tensor {
    try decoder.hidden(step(ids, phase), caches, observe: observe)
  }

  /// Feeds tokens to the only sequence; see `hidden(_:phase:observe:)` of several.
  public func hidden(_ ids: [Int32], phase: Phase, observe: Observer? = nil) throws -> Tensor {
    try hidden([ids], phase: phase, observe: observe)
  }

  /// Feeds a prompt in pieces and hands each piece's hidden states to `body`, with the range of its tokens.
  public func prefill(_ ids: [Int32], observe: Observer? = nil, _ body: (Tensor, Range<Int>) throws -> Void)
    throws
  {
    for begin in stride(from: 0, to: ids.count, by: prefillRows) {
      let range = begin..<min(begin + prefillRows, ids.count)
      try body(hidden(Array(ids[range]), phase: .prefill, observe: observe), range)
    }
  }

  /// Feeds a prompt and returns the logits of its last token, `[1, vocabulary]`.
  public func prefill(_ ids: [Int32]) throws -> Tensor { try prefill([ids])[0] }

  /// Feeds a prompt to each sequence, in pieces that take up the next sequence where one ends; the logits of the prompts'
  /// last tokens, each `[1, vocabulary]`.
  public func prefill(_ prompts: [[Int32]]) throws -> [Tensor] {
    guard prompts.allSatisfy({ !$0.isEmpty }) else { throw ModelError("the prompt has no tokens") }
    var last: [Tensor] = []
    var rest = prompts.map { $0[...] }
    while last.count < prompts.count {
      var room = prefillRows
      let piece = rest.map { ids in
        let taken = ids.prefix(room)
        room -= taken.count
        return Array(taken)
      }
      let hidden = try hidden(piece, phase: .prefill)
      var row = 0
      for (index, taken) in piece.enumerated() where !taken.isEmpty {
        row += taken.count
        rest[index].removeFirst(taken.count)
        guard rest[index].isEmpty else { break }
        // One row: the decode kernels read each weight once, the prefill kernels would compute fifteen rows of nothing.
        last.append(try decoder.logits(hidden.slice(0, row - 1..<row), phase: .decode))
      }
    }
    return last
  }

  /// Feeds one token and returns its logits, `[1, vocabulary]`.
  public func decode(_ id: Int32) throws -> Tensor { try decode([id]) }

  /// Feeds one token to each sequence and returns their logits, `[sequences, vocabulary]`.
  public func decode(_ ids: [Int32]) throws -> Tensor {
    let hidden = try hidden(ids.map { [$0] }, phase: .decode)
    return try decoder.logits(hidden, phase: linearPhase(.decode))
  }

  /// Follows from the number of sequences that there is room for, so that a sequence's bits stay what they are when others rest.
  private func linearPhase(_ phase: Phase) -> Phase {
    counts.count <= Self.decodedTogether ? phase : .prefill
  }

  private func step(_ ids: [[Int32]], _ phase: Phase) throws -> Step {
    guard ids.count == counts.count else {
      throw ModelError("tokens for \(ids.count) sequences, where there are \(counts.count)")
    }
    guard let first = ids.firstIndex(where: { !$0.isEmpty }), let last = ids.lastIndex(where: { !$0.isEmpty })
    else { throw ModelError("there are no tokens to feed") }
    let blocks = table.shape[1]
    var (places, slots, starts, lengths): ([Int32], [Int32], [Int32], [Int32]) = ([], [], [0], [])
    for index in first...last {
      let (new, count) = (ids[index], counts[index])
      guard count + new.count <= capacity else {
        throw ModelError(
          "\(count + new.count) tokens do not fit in the \(capacity) that the sequence has room for")
      }
      for id in new where id < 0 || id >= decoder.vocabularySize {
        throw ModelError("token id \(id) is outside the model's vocabulary of \(decoder.vocabularySize)")
      }
      // Each sequence has its blocks in a row, so a token's slot follows from its position.
      let base = index * blocks * Self.blockLength
      places += (count..<count + new.count).map { Int32($0) }
      slots += (count..<count + new.count).map { Int32(base + $0) }
      starts.append(Int32(places.count))
      lengths.append(Int32(count + new.count))
    }
    for index in first...last { counts[index] += ids[index].count }
    let active = ids[first...last]
    let isEqual = active.allSatisfy { $0.count == active[first].count }

    let tokens = places.count
    var packed: [Int32] = []
    func put(_ values: [Int32]) -> Range<Int> {
      packed += values
      return packed.count - values.count..<packed.count
    }
    let ranges = (
      put(Array(active.joined())), put(places), put(slots), put(lengths), put(isEqual ? [] : starts)
    )
    let all = try decoder.backend.tensor(packed, [packed.count])
    return Step(
      ids: all.slice(0, ranges.0), positions: all.slice(0, ranges.1), slots: all.slice(0, ranges.2),
      starts: isEqual ? nil : all.slice(0, ranges.4), longestRows: active.map(\.count).max() ?? tokens,
      table: table.slice(0, first..<last + 1), lengths: all.slice(0, ranges.3),
      longest: lengths.map { Int($0) }.max() ?? 0, phase: phase, linearPhase: linearPhase(phase))
  }
}

/// What a model, its files or a request to it has wrong, in one line.
public struct ModelError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
