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
    let encoding = try encode(question, pair: context)
    let scores = try scores([encoding])[0]
    let places = encoding.ids.indices.filter { encoding.sources[$0] == 1 }
    guard !places.isEmpty else { throw ModelError("the context has no tokens") }
    // Only the context can hold an answer; the token that stands for the whole says that there is none.
    let none = encoder.summary == .first ? 0 : encoding.count - 1
    let starts = softmax((places + [none]).map { scores[2 * $0] })
    let ends = softmax((places + [none]).map { scores[2 * $0 + 1] })
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
