import ArgumentParser
import FlashCLModels

struct Classify: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "classify", abstract: "Says which class a text, or a pair of texts, is of.",
    discussion: """
      Prints one text a line: class, probability, text. With --pair the model reads each text together with a second one. As \
      npy, the score of every class, float64 [texts, classes].
      Example: flashcl classify --model distilbert-sst2 --text 'What a film!' --text 'I slept through it.'
      """)

  @OptionGroup var options: ReadingOptions
  @Option(
    parsing: .unconditionalSingleValue, help: ArgumentHelp("A text; may be repeated.", valueName: "text"))
  var text: [String] = []
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("The second text of a pair; as often as --text.", valueName: "text"))
  var pair: [String] = []
  @Option(parsing: .unconditional, help: "A file of texts: one a line, ended by LF.")
  var file: String?

  func validate() throws {
    if text.isEmpty == (file == nil) { throw ValidationError("give either --text or --file") }
    if !pair.isEmpty && pair.count != text.count {
      throw ValidationError(
        "--pair is given \(count(pair.count, "time")), --text \(count(text.count, "time"))")
    }
  }

  func run() throws {
    let texts = try file.map { try Lines(file: $0).texts() } ?? text
    let model = try options.load(.sequence)
    var results: [Report.Result] = []
    // So many texts of one call as fill a device.
    for first in stride(from: 0, to: texts.count, by: 32) {
      let range = first..<min(first + 32, texts.count)
      if texts.count > 32 { Terminal.progress("\(first) of \(texts.count) texts") }
      let classes = try model.classify(range.map { (texts[$0], pair.isEmpty ? nil : pair[$0]) })
      results += zip(range, classes).map { index, found in
        Report.Result(
          text: texts[index], label: found.label, score: found.score,
          scores: found.scores.map { .init(label: $0.label, score: $0.score) })
      }
    }
    Terminal.progress("")
    if options.isArray { return try Output.rows(results.map { $0.scores.map(\.score) }) }
    if options.isJSON {
      return try Output.json(Report(device: model.encoder.backend.deviceName, results: results))
    }
    try Output.write(table(results.map { [$0.label, fixed($0.score, 4), escaped($0.text)] }, right: [1]))
  }

  private struct Report: Encodable {
    struct Result: Encodable {
      struct Score: Encodable {
        let label: String
        let score: Double
      }
      let text: String
      let label: String
      let score: Double
      let scores: [Score]
    }
    let device: String
    let results: [Result]
  }
}
