import ArgumentParser
import FlashCLFiles
import FlashCLModels

struct Embed: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Turns sentences into vectors.",
    discussion: """
      With --output, one row of float32 for each sentence goes to a .npy file; without it, the cosine similarities of \
      all pairs are printed.
      Example: flashcl embed --model all-MiniLM-L6-v2 --text 'A cat sits.' --text 'A kitten rests.'
      """)

  /// Rows of one call: enough to fill a device.
  private static let batch = 32
  /// The most sentences whose pairs are printed: more do not fit a screen, or a document.
  private static let (mostInText, mostInJSON) = (12, 1000)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption

  @Option(
    name: .customLong("text"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A sentence; may be repeated.", valueName: "sentence"))
  var texts: [String] = []
  @Argument(help: ArgumentHelp("More sentences, after --text.", valueName: "sentence"))
  var more: [String] = []
  @Option(
    parsing: .unconditional,
    help: "A file of sentences: one a line, ended by LF; an empty line is the empty sentence.")
  var file: String?
  @Option(name: .customLong("output"), parsing: .unconditional, help: "The .npy file to write.")
  var path: String?

  func validate() throws {
    if texts.isEmpty == (file == nil) { throw ValidationError("give either --text or --file") }
    if texts.isEmpty && !more.isEmpty {
      throw ValidationError("'\(more[0])' stands alone; give it by --text")
    }
  }

  func run() throws {
    let sentences = try file.map { Self.lines(try contents(of: $0)) } ?? (texts + more)
    let most = output.isJSON ? Self.mostInJSON : Self.mostInText
    if path == nil && sentences.count > most {
      throw ValidationError(
        "\(sentences.count) sentences, and at most \(most) can be compared here; write them with --output E.npy"
      )
    }
    let backend = try device.backend()
    let encoder = try SentenceEncoder(model.model, on: backend, progress: Terminal.loading)
    let width = encoder.model.width
    if let path {
      let writer = try NumPyWriter(path, shape: [sentences.count, width], of: Float.self)
      try Self.encode(sentences, encoder) { try writer.append($0) }
      try writer.finish()
      guard output.isJSON else { return }
      return try Output.json(
        Written(device: backend.deviceName, width: width, lines: sentences.count, output: path))
    }
    var vectors: [[Float]] = []
    try Self.encode(sentences, encoder) { vectors.append($0) }
    let similarities = vectors.map { a in vectors.map { Self.cosine(a, $0) } }
    guard output.isJSON else { return try Self.print(similarities, sentences) }
    try Output.json(
      Report(device: backend.deviceName, width: width, embeddings: vectors, similarities: similarities))
  }

  private static func encode(
    _ sentences: [String], _ encoder: SentenceEncoder, _ body: ([Float]) throws -> Void
  )
    throws
  {
    for begin in stride(from: 0, to: sentences.count, by: batch) {
      if sentences.count > batch { Terminal.progress("\(begin) of \(sentences.count) sentences") }
      let end = min(begin + batch, sentences.count)
      for vector in try encoder.encode(Array(sentences[begin..<end])) { try body(vector) }
    }
    Terminal.progress("")
  }

  /// Lines end at LF alone; the last one's is optional.
  private static func lines(_ bytes: [UInt8]) -> [String] {
    var lines = bytes.split(separator: 10, omittingEmptySubsequences: false)
    if lines.last?.isEmpty == true { lines.removeLast() }
    return lines.map { String(decoding: $0, as: UTF8.self) }
  }

  private static func cosine(_ a: [Float], _ b: [Float]) -> Double {
    func dot(_ a: [Float], _ b: [Float]) -> Double {
      zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let lengths = (dot(a, a) * dot(b, b)).squareRoot()
    return lengths > 0 ? dot(a, b) / lengths : 0
  }

  private static func print(_ similarities: [[Double]], _ sentences: [String]) throws {
    let header = [""] + similarities.indices.map { "\($0 + 1)" }
    let rows = similarities.enumerated().map { index, row in
      let sentence = escaped(sentences[index])
      let shown = sentence.count > 50 ? sentence.prefix(49) + "…" : sentence[...]
      return ["\(index + 1)"] + row.map { fixed($0, 3) } + [String(shown)]
    }
    guard !rows.isEmpty else { return }
    try Output.write(table([header] + rows, right: Set(0...rows.count)))
  }

  private struct Report: Encodable {
    let device: String
    let width: Int
    let embeddings: [[Float]]
    let similarities: [[Double]]
  }

  private struct Written: Encodable {
    let device: String
    let width: Int
    let lines: Int
    let output: String
  }
}
