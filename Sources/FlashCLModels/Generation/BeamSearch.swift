#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// One way to go on: a token and its log-probability.
public struct Candidate: Sendable {
  public let id: Int32
  public let logProbability: Float

  public init(_ id: Int32, _ logProbability: Float) {
    self.id = id
    self.logProbability = logProbability
  }
}

/// Generated tokens, without the decoder's first, with the one that ended them; and their score.
public struct Hypothesis: Sendable, Equatable {
  public let tokens: [Int32]
  /// The sum of the tokens' log-probabilities divided by length^penalty.
  public let score: Float

  public init(tokens: [Int32], score: Float) {
    self.tokens = tokens
    self.score = score
  }
}

/// The search for one source's best sequences: which beams go on, which have ended, and when there is nothing to gain.
///
/// It knows no model: each step is given every running beam's best candidates, and tells which beams the next ones go on
/// from.
///
///     while !search.isDone { let parents = search.advance(candidates(search.running)) }
public struct BeamSearch {
  public struct Beam: Sendable {
    /// From the decoder's first token on.
    public let tokens: [Int32]
    public let score: Float
  }

  public let options: BeamOptions
  /// At first one, then at most `options.width`, the best first.
  public private(set) var running: [Beam]
  /// What has ended, the best first.
  public private(set) var finished: [Hypothesis] = []
  public private(set) var isDone = false

  public init(_ options: BeamOptions) {
    self.options = options
    running = [Beam(tokens: [options.start], score: 0)]
  }

  /// The results that were asked for.
  public var results: [Hypothesis] { Array(finished.prefix(options.results)) }

  /// Tokens that beam `index` must not go on with.
  public func banned(_ index: Int) -> Set<Int32> {
    let tokens = running[index].tokens
    var banned = tokens.count < options.minLength ? options.ends : []
    for words in options.banned where words.count <= tokens.count || words.count == 1 {
      guard let last = words.last, words.count > 1 || !options.ends.contains(last) else { continue }
      if tokens.suffix(words.count - 1).elementsEqual(words.dropLast()) { banned.insert(last) }
    }
    let size = options.noRepeatNgram
    if size > 0 && tokens.count >= size {
      let end = tokens.suffix(size - 1)
      for place in 0...tokens.count - size
      where tokens[place..<place + size - 1].elementsEqual(end) {
        banned.insert(tokens[place + size - 1])
      }
    }
    return banned
  }

  /// The tokens one of which must come next, if any: they are certain, whatever the model thinks.
  private var forced: [Int32]? {
    let count = running[0].tokens.count
    if count == options.maxTokens && !options.forcedLast.isEmpty { return options.forcedLast }
    if count == 1, let first = options.forcedFirst { return [first] }
    return nil
  }

  /// Goes one token on. `candidates` holds for each running beam its best, banned ones left out: `options.kept`, or as many
  /// as there are. Returns for each beam that runs now the index of the one that it goes on from.
  public mutating func advance(_ candidates: [[Candidate]]) -> [Int] {
    let forced = forced
    var all: [(beam: Int, id: Int32, score: Float)] = []
    for (index, beam) in running.enumerated() {
      for next in forced?.map({ Candidate($0, 0) }) ?? candidates[index] {
        let score = beam.score + next.logProbability
        if score.isFinite { all.append((index, next.id, score)) }
      }
    }
    // Of equals the first stays first.
    let order = all.indices.sorted { (all[$0].score, $1) > (all[$1].score, $0) }.prefix(options.kept)
    let length = running[0].tokens.count  // of the generated tokens, with the new one
    let isLast = length >= options.maxTokens
    var (next, parents, ended): ([Beam], [Int], [Hypothesis]) = ([], [], [])
    for (rank, place) in order.enumerated() {
      let (beam, id, score) = all[place]
      if isLast || options.ends.contains(id) {
        // What ends below the best `width` was a candidate for nothing.
        if rank < options.width {
          ended.append(
            Hypothesis(tokens: running[beam].tokens.dropFirst() + [id], score: scaled(score, length)))
        }
      } else if next.count < options.width {
        next.append(Beam(tokens: running[beam].tokens + [id], score: score))
        parents.append(beam)
      }
    }
    finished = (finished + ended).enumerated().sorted {
      ($0.element.score, $1.offset) > ($1.element.score, $0.offset)
    }
    .prefix(options.width).map(\.element)
    running = next
    isDone = next.isEmpty || !canImprove(length)
    return parents
  }

  private func scaled(_ score: Float, _ length: Int) -> Float {
    score / Float(pow(Double(length), Double(options.lengthPenalty)))
  }

  /// Greedy search ends with its first result; wider ones where no running beam could come before the worst.
  private func canImprove(_ length: Int) -> Bool {
    guard finished.count == options.width, let worst = finished.last, let best = running.first else {
      return true
    }
    if options.earlyStopping == .yes || options.width == 1 { return false }
    let isRewarded = options.earlyStopping == .never && options.lengthPenalty > 0
    return scaled(best.score, isRewarded ? options.maxTokens : length) > worst.score
  }
}
