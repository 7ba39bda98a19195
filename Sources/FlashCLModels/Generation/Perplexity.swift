import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// How well a model expects a text: exp of the mean of −log p(token | the tokens before it).
///
/// A text longer than `context` is read in windows that move on by `stride` tokens, as transformers' documentation has it:
/// each window scores the tokens that the last one has not, but for one that it begins with. So every token but the first is
/// scored once where windows overlap, and has at least `context` − `stride` tokens before it after the first window.
public struct Perplexity: Sendable {
  /// Tokens that were scored.
  public private(set) var tokens = 0
  /// Σ −log p, in nats.
  public private(set) var negativeLogLikelihood = 0.0
  public private(set) var windows = 0

  /// exp(`negativeLogLikelihood` / `tokens`); NaN where no token was scored.
  public var value: Double { exp(negativeLogLikelihood / Double(tokens)) }

  /// Rows of logits that are on the host at a time: 6 MB for a vocabulary of 49152.
  private static let rows = 32

  /// Scores `ids`; `progress` is told what is known after each window.
  ///
  /// - Throws: `ModelError` for fewer than two ids, a context that is not from 2 to the model's, or a stride that is not
  ///   from 1 to the context.
  public init(
    of ids: [Int32], by decoder: any Decoder, context: Int, stride step: Int, cacheType: ElementType = .f32,
    progress: (Perplexity) -> Void = { _ in }
  ) throws {
    guard ids.count > 1 else {
      throw ModelError("a text of \(ids.count) tokens has no perplexity; at least 2 are needed")
    }
    guard (2...max(2, decoder.contextLength)).contains(context) else {
      throw ModelError("a context of \(context) tokens is not from 2 to the model's \(decoder.contextLength)")
    }
    guard (1...context).contains(step) else {
      throw ModelError("a stride of \(step) is not from 1 to the context, \(context)")
    }
    var scored = 1  // the first token follows nothing
    for begin in Swift.stride(from: 0, to: ids.count, by: step) {
      let end = min(begin + context, ids.count)
      let window = Array(ids[begin..<end])
      let state = try DecoderState(decoder, capacity: window.count, cacheType: cacheType)
      try state.prefill(window) { hidden, range in
        // Row i of the window speaks of its token i + 1.
        let first = max(range.lowerBound, max(scored, begin + 1) - begin - 1)
        let last = min(range.upperBound, window.count - 1)
        for row in Swift.stride(from: first, to: last, by: Self.rows) {
          let piece = row..<min(row + Self.rows, last)
          let logits = try decoder.backend.floats(
            decoder.logits(
              hidden.slice(0, piece.lowerBound - range.lowerBound..<piece.upperBound - range.lowerBound),
              phase: .prefill))
          add(logits, next: window[piece.lowerBound + 1..<piece.upperBound + 1])
        }
      }
      scored = end
      windows += 1
      progress(self)
      if end == ids.count { break }
    }
  }

  /// Adds −log softmax(row)[id] of each row.
  private mutating func add(_ logits: [Float], next ids: ArraySlice<Int32>) {
    let columns = logits.count / ids.count
    for (row, id) in ids.enumerated() {
      let scores = logits[row * columns..<(row + 1) * columns]
      let largest = scores.max() ?? 0
      let sum = scores.reduce(0.0) { $0 + Double(expf($1 - largest)) }
      negativeLogLikelihood += log(sum) - Double(scores[scores.startIndex + Int(id)] - largest)
      tokens += 1
    }
  }
}
