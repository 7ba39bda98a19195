import ArgumentParser
import FlashCLModels

struct FillMask: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fill-mask", abstract: "Guesses the word behind a mask token.",
    discussion: """
      Prints one guess a line: probability, token, text; of several masks one after the other. As npy, the \
      probability of every token at each mask, float64 [masks, vocabulary].
      Example: flashcl fill-mask --model bert-base-uncased --text 'Paris is the [MASK] of France.' --top 3
      """)

  @OptionGroup var options: ReadingOptions
  @Option(parsing: .unconditional, help: "A text with the model's mask token in it.")
  var text: String
  @Option(parsing: .unconditional, help: "How many guesses to print.")
  var top = 5

  func validate() throws {
    guard top > 0 else { throw ValidationError("--top must be 1 or more, not \(top)") }
  }

  func run() throws {
    let model = try options.load(.maskedToken)
    if options.isArray { return try Output.rows(model.maskProbabilities(text)) }
    let masks = try model.fillMask(text, top: top)
    if options.isJSON {
      return try Output.json(
        Report(
          device: model.encoder.backend.deviceName,
          predictions: masks.enumerated().flatMap { mask, guesses in
            guesses.map {
              Report.Prediction(
                mask: mask, score: $0.score, token: $0.id, token_str: $0.piece, sequence: $0.text)
            }
          }))
    }
    for guesses in masks {
      try Output.write(
        table(guesses.map { [fixed($0.score, 4), escaped($0.piece), escaped($0.text)] }, right: [0]))
    }
  }

  private struct Report: Encodable {
    struct Prediction: Encodable {
      /// Counted from 0.
      let mask: Int
      let score: Double
      let token: Int32
      let token_str: String
      let sequence: String
    }
    let device: String
    let predictions: [Prediction]
  }
}
