import ArgumentParser
import FlashCL
import FlashCLModels

/// Which model `bench` times, and over what.
struct ModelBenchOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: "A model to time instead: a .gguf file, or a folder.")
  var model: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      A model of random weights in a real one's shape to time instead, as NAME or NAME:TYPE, or several in turn \
      (\(ModelShape.names.joined(separator: ", "))).
      """, valueName: "list"),
    transform: { text in
      do {
        return try text.split(separator: ",", omittingEmptySubsequences: false).map {
          try ModelShape(String($0))
        }
      } catch { throw ValidationError("\(error)") }
    })
  var modelShape: [ModelShape]?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      Tokens of each prompt, or of each source of an encoder–decoder (default: 16,128,512); 4:120 spreads those of a batch \
      evenly from 4 to 120.
      """, valueName: "list"),
    transform: Self.spreads)
  var promptLengths: [Spread]?
  @Option(parsing: .unconditional, help: "Tokens to decode after each prompt (default: 128).")
  var decode: Int?
  @Option(
    parsing: .unconditional,
    help:
      "Beams of an encoder–decoder, whose steps are compared with greedy ones; 1 is greedy alone (default: 4)."
  )
  var beam: Int?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      """
      A file of sentences, one a line, that a sentence encoder turns into vectors, tokenizer and pooling included, --batch \
      (default: 32) at a time.
      """, valueName: "file"))
  var texts: String?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Sequences side by side (default: 1).", valueName: "list"),
    transform: { try Self.counts($0, "sequences") })
  var batch: [Int]?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "Tokens that each sequence's cache has before decoding, which alone is timed.", valueName: "list"),
    transform: { try Self.counts($0, "tokens") })
  var cacheLengths: [Int]?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Types of the cache: f32, f16, bf16, q8_0 (default: f32).", valueName: "list"),
    transform: { text in
      try text.split(separator: ",", omittingEmptySubsequences: false).map { try CacheOption.type(named: $0) }
    })
  var cacheTypes: [ElementType]?

  var isGiven: Bool { model != nil || modelShape != nil }
  /// The models: files, or shapes.
  var models: [(name: String, shape: ModelShape?)] {
    modelShape.map { $0.map { ($0.description, $0) } } ?? [(model ?? "", nil)]
  }
  /// The option that names the model.
  var name: String { modelShape == nil ? "model" : "model-shape" }

  private static func spreads(_ text: String) throws -> [Spread] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      let ends = try part.split(separator: ":", omittingEmptySubsequences: false).map {
        try counts(String($0), "tokens")[0]
      }
      guard ends.count <= 2, ends[0] <= ends[ends.count - 1] else {
        throw ValidationError("'\(part)' is no range of tokens; write 4:120")
      }
      return Spread(ends[0], ends[ends.count - 1])
    }
  }

  private static func counts(_ text: String, _ noun: String) throws -> [Int] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
      guard let number = Int(part), number > 0, number <= 1 << 24 else {
        throw ValidationError("'\(part)' is no number of \(noun); write 16,128,512")
      }
      return number
    }
  }

  func validate() throws {
    if model != nil && modelShape != nil { throw ValidationError("give --model or --model-shape, not both") }
    if !isGiven && (promptLengths != nil || decode != nil) {
      throw ValidationError("--prompt-lengths and --decode are for --model")
    }
    if !isGiven && (batch != nil || cacheTypes != nil || cacheLengths != nil) {
      throw ValidationError("--batch, --cache-lengths and --cache-types are for --model")
    }
    if model == nil && texts != nil { throw ValidationError("--texts is for --model") }
    if !isGiven && beam != nil { throw ValidationError("--beam is for --model") }
    if texts != nil && (promptLengths != nil || decode != nil || beam != nil) {
      throw ValidationError("--texts gives the lengths, and nothing is decoded after them")
    }
    if let beam, beam < 1 { throw ValidationError("--beam must be 1 or more, not \(beam)") }
    if cacheLengths != nil && decode == 0 {
      throw ValidationError("--cache-lengths times decoding, and --decode is 0")
    }
    if let decode, decode < 0 { throw ValidationError("--decode must be 0 or more, not \(decode)") }
  }
}

/// Lengths of the sequences of a batch: all alike, or spread evenly.
struct Spread: Sendable {
  let least: Int
  let most: Int

  init(_ least: Int, _ most: Int? = nil) { (self.least, self.most) = (least, most ?? least) }

  /// Of each sequence, the shortest first; one alone is as long as their middle.
  func lengths(_ batch: Int) -> [Int] {
    batch == 1 ? [(least + most) / 2] : (0..<batch).map { least + (most - least) * $0 / (batch - 1) }
  }
}
