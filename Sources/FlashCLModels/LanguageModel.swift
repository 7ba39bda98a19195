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
    let names: [String]  // transformers' and llama.cpp's
    let load: @Sendable (Checkpoint, any Backend) throws -> Model
  }

  private static let entries = [
    Entry(names: ["LlamaForCausalLM", "llama"]) { .decoder(try Llama($0, on: $1)) },
    Entry(names: ["GPT2LMHeadModel", "GPT2Model", "gpt2"]) { .decoder(try GPT2($0, on: $1)) },
    Entry(names: encoders("Bert", "Roberta", "XLMRoberta", "DistilBert", "Albert", "Electra", "RoFormer")) {
      .encoder(try BERT($0, on: $1))
    },
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
    Entry(names: ["T5ForConditionalGeneration", "MT5ForConditionalGeneration"]) {
      .encoderDecoder(try T5($0, on: $1))
    },
  ]

  /// transformers' names of a family's classes.
  private static func encoders(_ families: String...) -> [String] {
    families.flatMap { family in (["Model"] + EncoderTask.suffixes).map { family + $0 } }
  }

  /// Every name under which a file may state its architecture.
  public static var names: [String] { entries.flatMap(\.names) }

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
    guard let entry = entries.first(where: { $0.names.contains(checkpoint.architecture) }) else {
      throw checkpoint.error(
        "the architecture '\(checkpoint.architecture)' is not supported; known: \(names.joined(separator: ", "))"
      )
    }
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
  private var loadedTokenizer: (any Tokenizer)?

  /// Loads a GGUF file or a folder; `progress` is told the share of the layers that is loaded.
  public init(_ path: String, on backend: any Backend, progress: ((Double) -> Void)? = nil) throws {
    source = try ModelSource.open(path)
    special = try SpecialTokens(source)
    switch try Architectures.load(source, on: backend, progress: progress) {
    case .decoder(let decoder): self.decoder = decoder
    case .encoder:
      throw ModelError("\(path): an encoder does not continue text; use it with embed or logits")
    case .encoderDecoder:
      throw ModelError("\(path): an encoder–decoder does not continue text; use it with translate or logits")
    }
  }

  /// The tokenizer of the model's files, read when first asked for.
  public func tokenizer() throws -> any Tokenizer {
    if let loadedTokenizer { return loadedTokenizer }
    let tokenizer = try TokenizerFiles.load(source)
    loadedTokenizer = tokenizer
    return tokenizer
  }

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
