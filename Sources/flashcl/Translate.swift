import ArgumentParser
import FlashCL
import FlashCLModels

struct Translate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "translate",
    abstract: "Turns texts into others with an encoder–decoder: translates, summarises, answers.",
    discussion: """
      Prints the best result of each text on a line of its own, in the input's order; with --n-best above 1 each with its \
      score before it. As npy, their tokens, int32 [texts, results, longest], where −1 follows the last one. What is not given is as the model's generation_config.json says.
      Example: flashcl translate --model opus-mt-en-de --text 'A cat sits outside.' --beam 4
      """)

  /// Sequences of one call: enough to fill a device, few enough that their caches stay small.
  private static let together = 16

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: ArrayFormatOption

  @Option(
    name: .customLong("text"), parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A text; may be repeated.", valueName: "text"))
  var texts: [String] = []
  @Option(parsing: .unconditional, help: "A file of texts: one a line, ended by LF.")
  var file: String?
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp(
      "Token ids of a source, as 1,2,3, instead of a text; may be repeated. Ids are printed, and no tokenizer is opened.",
      valueName: "ids"),
    transform: TokenIDs.init)
  var sourceTokens: [TokenIDs] = []
  @Option(
    parsing: .unconditional,
    help: "Beams of each text; 1 is greedy (default: 4, or 1 where tokens are drawn).")
  var beam: Int?
  @OptionGroup var sampling: SamplingArguments
  @Option(parsing: .unconditional, help: "How many results each text has.")
  var nBest = 1
  @Option(parsing: .unconditional, help: "Divides scores by length^X: above 0 favours long results.")
  var lengthPenalty: Float?
  @Option(
    parsing: .unconditional,
    help: "The most tokens of a result (default: as the model's files say, else 256; at most its positions).")
  var maxTokens: Int?
  @Option(parsing: .unconditional, help: "No run of so many tokens comes twice in a result; 0 allows all.")
  var noRepeatNgram: Int?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("The token that results must begin with, such as mBART's language.", valueName: "id"))
  var firstToken: Int32?
  @Flag(help: "Cuts sources that are longer than the model's positions, which are refused otherwise.")
  var truncate = false

  func validate() throws {
    let given = [!texts.isEmpty, file != nil, !sourceTokens.isEmpty].filter { $0 }.count
    if given != 1 { throw ValidationError("give one of --text, --file and --source-tokens") }
    if isDrawn && beam ?? 1 != 1 {
      throw ValidationError("tokens that are drawn, or made less likely, have no beams: --beam must be 1")
    }
    do { try options(BeamOptions()).validate() } catch { throw ValidationError("\(error)") }
  }

  /// Each result is then a sequence of its own instead of one beam of several.
  private var isDrawn: Bool { sampling.temperature > 0 || sampling.repetitionPenalty != 1 }
  /// Sequences of each source.
  private var width: Int { isDrawn ? nBest : beam ?? 4 }

  /// What the command line says beside what the files say.
  private func options(_ files: BeamOptions) -> BeamOptions {
    var options = files
    (options.width, options.results) = (width, nBest)
    options.lengthPenalty = lengthPenalty ?? options.lengthPenalty
    options.maxTokens = maxTokens ?? options.maxTokens
    options.noRepeatNgram = noRepeatNgram ?? options.noRepeatNgram
    options.forcedFirst = firstToken ?? options.forcedFirst
    return options
  }

  func run() throws {
    let lines = try file.map { Array(try Lines(file: $0)) } ?? texts.map { Array($0.utf8) }
    Lines.say(lines.count { !Lines.isText($0) })
    let backend = try device.backend()
    let translator = try Translator(model.model, on: backend, progress: Terminal.loading)
    let options = options(translator.options)
    if let id = firstToken {
      _ = try TokenIDs([Int(id)]).checked(vocabulary: translator.model.vocabularySize)
    }
    let sources = try sourceTokens.map { try $0.checked(vocabulary: translator.model.sourceVocabularySize) }
    let count = sources.isEmpty ? lines.count : sources.count
    var results: [Result] = []
    for first in stride(from: 0, to: count, by: max(1, Self.together / width)) {
      let range = first..<min(first + max(1, Self.together / width), count)
      var batch = try range.map {
        try translator.fitted(
          sources.isEmpty ? translator.tokens(lines[$0]) : sources[$0], truncates: truncate)
      }
      // A text without any token, where the tokenizer adds no marks, has nothing to be made of.
      let empty = Set(batch.indices.filter { batch[$0].isEmpty })
      batch.removeAll(where: \.isEmpty)
      var found: [[Hypothesis]] = []
      if !batch.isEmpty {
        func progress(_ tokens: Int) { Terminal.progress("\(first) of \(count) sources, \(tokens) tokens") }
        found =
          isDrawn
          ? try translator.model.sample(
            TokenBatch(batch), options, sampling.options, first: first, progress: progress)
          : try translator.model.generate(TokenBatch(batch), options, progress: progress)
      }
      Terminal.progress("")
      for index in range.indices {
        let isEmpty = empty.contains(index - range.lowerBound)
        let hypotheses = isEmpty ? [Hypothesis(tokens: [], score: 0)] : found.removeFirst()
        let result = Result(
          source: sources.isEmpty ? String(decoding: lines[index], as: UTF8.self) : nil,
          hypotheses: try hypotheses.map {
            Result.Entry(
              tokens: $0.tokens, score: $0.score,
              text: sources.isEmpty ? try translator.text($0.tokens) : nil)
          })
        if output.format != .text { results.append(result) } else { try print(result) }
      }
    }
    switch output.format {
    case .text: break
    case .json: try Output.json(Report(device: backend.deviceName, translations: results))
    case .npy: try printArray(results)
    }
  }

  private func print(_ result: Result) throws {
    for entry in result.hypotheses {
      let text = entry.text.map { escaped($0) } ?? entry.tokens.map { "\($0)" }.joined(separator: ",")
      try Output.line(nBest > 1 ? "\(fixed(Double(entry.score), 4))\t\(text)" : text)
    }
  }

  private func printArray(_ results: [Result]) throws {
    let longest = results.flatMap(\.hypotheses).map(\.tokens.count).max() ?? 0
    let rows = results.flatMap { result in
      // A text of no tokens has one result.
      (0..<nBest).flatMap { index -> [Int32] in
        let tokens = index < result.hypotheses.count ? result.hypotheses[index].tokens : []
        return tokens + Array(repeating: -1, count: longest - tokens.count)
      }
    }
    try Output.array(rows, shape: [results.count, nBest, longest])
  }

  private struct Report: Encodable {
    let device: String
    let translations: [Result]
  }

  private struct Result: Encodable {
    struct Entry: Encodable {
      let tokens: [Int32]
      let score: Float
      @Nullable var text: String?
    }

    @Nullable var source: String?
    let hypotheses: [Entry]
  }
}
