import FlashCLTokenizers

extension EncoderModel {
  /// What a text, or a pair of texts, is.
  public struct Classification: Sendable {
    /// The likeliest class.
    public let label: String
    public let score: Double
    /// Of every class, in the model's order: probabilities that sum to 1, or, of classes that do not exclude each other,
    /// each its own; of a model that estimates a number, the number.
    public let scores: [(label: String, score: Double)]
  }

  /// Classes of texts, each alone or with the second of a pair.
  public func classify(_ texts: [(text: String, pair: String?)]) throws -> [Classification] {
    let encodings = try texts.map { try encode($0.text, pair: $0.pair) }
    return try scores(encodings).map { scores in
      let values: [Double]
      switch folder.config["problem_type"]?.string {
      case "regression": values = scores.map { Double($0) }
      case nil where scores.count == 1, "multi_label_classification":
        values = scores.map(sigmoid)
      default: values = softmax(scores)
      }
      let best = values.indices.max { values[$0] < values[$1] } ?? 0
      return Classification(
        label: encoder.labels[best], score: values[best], scores: Array(zip(encoder.labels, values)))
    }
  }
}
