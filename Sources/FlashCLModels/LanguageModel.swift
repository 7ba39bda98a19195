import FlashCL
import FlashCLFiles
import FlashCLTokenizers

/// Which class loads which architecture; the one list of what can be loaded.
public enum Architectures {
  /// What a file's architecture turned out to be.
  public enum Model {
    case decoder(any Decoder)
    case encoder(any TextEncoder)
    case encoderDecoder(any EncoderDecoder)
  }

  private struct Entry: Sendable {
    let names: [String]  // transformers'
    /// llama.cpp's name, and what it calls the parts.
    var gguf: [String: GGUFNames] = [:]
    let load: @Sendable (Checkpoint, any Backend) throws -> Model
  }

  private static let entries = [
    Entry(names: Llama.names, gguf: Llama.ggufs) { .decoder(try Llama.load($0, on: $1)) },
    Entry(names: Gemma.names, gguf: ["gemma": Gemma.gguf, "gemma2": Gemma.gguf2, "gemma3": Gemma.gguf3]) {
      .decoder(try Gemma.load($0, on: $1))
    },
    Entry(names: Phi3.names, gguf: ["phi3": Phi3.gguf]) { .decoder(try Phi3.load($0, on: $1)) },
    Entry(names: OLMo2.names, gguf: ["olmo2": OLMo2.gguf]) { .decoder(try OLMo2.load($0, on: $1)) },
    Entry(names: StableLM.names, gguf: ["stablelm": StableLM.gguf]) {
      .decoder(try StableLM.load($0, on: $1))
    },
    Entry(names: StarCoder2.names, gguf: ["starcoder2": StarCoder2.gguf]) {
      .decoder(try StarCoder2.load($0, on: $1))
    },
    Entry(names: Phi.names, gguf: ["phi2": Phi.gguf]) { .decoder(try Phi.load($0, on: $1)) },
    Entry(names: GPTNeoX.names, gguf: ["gptneox": GPTNeoX.gguf]) { .decoder(try GPTNeoX.load($0, on: $1)) },
    Entry(names: GPTJ.names) { .decoder(try GPTJ.load($0, on: $1)) },
    Entry(names: OPT.names) { .decoder(try OPT.load($0, on: $1)) },
    Entry(names: BLOOM.names, gguf: ["bloom": BLOOM.gguf]) { .decoder(try BLOOM.load($0, on: $1)) },
    Entry(names: MPT.names, gguf: ["mpt": MPT.gguf]) { .decoder(try MPT.load($0, on: $1)) },
    Entry(names: Falcon.names, gguf: ["falcon": Falcon.gguf]) { .decoder(try Falcon.load($0, on: $1)) },
    Entry(names: GPT2.names + GPT2.firstNames, gguf: ["gpt2": GPT2.gguf]) {
      .decoder(try GPT2.load($0, on: $1))
    },
    Entry(names: TransformerDecoder.names) { .decoder(try TransformerDecoder.load($0, on: $1)) },
    Entry(
      names: encoders("Bert", "Roberta", "XLMRoberta", "DistilBert", "Albert", "Electra", "RoFormer"),
      gguf: ["bert": BERTDialect.gguf]
    ) { .encoder(try BERT($0, on: $1)) },
    Entry(names: encoders("DebertaV2")) { .encoder(try DebertaV2($0, on: $1)) },
    Entry(names: encoders("BigBird")) { .encoder(try BigBird($0, on: $1)) },
    Entry(names: encoders("Longformer")) { .encoder(try Longformer($0, on: $1)) },
    Entry(names: XLNet.names) { .encoder(try XLNet($0, on: $1)) },
    Entry(names: TransformerXL.names) { .encoder(try TransformerXL($0, on: $1)) },
    Entry(
      names: [
        "MarianMTModel", "BartForConditionalGeneration", "MBartForConditionalGeneration", "Transformer",
      ]
    ) { .encoderDecoder(try Transformer($0, on: $1)) },
    Entry(names: ["T5ForConditionalGeneration", "MT5ForConditionalGeneration"], gguf: ["t5": T5.gguf]) {
      .encoderDecoder(try T5($0, on: $1))
    },
  ]

  /// transformers' names of a family's classes.
  private static func encoders(_ families: String...) -> [String] {
    families.flatMap { family in (["Model"] + EncoderTask.suffixes).map { family + $0 } }
  }

  /// llama.cpp's names of what a folder of that class holds, and of the architecture; nil where it has none.
  package static func gguf(ofClass name: String) -> (architecture: String, names: GGUFNames)? {
    for entry in entries {
      if let found = entry.gguf.first(where: { $0.value.classes.contains(name) }) {
        return (found.key, found.value)
      }
    }
    return nil
  }

  /// llama.cpp's names in a file of that architecture.
  package static func gguf(of architecture: String) -> GGUFNames? {
    entries.lazy.compactMap { $0.gguf[architecture] }.first
  }

  /// Classes that can be written as GGUF.
  package static var classesWithGGUF: [String] {
    entries.flatMap { entry in entry.gguf.keys.sorted().flatMap { entry.gguf[$0]?.classes ?? [] } }
  }

  /// Every name under which a file may state its architecture.
  public static var names: [String] { entries.flatMap { $0.names + $0.gguf.keys.sorted() } }

  /// Loads the model in `source`; an unknown architecture is refused with the list of known ones.
  public static func load(_ source: ModelSource, on backend: any Backend, progress: ((Double) -> Void)? = nil)
    throws
    -> Model
  {
    try load(Checkpoint(source, on: backend), on: backend, progress)
  }

  /// A model of random weights in a real one's shape, without a file; `ModelShape.names` lists what there is.
  public static func random(
    _ shape: ModelShape, on backend: any Backend, progress: ((Double) -> Void)? = nil
  ) throws -> Model {
    try load(Checkpoint(shape, on: backend), on: backend, progress)
  }

  private static func load(
    _ checkpoint: Checkpoint, on backend: any Backend, _ progress: ((Double) -> Void)?
  ) throws -> Model {
    checkpoint.progress = progress
    let name = checkpoint.architecture
    let isGGUF = checkpoint.format == .gguf
    guard let entry = entries.first(where: { isGGUF ? $0.gguf[name] != nil : $0.names.contains(name) }) else {
      throw checkpoint.error(
        "the architecture '\(name)' is not supported; known: \(names.joined(separator: ", "))"
      )
    }
    checkpoint.names = entry.gguf[name] ?? GGUFNames()
    let model = try entry.load(checkpoint, backend)
    try backend.synchronise()
    return model
  }
}

/// A model that continues text: a decoder, its tokenizer, and the tokens that end a text.
///
///     let model = try LanguageModel("SmolLM2.gguf", on: backend)
///     for try await event in try model.generate("The capital of France is") { print(event.text, terminator: "") }
///
/// A model belongs to one task at a time.
public final class LanguageModel {
  public let decoder: any Decoder
  public let special: SpecialTokens
  private let source: ModelSource
  private let reading: Meanwhile<any Tokenizer>

  /// Loads a GGUF file or a folder; `progress` is told the share of the layers that is loaded.
  public convenience init(_ path: String, on backend: any Backend, progress: ((Double) -> Void)? = nil) throws
  {
    try self.init(ModelSource.open(path), named: path, on: backend, progress: progress)
  }

  /// Loads what was opened; `name` is for errors.
  public init(
    _ source: ModelSource, named path: String, on backend: any Backend, progress: ((Double) -> Void)? = nil
  ) throws {
    self.source = source
    // A vocabulary takes as long as the weights of a small model, and needs no device.
    reading = Meanwhile { try TokenizerFiles.load(source) }
    special = try SpecialTokens(source)
    switch try Architectures.load(source, on: backend, progress: progress) {
    case .decoder(let decoder): self.decoder = decoder
    case .encoder:
      throw ModelError("\(path): an encoder does not continue text; use it with embed or logits")
    case .encoderDecoder:
      throw ModelError("\(path): an encoder–decoder does not continue text; use it with translate or logits")
    }
  }

  /// The tokenizer of the model's files, which are read while the weights are loaded.
  public func tokenizer() throws -> any Tokenizer { try reading.get() }

  /// What continuing a prompt of so many tokens takes of the device; nil where its backend cannot tell.
  public func plan(
    prompt: Int, tokens: Int, isGreedy: Bool = true, cacheType: ElementType = .f32
  ) throws -> RunPlan? {
    try RunPlan(
      source, prompt: prompt, tokens: tokens, isGreedy: isGreedy, cacheType: cacheType, on: decoder.backend)
  }

  /// How the model's conversations are written; throws where its files do not tell.
  public func chatTemplate() throws -> ChatTemplate { try ChatTemplate(source) }

  /// The ids that a prompt feeds: as the model's tokenizer does it, or, without a prompt, the token that begins a text (else
  /// the one that ends it).
  public func promptTokens(_ prompt: String?) throws -> [Int32] {
    guard let prompt else {
      guard let id = special.begin ?? special.ends.min() else {
        throw ModelError("the model names no token that begins or ends a text: give a prompt")
      }
      return [id]
    }
    if prompt.isEmpty { throw ModelError("the prompt is empty; leave it out to generate from nothing") }
    return try tokenizer().encode(prompt, special: true)
  }

  /// Continues a prompt, or generates from nothing; see `Generation`.
  public func generate(_ prompt: String?, _ options: GenerationOptions = .init()) throws
    -> AsyncThrowingStream<GenerationEvent, any Error>
  {
    // The stream has one consumer, which asks for one event at a time: the model stays with one task.
    nonisolated(unsafe) let generation = try Generation(self, promptTokens(prompt), options)
    return AsyncThrowingStream { try generation.next() }
  }
}
