import ArgumentParser
import FlashCLModels

struct Tag: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tag", abstract: "Finds names and other entities in a text.",
    discussion: """
      Prints one entity a line: its first character and the one after its last, counted from 0, its class, probability, and \
      text. As npy, the probability of every class for each token of the texts, float64 [tokens, classes].
      Example: flashcl tag --model bert-ner --text 'Ada Lovelace lived in London.'
      """)

  @OptionGroup var options: ReadingOptions
  @Option(
    parsing: .unconditionalSingleValue, help: ArgumentHelp("A text; may be repeated.", valueName: "text"))
  var text: [String]

  func validate() throws {
    if text.isEmpty { throw ValidationError("give a --text") }
  }

  func run() throws {
    let model = try options.load(.token)
    if options.isArray { return try Output.rows(text.flatMap { try model.tagProbabilities($0) }) }
    let results = try text.map { text in
      Report.Result(
        text: text,
        entities: try model.tag(text).map {
          .init(
            entity_group: $0.label, score: $0.score, word: $0.text, start: $0.range.lowerBound,
            end: $0.range.upperBound)
        })
    }
    if options.isJSON {
      return try Output.json(Report(device: model.encoder.backend.deviceName, results: results))
    }
    for result in results {
      if results.count > 1 { try Output.line(escaped(result.text)) }
      let rows = result.entities.map {
        ["\($0.start)", "\($0.end)", $0.entity_group, fixed($0.score, 4), escaped($0.word)]
      }
      if !rows.isEmpty { try Output.write(table(rows, right: [0, 1, 3])) }
    }
  }

  private struct Report: Encodable {
    struct Entity: Encodable {
      let entity_group: String
      let score: Double
      let word: String
      /// In Unicode scalars.
      let start, end: Int
    }
    struct Result: Encodable {
      let text: String
      let entities: [Entity]
    }
    let device: String
    let results: [Result]
  }
}
