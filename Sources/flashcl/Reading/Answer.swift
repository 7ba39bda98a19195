import ArgumentParser
import FlashCLModels

struct Answer: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "answer", abstract: "Finds the answer to a question in a text.",
    discussion: """
      Prints one answer a line: probability, first character and the one after the last, counted from 0, and the answer. \
      As npy, the probabilities that it begins and ends at each token of the context, float64 [tokens + 1, 2]; the last row is \
      that of no answer.
      Example: flashcl answer --model bert-squad --question 'Where did she live?' --context 'Ada Lovelace lived in London.'
      """)

  @OptionGroup var options: ReadingOptions
  @Option(parsing: .unconditional, help: "The question.")
  var question: String
  @Option(parsing: .unconditional, help: "The text that holds the answer.")
  var context: String
  @Option(parsing: .unconditional, help: "How many answers to print.")
  var top = 1
  @Option(parsing: .unconditional, help: ArgumentHelp("The longest answer.", valueName: "tokens"))
  var longest = 15

  func validate() throws {
    guard top > 0 else { throw ValidationError("--top must be 1 or more, not \(top)") }
    guard longest > 0 else { throw ValidationError("--longest must be 1 or more, not \(longest)") }
    if question.isEmpty { throw ValidationError("the question is empty") }
  }

  func run() throws {
    let model = try options.load(.span)
    if options.isArray { return try Output.rows(model.answerProbabilities(question, context: context)) }
    let answers = try model.answer(question, context: context, top: top, longest: longest)
    if options.isJSON {
      return try Output.json(
        Report(
          device: model.encoder.backend.deviceName,
          answers: answers.map {
            .init(answer: $0.text, score: $0.score, start: $0.range.lowerBound, end: $0.range.upperBound)
          }))
    }
    try Output.write(
      table(
        answers.map {
          [fixed($0.score, 4), "\($0.range.lowerBound)", "\($0.range.upperBound)", escaped($0.text)]
        }, right: [0, 1, 2]))
  }

  private struct Report: Encodable {
    struct Found: Encodable {
      let answer: String
      let score: Double
      /// In Unicode scalars.
      let start, end: Int
    }
    let device: String
    let answers: [Found]
  }
}
