import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels

struct Logits: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits", abstract: "Writes a model's scores for every token of a sequence.",
    discussion: """
      Feeds exactly the ids that are given, and opens no tokenizer. The result is float32, [tokens, vocabulary]; of an \
      encoder such as BERT, the masked-token scores; of an encoder–decoder such as T5, those of the decoder's --tokens \
      after the encoder's --source.
      Example: flashcl logits --model SmolLM2.gguf --tokens 504,3575,282 --output logits.npy
      """)

  /// Rows of logits that are in memory at a time: 13 MB for a vocabulary of 49152.
  private static let rows = 64

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @Option(
    parsing: .unconditional, help: ArgumentHelp("Token ids, as 1,2,3.", valueName: "ids"),
    transform: TokenIDs.init)
  var tokens: TokenIDs
  @Option(
    parsing: .unconditional,
    help: ArgumentHelp("Token ids of an encoder–decoder's source, as 1,2,3.", valueName: "ids"),
    transform: TokenIDs.init)
  var source: TokenIDs?
  @Option(name: .customLong("output"), parsing: .unconditional, help: "The .npy file to write.")
  var path: String

  func run() throws {
    let backend = try device.backend()
    let loaded = try Architectures.load(
      ModelSource.open(model.model), on: backend, progress: Terminal.loading)
    if case .encoderDecoder = loaded {
      if source == nil { throw ValidationError("an encoder–decoder needs a --source too") }
    } else if source != nil {
      throw ValidationError("--source is for encoder–decoders; \(model.model) is none")
    }
    switch loaded {
    case .decoder(let decoder):
      let ids = try tokens.checked(vocabulary: decoder.vocabularySize)
      let state = try DecoderState(decoder, capacity: ids.count)
      let writer = try NumPyWriter(path, shape: [ids.count, decoder.vocabularySize], of: Float.self)
      try state.prefill(ids) { hidden, range in
        Terminal.progress("\(range.lowerBound) of \(ids.count) tokens")
        try Self.append(hidden, to: writer, on: backend) { try decoder.logits($0, phase: .prefill) }
      }
      try writer.finish()
    case .encoder(let encoder):
      let ids = try tokens.checked(vocabulary: encoder.vocabularySize)
      guard encoder.task == .maskedToken else {
        throw Failure("\(model.model): the model has no head of masked tokens")
      }
      let writer = try NumPyWriter(path, shape: [ids.count, encoder.vocabularySize], of: Float.self)
      try Self.append(encoder.hidden(TokenBatch([ids])), to: writer, on: backend, encoder.scores)
      try writer.finish()
    case .encoderDecoder(let model):
      let sources = try source?.checked(vocabulary: model.sourceVocabularySize) ?? []
      let ids = try tokens.checked(vocabulary: model.vocabularySize)
      let state = try EncoderDecoderState(model, TokenBatch([sources]), capacity: ids.count)
      let writer = try NumPyWriter(path, shape: [ids.count, model.vocabularySize], of: Float.self)
      try Self.append(state.hidden([ids], phase: .prefill), to: writer, on: backend) {
        try model.logits($0, phase: .prefill)
      }
      try writer.finish()
    }
    Terminal.progress("")
  }

  private static func append(
    _ hidden: Tensor, to writer: NumPyWriter<Float>, on backend: any Backend,
    _ head: (Tensor) throws -> Tensor
  ) throws {
    let count = hidden.shape[0]
    for begin in stride(from: 0, to: count, by: rows) {
      try writer.append(backend.floats(head(hidden.slice(0, begin..<min(begin + rows, count)))))
    }
  }
}
