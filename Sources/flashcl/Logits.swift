import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels

struct Logits: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "logits", abstract: "Prints or writes a model's scores for every token of a sequence.",
    discussion: """
      Feeds exactly the ids that are given, and opens no tokenizer. The result is float32, [tokens, vocabulary]; of an \
      encoder such as BERT, the masked-token scores; of an encoder–decoder such as T5, those of the decoder's --tokens \
      after the encoder's --source. With --hidden, the last layer's hidden states instead, [tokens, width]. With --output \
      the result is a .npy file; without, --format text prints the best five ids of each token with their scores.
      Example: flashcl logits --model SmolLM2.gguf --tokens 504,3575,282 --output logits.npy
      """)

  @OptionGroup var model: ModelOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: ArrayFormatOption
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
  var path: String?

  func run() throws {
    let backend = try device.backend()
    if let path { try Output.requireFolder(of: path) }
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
      let rows = rows(ids, on: backend) { try decoder.logits($0, phase: .prefill) }
      try state.prefill(ids) { states, range in
        Terminal.progress("\(range.lowerBound) of \(ids.count) tokens")
        try rows.append(states)
      }
      try rows.finish()
    case .encoder(let encoder):
      let ids = try tokens.checked(vocabulary: encoder.vocabularySize)
      guard hidden || encoder.task == .maskedToken else {
        throw Failure(
          "\(model.model): the model has no head of masked tokens; --hidden writes its hidden states")
      }
      let rows = rows(ids, on: backend, encoder.scores)
      try rows.append(encoder.hidden(TokenBatch([ids])))
      try rows.finish()
    case .encoderDecoder(let model):
      let sources = try source?.checked(vocabulary: model.sourceVocabularySize) ?? []
      let ids = try tokens.checked(vocabulary: model.vocabularySize)
      let state = try EncoderDecoderState(model, TokenBatch([sources]), capacity: ids.count)
      let rows = rows(ids, on: backend) { try model.logits($0, phase: .prefill) }
      try rows.append(state.hidden([ids], phase: .prefill))
      try rows.finish()
    }
    Terminal.progress("")
  }
  private func rows(
    _ ids: [Int32], on backend: any Backend, _ head: @escaping (Tensor) throws -> Tensor
  ) -> Rows {
    Rows(ids, of: hidden ? nil : head, on: backend, as: output.format, path)
  }
}

/// What a head makes of hidden states, or the states themselves, row by row: to a file, or to standard output.
private final class Rows {
  /// Rows of scores that are in memory at a time: 13 MB for a vocabulary of 49152.
  private static let most = 64
  /// Numbers of one JSON document: some 40 MB.
  private static let mostNumbers = 1 << 22
  private let ids: [Int32]
  private let head: ((Tensor) throws -> Tensor)?
  private let backend: any Backend
  private let format: ArrayFormat
  private let path: String?
  private var width = 0
  private var done = 0
  private var writer: NumPyWriter<Float>?
  private var kept: [[Float]] = []

  init(
    _ ids: [Int32], of head: ((Tensor) throws -> Tensor)?, on backend: any Backend, as format: ArrayFormat,
    _ path: String?
  ) {
    (self.ids, self.head, self.backend, self.format, self.path) = (ids, head, backend, format, path)
  }

  func append(_ states: Tensor) throws {
    for begin in stride(from: 0, to: states.rows, by: Self.most) {
      let slice = states.slice(0, begin..<min(begin + Self.most, states.rows))
      let rows = try head?(slice) ?? slice
      if done == 0 { try open(width: rows.columns) }
      let values = try backend.floats(rows)
      if let writer {
        try writer.append(values)
      } else if format == .npy {
        try Output.append(values)
      } else {
        for row in 0..<rows.rows { try append(values[row * width..<(row + 1) * width], at: done + row) }
      }
      done += rows.rows
    }
  }

  func finish() throws {
    Terminal.progress("")
    try writer?.finish()
    guard format == .json else { return }
    try Output.json(
      Report(
        device: backend.deviceName, shape: [ids.count, width], values: path == nil ? kept : nil,
        output: path, isHidden: head == nil))
  }

  private func open(width: Int) throws {
    self.width = width
    if let path {
      writer = try NumPyWriter(path, shape: [ids.count, width], of: Float.self)
    } else if format == .npy {
      try Output.header([ids.count, width], of: Float.self)
    } else if format == .json, ids.count * width > Self.mostNumbers {
      throw Failure(
        "\(ids.count) × \(width) numbers are too many to print, \(Self.mostNumbers) at most; give --output FILE.npy"
      )
    }
  }

  private func append(_ row: ArraySlice<Float>, at index: Int) throws {
    if format == .json { return kept.append(Array(row)) }
    // Of hidden states the numbers themselves are of no interest one by one: their size is.
    guard head != nil else {
      let length = row.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      return try Output.line("\(index)\t\(ids[index])\tlength \(fixed(length, 4))")
    }
    let best = row.indices.sorted { (row[$1], $0) < (row[$0], $1) }.prefix(5)
    let scores = best.map { "\($0 - row.startIndex): \(fixed(Double(row[$0]), 4))" }
    try Output.line("\(index)\t\(ids[index])\t\(scores.joined(separator: "  "))")
  }

  private struct Report: Encodable {
    let device: String
    let shape: [Int]
    let values: [[Float]]?
    let output: String?
    let isHidden: Bool

    private enum Key: String, CodingKey { case device, shape, logits, hidden, output }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(device, forKey: .device)
      try container.encode(shape, forKey: .shape)
      try container.encodeIfPresent(values, forKey: isHidden ? .hidden : .logits)
      try container.encodeIfPresent(output, forKey: .output)
    }
  }
}
