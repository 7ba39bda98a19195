import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate", abstract: "Continues a text, or begins one.",
    discussion: """
      Prints the continuation as it comes; the prompt is not repeated. Without --prompt the model begins by itself.
      Example: flashcl generate --model SmolLM2.gguf --prompt 'The capital of France is' --max-tokens 20
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption

  @Option(parsing: .unconditional, help: "The text to continue.")
  var prompt: String?
  @OptionGroup var sampling: GenerationArguments

  func validate() throws {
    if prompt == "" {
      throw ValidationError("the prompt is empty; leave --prompt out to generate from nothing")
    }
  }

  func run() throws {
    let clock = ContinuousClock()
    let start = clock.now
    let backend = try device.backend()
    let source = try ModelSource.open(model.model)
    let options = sampling.options
    let twin = try ModelTwin(source, on: backend)
    func makeReady(_ prompt: Int, _ twin: ModelTwin? = nil) throws {
      try BuildInChild.makeReady(
        model.model, for: .init(prompt: prompt, tokens: sampling.maxTokens, options: options),
        rehearsedWith: twin, on: backend)
    }
    // Where loading alone needs some, all are built before it; of a prompt that is not read yet, a token has four bytes.
    if let twin, twin.unready > 0 { try makeReady((prompt?.utf8.count ?? 0) / 4 + 1) }
    let language = try LanguageModel(source, named: model.model, on: backend, progress: Terminal.loading)
    let ids = try language.promptTokens(prompt)
    let plan = try twin.map {
      try RunPlan(
        $0, prompt: ids.count, tokens: sampling.maxTokens, isGreedy: options.sampling.isGreedy,
        cacheType: options.cacheType)
    }
    try plan?.requireRoom()
    if let twin { try makeReady(ids.count, twin) }
    let generation = try Generation(language, ids, options)
    let loaded = clock.now

    var (text, finish, first): (String, FinishReason, ContinuousClock.Instant?) = ("", .length, nil)
    while let event = try generation.next() {
      first = first ?? clock.now
      text += event.text
      finish = event.finish ?? finish
      if !output.isJSON && !event.text.isEmpty { try Output.write(event.text) }
    }
    let end = clock.now
    guard output.isJSON else { return try Output.write("\n") }

    let prefilled = first ?? end
    let decoded = generation.tokens.count - 1  // the first came with the prompt
    try Output.json(
      Report(
        prompt_tokens: generation.prompt, tokens: generation.tokens, text: text, finish_reason: finish,
        device: backend.deviceName,
        timings: Timings(
          load_s: loaded.seconds(since: start), prefill_s: prefilled.seconds(since: loaded),
          prefill_tokens_per_s: Double(generation.prompt.count) / prefilled.seconds(since: loaded),
          decode_tokens_per_s: decoded > 0 ? Double(decoded) / end.seconds(since: prefilled) : nil),
        memory: Memory(device_peak_bytes: backend.peakBytes, planned: plan.map { PlannedMemory($0) })))
  }

  private struct Report: Encodable {
    let prompt_tokens: [Int32]
    let tokens: [Int32]
    let text: String
    let finish_reason: FinishReason
    let device: String
    let timings: Timings
    let memory: Memory
  }

  private struct Timings: Encodable {
    let load_s: Double
    let prefill_s: Double
    let prefill_tokens_per_s: Double
    @Nullable var decode_tokens_per_s: Double?
  }

  private struct Memory: Encodable {
    @Nullable var device_peak_bytes: Int?
    /// What was known before the run; null where the backend cannot tell.
    @Nullable var planned: PlannedMemory?
  }
}

/// Bytes on the device that a run takes, found before it.
struct PlannedMemory: Encodable {
  let weight_bytes, cache_bytes, activation_bytes, bytes: Int

  init(_ plan: RunPlan) {
    (weight_bytes, cache_bytes) = (plan.weightBytes, plan.cacheBytes)
    (activation_bytes, bytes) = (plan.activationBytes, plan.bytes)
  }
}

extension ContinuousClock.Instant {
  func seconds(since start: Self) -> Double { (self - start) / .seconds(1) }
}
