import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference

/// One model on a device and on the CPU reference: the error of every layer, and the first that departs.
///
/// A decoder is fed the tokens as one prompt, and the last of them once more as a decoding step where the context has
/// room, for the two phases have kernels of their own. An encoder–decoder reads them as the source, and its decoder as a
/// decoder does.
struct ModelCheck: Encodable {
  /// Far above the roundings of f32 in a hundred layers (some 1e-5), far below what a wrong kernel does.
  private static let limit = 1e-3

  let device: String
  let model: String
  let tokens: [Int32]
  let tolerance: Double
  let layers: [Layer]
  /// The first layer whose error is larger than the tolerance; null where all agree.
  @Nullable var departs: String?

  struct Layer: Encodable {
    let phase: String
    let layer: String
    /// The greatest over the rows of max |device − reference| / max |reference|.
    let error: Double
    let outcome: String
  }

  init(_ path: String, _ tokens: TokenIDs, on backend: any Backend, isQuiet: Bool) throws {
    let source = try ModelSource.open(path)
    func trace(_ backend: any Backend, _ compare: @escaping (Probe) throws -> Void) throws -> [Int32] {
      let loaded = try Architectures.load(source, on: backend, progress: Terminal.loading)
      return try Self.run(loaded, tokens) { phase, name, hidden in
        Terminal.progress("\(backend.deviceName): \(phase), \(name)")
        // Hidden states may be views, and the reader wants them dense: whole rows always are.
        try compare(Probe(phase: phase, name: name, width: hidden.columns, values: backend.floats(hidden)))
      }
    }
    // The device first: it is the faster, and soon shows whether the model loads at all.
    var found: [Probe] = []
    self.tokens = try trace(backend) { found.append($0) }
    var layers: [Layer] = []
    _ = try trace(ReferenceBackend()) { truth in
      let error = found[layers.count].error(against: truth)
      let outcome = error <= Self.limit ? "passed" : "failed"
      layers.append(Layer(phase: truth.phase.rawValue, layer: truth.name, error: error, outcome: outcome))
      Terminal.progress("")
      if !isQuiet {
        try Output.line(
          [left(truth.phase.rawValue, 9), left(truth.name, 19), left(short(error), 9), outcome].joined())
      }
    }
    device = backend.deviceName
    model = path
    tolerance = Self.limit
    self.layers = layers
    departs = layers.first { $0.outcome == "failed" }.map { "\($0.phase), \($0.layer)" }
    if !isQuiet {
      try Output.line(
        departs.map { "\($0) is the first to depart, on \(backend.deviceName)" }
          ?? "\(count(layers.count, "layer")) agree within \(short(Self.limit)) on \(backend.deviceName)")
    }
  }

  /// One layer's rows, on one backend.
  private struct Probe {
    let phase: Phase
    let name: String
    let width: Int
    let values: [Float]

    func error(against truth: Probe) -> Double {
      guard values.count == truth.values.count else { return .infinity }
      var worst = 0.0
      for row in stride(from: 0, to: values.count, by: width) {
        var (error, scale) = (Float(0), Float(0))
        for index in row..<row + width {
          let difference = abs(values[index] - truth.values[index])
          if difference.isNaN { return .infinity }
          (error, scale) = (max(error, difference), max(scale, abs(truth.values[index])))
        }
        if error > 0 { worst = max(worst, Double(error) / Double(scale)) }
      }
      return worst
    }
  }

  private static func run(
    _ model: Architectures.Model, _ tokens: TokenIDs,
    _ observe: @escaping (Phase, String, Tensor) throws -> Void
  ) throws -> [Int32] {
    switch model {
    case .decoder(let decoder):
      let ids = try tokens.checked(vocabulary: decoder.vocabularySize)
      let hasRoom = ids.count < decoder.contextLength
      let state = try DecoderState(decoder, capacity: ids.count + (hasRoom ? 1 : 0))
      func last(_ hidden: Tensor, _ phase: Phase) throws {
        let row = hidden.slice(0, hidden.shape[0] - 1..<hidden.shape[0])
        try observe(phase, "logits", decoder.logits(row, phase: phase))
      }
      var end: Tensor?
      try state.prefill(ids, observe: { try observe(.prefill, $0, $1) }, { hidden, _ in end = hidden })
      if let end { try last(end, .prefill) }
      if hasRoom, let id = ids.last {
        try last(state.hidden([id], phase: .decode, observe: { try observe(.decode, $0, $1) }), .decode)
      }
      return ids
    case .encoder(let encoder):
      let ids = try tokens.checked(vocabulary: encoder.vocabularySize)
      _ = try encoder.hidden(TokenBatch([ids]), observe: { try observe(.prefill, $0, $1) })
      return ids
    case .encoderDecoder(let model):
      let ids = try tokens.checked(vocabulary: min(model.sourceVocabularySize, model.vocabularySize))
      let hasRoom = ids.count < model.targetLength
      let state = try EncoderDecoderState(
        model, TokenBatch([ids]), capacity: ids.count + (hasRoom ? 1 : 0),
        observe: { try observe(.prefill, $0, $1) })
      func feed(_ ids: [Int32], _ phase: Phase) throws {
        let hidden = try state.hidden([ids], phase: phase, observe: { try observe(phase, $0, $1) })
        let last = hidden.slice(0, hidden.shape[0] - 1..<hidden.shape[0])
        try observe(phase, "logits", model.logits(last, phase: phase))
      }
      try feed(ids, .prefill)
      if hasRoom, let id = ids.last { try feed([id], .decode) }
      return ids
    }
  }
}
