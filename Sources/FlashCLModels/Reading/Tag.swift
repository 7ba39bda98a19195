import FlashCLTokenizers

extension EncoderModel {
  /// A stretch of a text and the class of its tokens.
  public struct Span: Sendable, Equatable {
    public let label: String
    /// The mean of its tokens' probabilities.
    public let score: Double
    public let text: String
    /// Where it stands, in Unicode scalars.
    public let range: Range<Int>
  }

  /// The stretches of a text whose class is not "O": neighbouring tokens of one class, where a class that begins with "B-"
  /// opens a new stretch and "I-" goes on.
  public func tag(_ text: String) throws -> [Span] {
    let encoding = try encode(text)
    let scalars = Array(text.unicodeScalars)
    var open: (label: String, scores: [Double], range: Range<Int>)?
    var spans: [Span] = []
    func close() {
      guard let span = open else { return }
      open = nil
      guard span.label != "O" else { return }
      spans.append(
        Span(
          label: span.label, score: span.scores.reduce(0, +) / Double(span.scores.count),
          text: String(scalars, span.range), range: span.range))
    }
    for (index, probabilities) in try tokenProbabilities(encoding) {
      let best = probabilities.indices.max { probabilities[$0] < probabilities[$1] } ?? 0
      let name = encoder.labels[best]
      let (begins, label) = (
        name.hasPrefix("B-"), name.hasPrefix("B-") || name.hasPrefix("I-") ? String(name.dropFirst(2)) : name
      )
      if let span = open, span.label == label, !begins {
        open = (
          label, span.scores + [probabilities[best]],
          span.range.lowerBound..<encoding.offsets[index].upperBound
        )
      } else {
        close()
        open = (label, [probabilities[best]], encoding.offsets[index])
      }
    }
    close()
    return spans
  }

  /// The probability of every class for each token of a text, the model's own tokens left out, `[tokens, classes]`.
  public func tagProbabilities(_ text: String) throws -> [[Double]] {
    try tokenProbabilities(encode(text)).map(\.1)
  }

  private func tokenProbabilities(_ encoding: Encoding) throws -> [(index: Int, probabilities: [Double])] {
    let (scores, classes) = (try scores([encoding])[0], encoder.labels.count)
    return encoding.ids.indices.filter { encoding.sources[$0] != nil }.map {
      ($0, softmax(scores[$0 * classes..<($0 + 1) * classes]))
    }
  }
}

extension String {
  /// The scalars at `range`, as far as there are that many.
  init(_ scalars: [UnicodeScalar], _ range: Range<Int>) {
    self.init(String.UnicodeScalarView(scalars[range.clamped(to: scalars.indices)]))
  }
}
