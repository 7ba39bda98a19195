import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How the next token is chosen; filters apply in the order in which they stand here, which is that of `transformers`.
public struct SamplingOptions: Sendable {
  /// Divides positive and multiplies negative logits of every token seen so far; 1 changes nothing.
  public var repetitionPenalty: Float = 1
  /// Divides the logits; 0 takes the greatest.
  public var temperature: Float = 0
  /// Keeps the k greatest.
  public var topK: Int?
  /// Keeps the fewest tokens, greatest first, whose probabilities reach this sum.
  public var topP: Float?
  /// Keeps tokens at least this share as probable as the greatest.
  public var minP: Float?
  /// Makes a run repeatable on one device and driver.
  public var seed: UInt64 = 0

  public init() {}

  /// True where the greatest logit alone decides.
  public var isGreedy: Bool { temperature == 0 && repetitionPenalty == 1 }

  /// Throws unless every number is in its range.
  public func validate() throws {
    func check(_ name: String, _ value: Float?, _ range: ClosedRange<Float>) throws {
      guard let value else { return }
      guard range.contains(value) else {
        throw ModelError("\(name) must be from \(range.lowerBound) to \(range.upperBound), not \(value)")
      }
    }
    try check("the repetition penalty", repetitionPenalty, 0.01...100)
    try check("the temperature", temperature, 0...100)
    try check("top-p", topP, 0...1)
    try check("min-p", minP, 0...1)
    if let topK, topK < 1 { throw ModelError("top-k must be 1 or more, not \(topK)") }
  }
}

/// Chooses tokens from logits.
struct Sampler {
  private let options: SamplingOptions
  private var random: SplitMix64

  init(_ options: SamplingOptions) throws {
    try options.validate()
    self.options = options
    random = SplitMix64(seed: options.seed)
  }

  /// The next token after `history`, from what was predicted of one row.
  mutating func pick(_ prediction: Prediction, history: [Int32]) throws -> Int32 {
    let backend = prediction.backend
    if options.isGreedy { return try backend.integers(prediction.greatest())[0] }
    let logits = try prediction.logits()
    if let k = options.topK, k <= min(TopK.limit, logits.columns), options.repetitionPenalty == 1 {
      // Only the k candidates leave the device.
      let (values, indices) = try backend.topK(logits, k)
      let ids = try backend.integers(indices)
      return try pick(zip(try backend.floats(values), ids).map { Candidate(logit: $0, id: $1) })
    }
    return try pick(backend.floats(logits.reshaped([logits.count])), history: history)
  }

  /// The next token after `history` from the scores of all tokens, the banned ones left out.
  mutating func pick(_ scores: [Float], history: [Int32], banned: Set<Int32> = []) throws -> Int32 {
    var scores = scores
    if options.repetitionPenalty != 1 {
      for id in Set(history) where scores.indices.contains(Int(id)) {
        let score = scores[Int(id)]
        scores[Int(id)] = score > 0 ? score / options.repetitionPenalty : score * options.repetitionPenalty
      }
    }
    for id in banned where scores.indices.contains(Int(id)) { scores[Int(id)] = -.infinity }
    return try pick(scores.enumerated().map { Candidate(logit: $1, id: Int32($0)) })
  }

  struct Candidate {
    var logit: Float
    let id: Int32
  }

  /// Temperature, top-k, top-p, min-p, then a draw.
  mutating func pick(_ all: [Candidate]) throws -> Int32 {
    // Greatest first, the lower id among equals: the order that top_k and argmax have too.
    func before(_ a: Candidate, _ b: Candidate) -> Bool {
      a.logit > b.logit || (a.logit == b.logit && a.id < b.id)
    }
    guard let best = all.filter({ !$0.logit.isNaN }).min(by: before), best.logit.isFinite else {
      throw ModelError("the logits are not numbers: the model's weights or the device are broken")
    }
    if options.temperature == 0 { return best.id }
    var kept = all.filter { !$0.logit.isNaN }
    if options.topK != nil || options.topP != nil { kept.sort(by: before) }
    if let k = options.topK, k < kept.count { kept.removeSubrange(k...) }
    var weights = kept.map { exp(Double($0.logit - best.logit) / Double(options.temperature)) }
    if let topP = options.topP {
      // A token goes when it and all after it have no more than 1 − p together.
      let total = weights.reduce(0, +)
      var (tail, end) = (0.0, weights.count)
      while end > 1, (tail + weights[end - 1]) / total <= 1 - Double(topP) {
        tail += weights[end - 1]
        end -= 1
      }
      kept.removeSubrange(end...)
      weights.removeSubrange(end...)
    }
    if let minP = options.minP {
      // The greatest weight is e⁰ = 1.
      for index in weights.indices where weights[index] < Double(minP) { weights[index] = 0 }
    }
    var left = random.uniform() * weights.reduce(0, +)
    for (candidate, weight) in zip(kept, weights) where weight > 0 {
      left -= weight
      if left < 0 { return candidate.id }
    }
    return best.id  // rounding left a crumb
  }
}
