import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels

struct PerplexityCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity", abstract: "Measures how well a model expects a text.",
    discussion: """
      The perplexity is exp of the mean of −log p(token | tokens before it). A text longer than the context is read in \
      windows that move on by --stride tokens, as transformers' documentation has it: each scores the tokens that the \
      last one has not, so that every token but the first is scored once. (llama.cpp's perplexity scores the second half of \
      windows that do not overlap, and gives another number.)
      Example: flashcl perplexity --model SmolLM2.gguf --file text.txt --context 512
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption
  @Option(parsing: .unconditional, help: "The text, a file of UTF-8.")
  var file: String
  @Option(
    parsing: .unconditional,
    help: "Tokens of a window (default: 512, or the model's context where that is less).")
  var context: Int?
  @Option(parsing: .unconditional, help: "Tokens from window to window (default: half the context).")
  var stride: Int?

  @OptionGroup var cache: CacheOption

  func validate() throws {
    if let context, context < 2 { throw ValidationError("--context must be 2 or more, not \(context)") }
    if let stride, stride < 1 { throw ValidationError("--stride must be 1 or more, not \(stride)") }
    if let context, let stride, stride > context {
      throw ValidationError("--stride must be at most the context, \(context), not \(stride)")
    }
  }

  func run() throws {
    let text = try contents(of: file)
    let backend = try device.backend()
    try BuildInChild.makeReady(
      model.model,
      for: .init(prompt: context ?? 512, tokens: 1, isGreedy: false, cacheType: cache.cacheType), on: backend)
    let source = try ModelSource.open(model.model)
    guard case .decoder(let decoder) = try Architectures.load(source, on: backend, progress: Terminal.loading)
    else {
      throw Failure("\(model.model): the model is no decoder, which perplexity is for")
    }
    let ids = try TokenizerFiles.load(source).encode(text, special: true)
    let context = context ?? min(512, decoder.contextLength)
    let stride = stride ?? max(1, context / 2)
    let result = try Perplexity(
      of: ids, by: decoder, context: context, stride: stride, cacheType: cache.cacheType
    ) { so in
      Terminal.progress("\(so.tokens) of \(ids.count - 1) tokens, perplexity \(fixed(so.value, 4))")
    }
    Terminal.progress("")
    guard output.isJSON else {
      return try Output.line(
        "perplexity \(fixed(result.value, 4)) over \(count(result.tokens, "token")) in \(count(result.windows, "window")) "
          + "of \(context), stride \(stride)")
    }
    try Output.json(
      Report(
        device: backend.deviceName, model: model.model, perplexity: result.value, tokens: result.tokens,
        negative_log_likelihood: result.negativeLogLikelihood, context: context, stride: stride,
        windows: result.windows))
  }

  private struct Report: Encodable {
    let device: String
    let model: String
    let perplexity: Double
    let tokens: Int
    let negative_log_likelihood: Double
    let context: Int
    let stride: Int
    let windows: Int
  }
}
