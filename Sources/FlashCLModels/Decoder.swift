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

/// The tokens of one call and their places: what changes from call to call.
public struct Step {
  public let ids: Tensor  // [tokens] i32
  public let positions: Tensor  // [tokens] i32
  public let slots: Tensor  // [tokens] i32
  public let table: Tensor  // [1, blocks] i32
  public let lengths: Tensor  // [1] i32: keys in the cache with these tokens' own
  public let longest: Int
  public let phase: Phase
}

/// The state of one sequence: its caches, and how much of them is filled.
public final class DecoderState {
  /// Rows of one prefill call: enough to fill a device, few enough that scratch stays small.
  static let prefillRows = 512

  public let decoder: any Decoder
  public let capacity: Int
  public private(set) var count = 0
  private let caches: [KeyValueCache]
  private let table: Tensor  // [1, blocks]

  /// Room for `capacity` tokens; throws when that passes the model's context.
  public init(_ decoder: any Decoder, capacity: Int, cacheType: ElementType = .f32) throws {
    guard capacity <= decoder.contextLength else {
      throw ModelError("\(capacity) tokens do not fit in the model's context of \(decoder.contextLength)")
    }
    self.decoder = decoder
    self.capacity = capacity
    let shape = decoder.cacheShape
    let backend = decoder.backend
    let blockLength = 16
    let blocks = max(1, (capacity + blockLength - 1) / blockLength)
    caches = try (0..<shape.layers).map { _ in
      try backend.makeCache(
        blocks: blocks, blockLength: blockLength, heads: shape.heads, keySize: shape.keySize,
        valueSize: shape.valueSize, type: cacheType)
    }
    table = try backend.tensor((0..<blocks).map { Int32($0) }, [1, blocks])
  }

  /// Feeds tokens and returns their hidden states, `[tokens, width]` of at most `prefillRows` tokens.
  public func hidden(_ ids: [Int32], phase: Phase, observe: Observer? = nil) throws -> Tensor {
    try decoder.hidden(step(ids, phase), caches, observe: observe)
  }

  /// Feeds a prompt in pieces and hands each piece's hidden states to `body`, with the range of its tokens.
  public func prefill(_ ids: [Int32], observe: Observer? = nil, _ body: (Tensor, Range<Int>) throws -> Void)
    throws
  {
    for begin in stride(from: 0, to: ids.count, by: Self.prefillRows) {
      let range = begin..<min(begin + Self.prefillRows, ids.count)
      try body(hidden(Array(ids[range]), phase: .prefill, observe: observe), range)
    }
  }

  /// Feeds a prompt and returns the logits of its last token, `[1, vocabulary]`.
  public func prefill(_ ids: [Int32]) throws -> Tensor {
    var last: Tensor?
    try prefill(ids) { hidden, _ in last = hidden.slice(0, hidden.shape[0] - 1..<hidden.shape[0]) }
    guard let last else { throw ModelError("the prompt has no tokens") }
    // One row: the decode kernels read each weight once, the prefill kernels would compute fifteen rows of nothing.
    return try decoder.logits(last, phase: .decode)
  }

  /// Feeds one token and returns its logits, `[1, vocabulary]`.
  public func decode(_ id: Int32) throws -> Tensor {
    try decoder.logits(hidden([id], phase: .decode), phase: .decode)
  }

  private func step(_ ids: [Int32], _ phase: Phase) throws -> Step {
    let tokens = ids.count
    guard count + tokens <= capacity else {
      throw ModelError(
        "\(count + tokens) tokens do not fit in the \(capacity) that the sequence has room for")
    }
    for id in ids where id < 0 || id >= decoder.vocabularySize {
      throw ModelError("token id \(id) is outside the model's vocabulary of \(decoder.vocabularySize)")
    }
    let places = (count..<count + tokens).map { Int32($0) }
    // Blocks are handed out in order, so a token's slot is its position.
    let packed = try decoder.backend.tensor(ids + places + [Int32(count + tokens)], [2 * tokens + 1])
    count += tokens
    let positions = packed.slice(0, tokens..<2 * tokens)
    return Step(
      ids: packed.slice(0, 0..<tokens), positions: positions, slots: positions, table: table,
      lengths: packed.slice(0, 2 * tokens..<2 * tokens + 1), longest: count, phase: phase)
  }
}

/// What a model, its files or a request to it has wrong, in one line.
public struct ModelError: Error, CustomStringConvertible, Equatable {
  public let description: String
  public init(_ description: String) { self.description = description }
}
