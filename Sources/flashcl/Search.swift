import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels

struct Search: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "search", abstract: "Finds the lines whose vectors are nearest to a query's.",
    discussion: """
      The index is what 'flashcl embed --file LINES --output E.npy' wrote; every row is compared, on the device, by cosine. \
      A line number, the similarity and the line are printed, the nearest first. \
      As npy, line numbers and similarities, float64 [queries, top, 2].
      Example: flashcl search --model all-MiniLM-L6-v2 --index E.npy --texts lines.txt --query 'a small cat' --top 3
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: ArrayFormatOption
  @Option(parsing: .unconditional, help: "A .npy file of float32, a row a line.")
  var index: String
  @Option(parsing: .unconditional, help: "The file of lines that the index was made of.")
  var texts: String?
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("What to look for; may be repeated.", valueName: "text"))
  var query: [String]
  @Option(parsing: .unconditional, help: "How many lines to print for each query.")
  var top = 5
  @Option(
    help: ArgumentHelp(
      "As the index was made: mean or cls (default: as the model's files say).", valueName: "mean|cls"))
  var pooling: SentenceEncoder.Pooling?

  func validate() throws {
    if query.isEmpty { throw ValidationError("give a --query") }
    guard top > 0 && top <= TopK.limit else {
      throw ValidationError("--top must be from 1 to \(TopK.limit), not \(top)")
    }
  }

  func run() throws {
    let file = try NumPyFile(index)
    guard file.shape.count == 2, file.descr == "<f4" else {
      throw Failure(
        "\(index): holds \(file.typeName) of shape \(file.shape), expected float32 [lines, width]")
    }
    let lines = try texts.map { try Lines(file: $0) }
    if let lines, lines.count != file.shape[0] {
      throw Failure(
        "\(texts ?? "") has \(lines.count) lines, \(index) \(file.shape[0]) rows: they do not belong together"
      )
    }
    guard file.shape[0] > 0 else { throw Failure("\(index): has no rows") }
    let backend = try device.backend()
    let encoder = try SentenceEncoder(model.model, pooling: pooling, on: backend, progress: Terminal.loading)
    guard file.shape[1] == encoder.model.width else {
      throw Failure("\(index): has rows of \(file.shape[1]) numbers, the model makes \(encoder.model.width)")
    }
    let nearest = try NearestRows(file, on: backend)
    let found = try nearest.search(encoder.encode(query), count: top)
    if output.isArray {
      let numbers = found.joined().flatMap { [Double($0.row + 1), Double($0.similarity)] }
      return try Output.array(numbers, shape: [query.count, min(top, file.shape[0]), 2])
    }
    let wanted = Set(found.joined().map(\.row))
    var shown: [Int: String] = [:]
    if let lines {
      for (row, line) in lines.enumerated() where wanted.contains(row) {
        shown[row] = String(decoding: line, as: UTF8.self)
      }
    }
    let report = Report(
      device: backend.deviceName,
      queries: zip(query, found).map { query, matches in
        Report.Query(
          query: query,
          matches: matches.map { .init(line: $0.row + 1, similarity: $0.similarity, text: shown[$0.row]) })
      })
    guard !output.isJSON else { return try Output.json(report) }
    for query in report.queries {
      if report.queries.count > 1 { try Output.line(escaped(query.query)) }
      try Output.write(
        table(
          query.matches.map { ["\($0.line)", fixed(Double($0.similarity), 4), escaped($0.text ?? "")] },
          right: [0, 1]))
    }
  }

  private struct Report: Encodable {
    struct Match: Encodable {
      /// Counted from 1.
      let line: Int
      let similarity: Float
      @Nullable var text: String?

      init(line: Int, similarity: Float, text: String?) {
        (self.line, self.similarity, self.text) = (line, similarity, text)
      }
    }
    struct Query: Encodable {
      let query: String
      let matches: [Match]
    }
    let device: String
    let queries: [Query]
  }
}
