import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLRuntime

#if canImport(FoundationEssentials)
  import FoundationEssentials
#else
  import Foundation
#endif

struct Embed: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "embed", abstract: "Turns sentences into vectors.",
    discussion: """
      With --output, one row of float32 for each sentence goes to a .npy file, in the order of the lines; without it, the \
      cosine similarities of all pairs are printed, or, as npy, the rows. A file is read and written piece by piece. Until it is complete it \
      stands as OUTPUT.KEY.partial; after an interruption, the same command with --resume goes on where it ended.
      Example: flashcl embed --model all-MiniLM-L6-v2 --text 'A cat sits.' --text 'A kitten rests.'
      """)

  /// The most sentences whose pairs are printed: more do not fit a screen, or a document.
  private static let (mostInText, mostInJSON) = (12, 1000)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: ArrayFormatOption

  @Option(
    name: .customLong("text"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A sentence; may be repeated.", valueName: "sentence"))
  var texts: [String] = []
  @ArgumentParser.Argument(help: ArgumentHelp("More sentences, after --text.", valueName: "sentence"))
  var more: [String] = []
  @Option(
    parsing: .unconditional,
    help: "A file of sentences: one a line, ended by LF; an empty line is the empty sentence.")
  var file: String?
  @Option(name: .customLong("output"), parsing: .unconditional, help: "The .npy file to write.")
  var path: String?
  @Option(
    help: ArgumentHelp(
      "How tokens become a sentence: their mean, or the first one (default: as the model's files say).",
      valueName: "mean|cls"))
  var pooling: SentenceEncoder.Pooling?
  @Option(parsing: .unconditional, help: "Sentences of one call.")
  var batch = 32
  @Flag(help: "Go on with the rows that an interrupted run left.")
  var resume = false

  func validate() throws {
    if texts.isEmpty == (file == nil) { throw ValidationError("give either --text or --file") }
    if texts.isEmpty && !more.isEmpty {
      throw ValidationError("'\(more[0])' stands alone; give it by --text")
    }
    guard batch > 0 && batch <= 1 << 16 else {
      throw ValidationError("--batch must be from 1 to \(1 << 16), not \(batch)")
    }
    if resume && path == nil { throw ValidationError("--resume goes on with a file: it needs --output") }
  }

  func run() throws {
    // A text from the command line may hold line feeds of its own.
    let given = texts + more
    let lines = try file.map { try Lines(file: $0) }
    let count = lines?.count ?? given.count
    let most = output.isJSON ? Self.mostInJSON : Self.mostInText
    if path == nil && !output.isArray && count > most {
      throw ValidationError(
        "\(count) sentences, and at most \(most) can be compared here; write them with --output E.npy")
    }
    let backend = try device.backend()
    let encoder = try SentenceEncoder(
      model.model, pooling: pooling, on: backend, progress: Terminal.loading)
    let width = encoder.model.width
    let sentences = lines.map { AnySequence($0) } ?? AnySequence(given.lazy.map { Array($0.utf8) })
    var (cut, bad) = (0, 0)
    defer {
      Lines.say(bad)
      if cut > 0 {
        Terminal.say(
          "flashcl: \(cut == 1 ? "1 line was" : "\(cut) lines were") cut to the model's \(encoder.maxTokens) tokens"
        )
      }
    }
    if let path {
      let writer = try NumPyWriter(
        path, shape: [count, width], of: Float.self, key: key(given, lines, encoder, backend), resumes: resume
      )
      let done = writer.written / width
      if resume {
        Terminal.say(
          "flashcl: \(done > 0 ? "going on after \(done) of \(count) lines" : "nothing to go on with")")
      }
      try encode(sentences.dropFirst(done), from: done, of: count, encoder, &cut, &bad) {
        try writer.append($0)
      }
      try writer.finish()
      guard output.isJSON else { return }
      return try Output.json(
        Written(device: backend.deviceName, width: width, lines: count, cut: cut, output: path))
    }
    if output.isArray {
      try Output.header([count, width], of: Float.self)
      return try encode(sentences.dropFirst(0), from: 0, of: count, encoder, &cut, &bad) {
        try Output.append($0)
      }
    }
    var vectors: [[Float]] = []
    try encode(sentences.dropFirst(0), from: 0, of: count, encoder, &cut, &bad) { vectors.append($0) }
    let similarities = vectors.map { a in vectors.map { Self.cosine(a, $0) } }
    guard output.isJSON else {
      return try Self.print(similarities, sentences.map { String(decoding: $0, as: UTF8.self) })
    }
    try Output.json(
      Report(device: backend.deviceName, width: width, embeddings: vectors, similarities: similarities))
  }

  private func encode(
    _ sentences: some Sequence<[UInt8]>, from first: Int, of count: Int, _ encoder: SentenceEncoder,
    _ cut: inout Int, _ bad: inout Int, _ body: ([Float]) throws -> Void
  ) throws {
    var (done, pending) = (first, [[Int32]]())
    func run() throws {
      if count > batch { Terminal.progress("\(done) of \(count) sentences") }
      for vector in try encoder.encode(pending) { try body(vector) }
      done += pending.count
      pending = []
    }
    for sentence in sentences {
      let (ids, isCut) = try encoder.tokens(sentence)
      if isCut { cut += 1 }
      if !Lines.isText(sentence) { bad += 1 }
      pending.append(ids)
      if pending.count == batch { try run() }
    }
    try run()
    Terminal.progress("")
  }

  /// Whatever decides the rows: sentences, model, device and how they are pooled.
  private func key(_ given: [String], _ lines: Lines?, _ encoder: SentenceEncoder, _ backend: any Backend)
    throws
    -> String
  {
    var fingerprint = Fingerprint()
    for text in given { fingerprint.combine(text) }
    lines?.withBytes { fingerprint.combine($0) }
    for text in [model.model, backend.deviceName, encoder.pooling.rawValue] { fingerprint.combine(text) }
    // A model that was replaced under its old name makes other rows.
    let folder = FileManager.default
    let names = ((try? folder.contentsOfDirectory(atPath: model.model)) ?? []).sorted().map { "/\($0)" }
    for name in [""] + names {
      let attributes = try folder.attributesOfItem(atPath: "\(model.model)\(name)")
      let changed = (attributes[.modificationDate] as? Date)?.timeIntervalSinceReferenceDate ?? 0
      fingerprint.combine("\(name) \(attributes[.size] ?? 0) \(changed)")
    }
    return String(fingerprint.description.prefix(16))
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
    let cut: Int
    let output: String
  }
}

extension SentenceEncoder.Pooling: ExpressibleByArgument {}
