import ArgumentParser
import FlashCLModels

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
  @OptionGroup var sampling: SamplingArguments
  @Option(
    parsing: .unconditionalSingleValue,
    help: ArgumentHelp("A text that ends generation; may be repeated.", valueName: "text"))
  var stop: [String] = []

  var options: GenerationOptions {
    var options = GenerationOptions()
    options.maxTokens = maxTokens
    options.stop = stop
    options.sampling = sampling.options
    return options
  }

  func validate() throws {
    if stop.contains("") { throw ValidationError("an empty --stop would stop nothing") }
    do { try options.validate() } catch { throw ValidationError("\(error)") }
  }
}
