import FlashCLTokenizers

extension EncoderModel {
  /// A stretch of a context that answers a question.
  public struct Answer: Sendable, Equatable {
    public let text: String
    /// The product of its first and last token's probabilities, summed over the ways to cut its words.
    public internal(set) var score: Double
    /// Where it stands in the context, in Unicode scalars.
    public let range: Range<Int>
  }

  /// The likeliest stretches of `context` that answer `question`, of at most `longest` tokens each, the likeliest first; parts
  /// of words are widened to whole words.
  public func answer(_ question: String, context: String, top: Int = 1, longest: Int = 15) throws -> [Answer]
  {
    let (encoding, places, starts, ends) = try ends(question, context)
    var found: [(score: Double, first: Int, last: Int)] = []
    for first in places.indices {
      for last in first..<min(first + longest, places.count) {
        found.append((starts[first] * ends[last], first, last))
      }
    }
    found.sort { ($1.score, $0.first, $0.last) < ($0.score, $1.first, $1.last) }
    let scalars = Array(context.unicodeScalars)
    var answers: [Answer] = []
    // As transformers has it: of the best 2 · top + 10 candidates those that widen to one text are one answer, whose scores add up.
    for candidate in found.prefix(2 * top + 10) {
      let range = Self.words(
        encoding.offsets[places[candidate.first]]
          .lowerBound..<encoding.offsets[places[candidate.last]].upperBound,
        scalars)
      let text = String(scalars, range)
      if let same = answers.firstIndex(where: { $0.text.lowercased() == text.lowercased() }) {
        answers[same].score += candidate.score
      } else {
        answers.append(Answer(text: text, score: candidate.score, range: range))
      }
    }
    return Array(answers.sorted { $1.score < $0.score }.prefix(top))
  }

  /// The probabilities that an answer begins and ends at each token of the context, and, in the last row, that there is
  /// none, `[tokens + 1, 2]`.
  public func answerProbabilities(_ question: String, context: String) throws -> [[Double]] {
    let (_, _, starts, ends) = try ends(question, context)
    return zip(starts, ends).map { [$0, $1] }
  }

  private func ends(_ question: String, _ context: String) throws -> (
    Encoding, places: [Int], starts: [Double], ends: [Double]
  ) {
    let encoding = try encode(question, pair: context)
    let scores = try scores([encoding])[0]
    let places = encoding.ids.indices.filter { encoding.sources[$0] == 1 }
    guard !places.isEmpty else { throw ModelError("the context has no tokens") }
    // Only the context can hold an answer; the token that stands for the whole says that there is none.
    let none = encoder.summary == .first ? 0 : encoding.count - 1
    return (
      encoding, places, softmax((places + [none]).map { scores[2 * $0] }),
      softmax((places + [none]).map { scores[2 * $0 + 1] })
    )
  }

  private static func words(_ range: Range<Int>, _ scalars: [UnicodeScalar]) -> Range<Int> {
    func joins(_ index: Int) -> Bool {
      scalars.indices.contains(index - 1) && scalars.indices.contains(index)
        && scalars[index - 1].properties.isWord && scalars[index].properties.isWord
    }
    var (lower, upper) = (range.lowerBound, range.upperBound)
    while joins(lower) { lower -= 1 }
    while joins(upper) { upper += 1 }
    return lower..<upper
  }
}

extension UnicodeScalar.Properties {
  fileprivate var isWord: Bool { isAlphabetic || numericType != nil }
}
