import FlashCL

/// A causal stack of layers over a key-value cache: what every decoder-only architecture is to the rest.
public protocol Decoder: AnyObject {
  var backend: any Backend { get }
  /// Rows of the output projection: one logit each.
  var vocabularySize: Int { get }
  /// The most tokens of one sequence.
  var contextLength: Int { get }
  /// As `contextLength`; less where room for more changes the angles of all positions (dynamic and longrope scaling).
  var unstretchedLength: Int { get }
  /// One cache's sizes; all layers are alike.
  var cacheShape: CacheShape { get }

  /// The hidden states of a step's tokens after the final norm, `[tokens, width]`; keys and values join the caches.
  func hidden(_ step: Step, _ caches: [KeyValueCache], observe: Observer?) throws -> Tensor
  /// Scores of every vocabulary entry for each row of `hidden`, `[rows, vocabulary]`.
  func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor
  /// The greatest of these in each row, the first of equals, `[rows]` i32; by itself argmax(logits).
  func greatest(_ hidden: Tensor, phase: Phase) throws -> Tensor
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
  /// No sequence has more keys than this; the most that one has, or, to decode, that and what the next steps add.
  public let longest: Int
  /// The most tokens that a sequence has room for.
  public let capacity: Int
  /// What attention does: decode's splits of the keys, or prefill's tiles of queries.
  public let phase: Phase
  /// What linear layers do: decode's sums, or prefill's tiles, which read each weight once for many rows.
  public let linearPhase: Phase
}

/// A step before it has memory.
struct StepPlan {
  /// What a step is beside its numbers: steps of one shape are alike to all operations.
  struct Shape: Equatable {
    let tokens, sequences: Int
    let isEqual: Bool
    let longestRows, blocks, longest, capacity: Int
    let phase, linearPhase: Phase
  }

  /// Ids, positions, slots, lengths, starts where sequences are not equal, tables: one after the other.
  let numbers: [Int32]
  let shape: Shape

  /// The step whose numbers lie in `all`, a tensor of as many.
  func step(in all: Tensor) -> Step {
    var end = 0
    func next(_ count: Int) -> Tensor {
      end += count
      return all.slice(0, end - count..<end)
    }
    let (ids, positions, slots) = (next(shape.tokens), next(shape.tokens), next(shape.tokens))
    let lengths = next(shape.sequences)
    let starts = shape.isEqual ? nil : next(shape.sequences + 1)
    return Step(
      ids: ids, positions: positions, slots: slots, starts: starts, longestRows: shape.longestRows,
      table: next(shape.sequences * shape.blocks).reshaped([shape.sequences, shape.blocks]), lengths: lengths,
      longest: shape.longest, capacity: shape.capacity, phase: shape.phase, linearPhase: shape.linearPhase)
  }
}

extension Backend {
  /// Attention of a step's queries over one layer's cache, which its keys and values join first; queries and keys turn by `rope`.
  ///
  /// q `[tokens, heads · size]`, k and v `[tokens, key heads · size]`; the result is `[tokens, heads · value size]`.
  func attention(
    _ q: Tensor, _ k: Tensor, _ v: Tensor, heads: Int, rope: RopeTable? = nil, over cache: KeyValueCache,
    _ step: Step, _ options: AttentionOptions
  ) throws -> Tensor {
    let new = CacheAppend(
      keys: k.split(cache.heads), values: v.split(cache.heads), slots: step.slots,
      positions: rope == nil ? nil : step.positions, table: rope,
      queries: rope == nil ? nil : q.split(heads), cache: cache)
    let keys = Attention.Source.paged(
      cache: cache, table: step.table, lengths: step.lengths, longest: step.longest)
    if let starts = step.starts {
      return try mergedAttention(
        q.heads(heads), appending: new, rows: .ragged(starts: starts, longest: step.longestRows), keys,
        options, phase: step.phase)
    }
    return try mergedAttention(
      q.heads(heads, batch: step.lengths.count), appending: new, keys, options, phase: step.phase)
  }
}

/// The sequences that a decoder continues side by side: their caches, and how much of each is filled.
public final class DecoderState {
  public let decoder: any Decoder
  /// Tokens of one prefill call: enough to fill a device, few enough that scratch stays small.
  public let prefillRows: Int
  private let sequences: SequenceCaches
  private var decodeSteps = DecodeSteps()

  /// The most tokens of each sequence.
  public var capacity: Int { sequences.capacity }
  /// Tokens that each sequence has.
  public var counts: [Int] { sequences.counts }
  /// Tokens of the only sequence, or of the longest.
  public var count: Int { counts.max() ?? 0 }

  /// Room for `sequences` of `capacity` tokens each; throws when that passes the model's context. Memory is taken for `reserve`
  /// of them, all without a number, and for more when they come.
  public init(
    _ decoder: any Decoder, capacity: Int, reserve: Int? = nil, sequences: Int = 1,
    cacheType: ElementType = .f32, prefillRows: Int = 512
  ) throws {
    guard capacity <= decoder.contextLength else {
      throw ModelError("\(capacity) tokens do not fit in the model's context of \(decoder.contextLength)")
    }
    self.decoder = decoder
    self.prefillRows = max(1, prefillRows)
    self.sequences = try SequenceCaches(
      decoder.cacheShape, capacity: capacity, reserve: reserve ?? capacity, sequences: sequences,
      type: cacheType, on: decoder.backend)
  }

  /// Feeds tokens to each sequence, none to some, and returns their hidden states, `[tokens, width]`, sequence after
  /// sequence; at most `prefillRows` tokens together.
  public func hidden(_ ids: [[Int32]], phase: Phase, observe: Observer? = nil) throws -> Tensor {
    let plan = try sequences.plan(ids, vocabulary: decoder.vocabularySize, phase)
    let all = try decoder.backend.tensor(plan.numbers, [plan.numbers.count])
    return try decoder.hidden(plan.step(in: all), sequences.caches, observe: observe)
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

  private struct Stopped: Error {}

  /// Feeds a prompt to the only sequence and predicts what follows it; nil where `isStopped`, which is asked after each layer,
  /// said so. Then, and where it throws, the sequence has the pieces that were fed whole.
  public func prefill(_ ids: [Int32], unless isStopped: (() -> Bool)?) throws -> Prediction? {
    guard !ids.isEmpty else { throw ModelError("the prompt has no tokens") }
    var whole = count
    var last: Prediction?
    do {
      let look = isStopped.map { isStopped -> Observer in
        { [decoder] _, _ in
          // Else the next layers would be queued before this one is computed.
          try decoder.backend.synchronise()
          if isStopped() { throw Stopped() }
        }
      }
      try prefill(ids, observe: look) { hidden, range in
        whole += range.count
        guard range.upperBound == ids.count else { return }
        last = predict(after: range.count - 1, of: hidden)
      }
    } catch {
      try keep(whole)
      if error is Stopped { return nil }
      throw error
    }
    return last
  }

  /// One row: the decode kernels read each weight once, the prefill kernels would compute fifteen rows of nothing.
  private func predict(after row: Int, of hidden: Tensor) -> Prediction {
    Prediction(decoder: decoder, hidden: hidden.slice(0, row..<row + 1), phase: .decode)
  }

  /// Feeds a prompt to each sequence; the logits of the prompts' last tokens, each `[1, vocabulary]`.
  public func prefill(_ prompts: [[Int32]]) throws -> [Tensor] {
    try predictions(after: prompts) { try $0.logits() }
  }

  /// Feeds a prompt to each sequence, in pieces that take up the next sequence where one ends; `take` gets what is predicted
  /// after each as soon as it is there.
  public func predictions<R>(after prompts: [[Int32]], _ take: (Prediction) throws -> R) throws -> [R] {
    guard prompts.allSatisfy({ !$0.isEmpty }) else { throw ModelError("the prompt has no tokens") }
    var last: [R] = []
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
        last.append(try take(predict(after: row - 1, of: hidden)))
      }
    }
    return last
  }

  /// Takes room for tokens of the only sequence that are never fed: for what counts, and computes nothing.
  func skip(_ count: Int) throws {
    guard count > 0 else { return }
    _ = try sequences.plan(
      [[Int32](repeating: 0, count: count)], vocabulary: decoder.vocabularySize, .prefill)
  }

  /// Forgets all but the first `count` tokens of the only sequence.
  public func keep(_ count: Int) throws {
    guard counts.count == 1, 0...counts[0] ~= count else {
      throw ModelError("\(count) tokens cannot be kept of sequences of \(counts)")
    }
    sequences.keep(count, of: 0)
  }

  /// Feeds one token and returns its logits, `[1, vocabulary]`.
  public func decode(_ id: Int32) throws -> Tensor { try decode([id]) }

  /// Feeds one token to each sequence and returns their logits, `[sequences, vocabulary]`.
  public func decode(_ ids: [Int32]) throws -> Tensor { try prediction(after: ids).logits() }

  /// Feeds one token to each sequence and predicts what follows each, a row of a sequence.
  public func prediction(after ids: [Int32]) throws -> Prediction {
    let plan = try sequences.plan(ids.map { [$0] }, vocabulary: decoder.vocabularySize, .decode)
    let hidden = try decodeSteps.hidden(plan, decoder, sequences.caches)
    return Prediction(decoder: decoder, hidden: hidden, phase: plan.shape.linearPhase)
  }
}

/// Decode steps of one shape: the second is captured, the others are its replays.
///
/// The first compiles programs and fills tables. Where the second cannot be captured, as the host takes part in it, each runs anew.
private struct DecodeSteps {
  private var shape: StepPlan.Shape?
  private var caches: [KeyValueCache] = []
  private var captured: (numbers: Tensor, hidden: Tensor, replay: any Replay)?
  private var isFirst = true

  mutating func hidden(_ plan: StepPlan, _ decoder: any Decoder, _ caches: [KeyValueCache]) throws -> Tensor {
    let backend = decoder.backend
    let isAlike = plan.shape == shape && zip(caches, self.caches).allSatisfy { $0.storage === $1.storage }
    if isAlike, let captured {
      try plan.numbers.withUnsafeBytes { try backend.write($0, to: captured.numbers) }
      try captured.replay.run()
      return captured.hidden
    }
    let numbers = try backend.tensor(plan.numbers, [plan.numbers.count])
    let step = plan.step(in: numbers)
    captured = nil
    guard isAlike else {
      (shape, self.caches, isFirst) = (plan.shape, caches, true)
      return try decoder.hidden(step, caches, observe: nil)
    }
    guard isFirst else { return try decoder.hidden(step, caches, observe: nil) }
    isFirst = false
    let (hidden, replay) = try backend.capture { try decoder.hidden(step, caches, observe: nil) }
    captured = replay.map { (numbers, hidden, $0) }
    return hidden
  }
}

/// What a model, its files or a request to it has wrong, in one line.
public struct ModelError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
