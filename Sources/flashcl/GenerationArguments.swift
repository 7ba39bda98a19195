import ArgumentParser
import FlashCL
import FlashCLModels

/// How keys and values are kept, for every subcommand that reads a text with a decoder.
struct CacheOption: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp(
      "How keys and values are kept: f32, f16, bf16 or q8_0. f16 takes half the memory of f32.",
      valueName: "type"),
    transform: Self.type(named:))
  var cacheType = ElementType.f32

  static func type(named name: some StringProtocol) throws -> ElementType {
    guard let type = ElementType(rawValue: String(name)), [.f32, .f16, .bf16, .q8_0].contains(type) else {
      throw ValidationError("'\(name)' is no type of a cache; there is f32, f16, bf16, q8_0")
    }
    return type
  }
}

/// How tokens are drawn, for every subcommand that generates.
struct SamplingArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "Divides the logits; 0 always takes the likeliest token.")
  var temperature: Float = 0
  @Option(parsing: .unconditional, help: "Draws from this many of the likeliest tokens.")
  var topK: Int?
  @Option(
    parsing: .unconditional,
    help: "Draws from the fewest likeliest tokens whose probabilities reach this sum.")
  var topP: Float?
  @Option(
    parsing: .unconditional, help: "Draws from tokens at least this share as probable as the likeliest.")
  var minP: Float?
  @Option(parsing: .unconditional, help: "Makes tokens seen before less likely; 1 changes nothing.")
  var repetitionPenalty: Float = 1
  @Option(parsing: .unconditional, help: "Where the random numbers start.")
  var seed: UInt64 = 0

  var options: SamplingOptions {
    var options = SamplingOptions()
    options.temperature = temperature
    options.topK = topK
    options.topP = topP
    options.minP = minP
    options.repetitionPenalty = repetitionPenalty
    options.seed = seed
    return options
  }

  func validate() throws {
    do { try options.validate() } catch { throw ValidationError("\(error)") }
  }
}

/// How tokens are chosen and when they end, for every subcommand that generates.
struct GenerationArguments: ParsableArguments {
  @Option(parsing: .unconditional, help: "The most tokens to generate.")
  var maxTokens = 256
  @OptionGroup var cache: CacheOption
  @OptionGroup var sampling: SamplingArguments
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A text that ends generation; may be repeated.", valueName: "text"))
  var stop: [String] = []

  var options: GenerationOptions {
    var options = GenerationOptions()
    options.maxTokens = maxTokens
    options.cacheType = cache.cacheType
    options.stop = stop
    options.sampling = sampling.options
    return options
  }

  func validate() throws {
    if stop.contains("") { throw ValidationError("an empty --stop would stop nothing") }
    do { try options.validate() } catch { throw ValidationError("\(error)") }
  }
}
