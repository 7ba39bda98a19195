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
      after the encoder's --source. With --hidden, the last layer's hidden states instead, [tokens, width].
      Example: flashcl logits --model SmolLM2.gguf --tokens 504,3575,282 --output logits.npy
      """)

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
  @Flag(help: "Write the last layer's hidden states instead of scores.")
  var hidden = false
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
      let rows = Rows(path, count: ids.count, of: hidden ? nil : { try decoder.logits($0, phase: .prefill) })
      try state.prefill(ids) { states, range in
        Terminal.progress("\(range.lowerBound) of \(ids.count) tokens")
        try rows.append(states, on: backend)
      }
      try rows.finish()
    case .encoder(let encoder):
      let ids = try tokens.checked(vocabulary: encoder.vocabularySize)
      guard hidden || encoder.task == .maskedToken else {
        throw Failure(
          "\(model.model): the model has no head of masked tokens; --hidden writes its hidden states")
      }
      let rows = Rows(path, count: ids.count, of: hidden ? nil : encoder.scores)
      try rows.append(encoder.hidden(TokenBatch([ids])), on: backend)
      try rows.finish()
    case .encoderDecoder(let model):
      let sources = try source?.checked(vocabulary: model.sourceVocabularySize) ?? []
      let ids = try tokens.checked(vocabulary: model.vocabularySize)
      let state = try EncoderDecoderState(model, TokenBatch([sources]), capacity: ids.count)
      let rows = Rows(path, count: ids.count, of: hidden ? nil : { try model.logits($0, phase: .prefill) })
      try rows.append(state.hidden([ids], phase: .prefill), on: backend)
      try rows.finish()
    }
    Terminal.progress("")
  }
}

/// A file of what a head makes of hidden states, or of the states themselves, row by row.
private final class Rows {
  /// Rows of scores that are in memory at a time: 13 MB for a vocabulary of 49152.
  private static let most = 64
  private let path: String
  private let count: Int
  private let head: ((Tensor) throws -> Tensor)?
  private var writer: NumPyWriter<Float>?

  init(_ path: String, count: Int, of head: ((Tensor) throws -> Tensor)?) {
    (self.path, self.count, self.head) = (path, count, head)
  }

  func append(_ states: Tensor, on backend: any Backend) throws {
    for begin in stride(from: 0, to: states.rows, by: Self.most) {
      let slice = states.slice(0, begin..<min(begin + Self.most, states.rows))
      let rows = try head?(slice) ?? slice
      let writer = try writer ?? NumPyWriter(path, shape: [count, rows.columns], of: Float.self)
      self.writer = writer
      try writer.append(backend.floats(rows))
    }
  }

  func finish() throws { try writer?.finish() }
}
