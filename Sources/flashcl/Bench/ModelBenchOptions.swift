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
      A model of random weights in a real one's shape to time instead, as NAME or NAME:TYPE \
      (\(ModelShape.names.joined(separator: ", "))).
      """, valueName: "name"),
    transform: { text in
      do { return try ModelShape(text) } catch { throw ValidationError("\(error)") }
    })
  var modelShape: ModelShape?
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Tokens of each prompt (default: 16,128,512).", valueName: "list"),
    transform: { try Self.counts($0, "tokens") })
  var promptLengths: [Int]?
  @Option(parsing: .unconditional, help: "Tokens to decode after each prompt (default: 128).")
  var decode: Int?
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
      try text.split(separator: ",", omittingEmptySubsequences: false).map { part in
        guard let type = ElementType(rawValue: String(part)), [.f32, .f16, .bf16, .q8_0].contains(type) else {
          throw ValidationError("'\(part)' is no type of a cache; write f32,f16")
        }
        return type
      }
    })
  var cacheTypes: [ElementType]?

  var isGiven: Bool { model != nil || modelShape != nil }
  /// The option that names the model.
  var name: String { modelShape == nil ? "model" : "model-shape" }

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
    if cacheLengths != nil && decode == 0 {
      throw ValidationError("--cache-lengths times decoding, and --decode is 0")
    }
    if let decode, decode < 0 { throw ValidationError("--decode must be 0 or more, not \(decode)") }
  }
}
