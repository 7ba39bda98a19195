import FlashCL
import FlashCLFiles

/// What continuing a prompt takes of a device, found before anything is computed: the model is loaded and run on a twin of the
/// backend that counts memory and notes programs.
public struct RunPlan {
  /// Tokens of the prompt, and those that may follow.
  public let prompt, tokens: Int
  public let cacheType: ElementType
  /// The weights, the key-value cache, and the most that all else takes at once, in bytes; on the device and nowhere else.
  public let weightBytes, cacheBytes, activationBytes: Int
  /// The most bytes held at once.
  public var bytes: Int { weightBytes + cacheBytes + activationBytes }
  /// True where the run takes the greatest logit's token each time, and never needs all logits.
  public let isGreedy: Bool
  private let backend, twin: any RehearsingBackend

  /// Nil where the backend cannot tell, and for models that continue no text.
  public init?(
    _ source: ModelSource, prompt: Int, tokens: Int, isGreedy: Bool = true, cacheType: ElementType = .f32,
    on backend: any Backend
  ) throws {
    guard let backend = backend as? any RehearsingBackend, let twin = backend.imagined(),
      case .decoder(let decoder) = try Architectures.load(source, on: twin)
    else { return nil }
    (self.backend, self.twin, self.cacheType, self.isGreedy) = (backend, twin, cacheType, isGreedy)
    weightBytes = twin.heldBytes
    let room = min(decoder.contextLength, prompt + tokens)
    (self.prompt, self.tokens) = (max(1, min(prompt, room)), max(1, room - prompt))
    let state = try DecoderState(decoder, capacity: room, cacheType: cacheType)
    cacheBytes = twin.heldBytes - weightBytes
    try state.rehearse(prompt: self.prompt, tokens: self.tokens, isGreedy: isGreedy)
    activationBytes = (twin.peakBytes ?? 0) - weightBytes - cacheBytes
  }

  /// Throws where the device has less memory than that, saying what takes how much.
  public func requireRoom() throws { try requireRoom(within: backend.memoryBytes) }

  package func requireRoom(within memory: Int) throws {
    guard bytes > memory else { return }
    func megabytes(_ bytes: Int) -> String { "\((bytes + 999_999) / 1_000_000) MB" }
    throw ModelError(
      "\(prompt) tokens of a prompt and \(tokens) more do not fit: weights of \(megabytes(weightBytes)), a cache of "
        + "\(megabytes(cacheBytes)) and activations of \(megabytes(activationBytes)) are \(megabytes(bytes)), and "
        + "\(backend.deviceName) has \(megabytes(memory))")
  }

  /// Programs that the run needs and that are not kept on disk from an earlier one.
  public var unready: Int { backend.unready(for: twin) }

  /// Builds those programs, or `part` of `parts`, which several processes share, and keeps them; `progress` is called after
  /// each. Without it a run builds each when it comes to it.
  public func makeReady(part: Int = 0, of parts: Int = 1, progress: () -> Void = {}) throws {
    try backend.makeReady(for: twin, part: part, of: parts, progress: progress)
  }
}

extension DecoderState {
  /// Goes through a run on a backend that computes nothing: the first and the last piece of the prompt, between which all are
  /// alike, and the first and the last steps after it, the second of which may be captured.
  fileprivate func rehearse(prompt: Int, tokens: Int, isGreedy: Bool) throws {
    func ids(_ count: Int) -> [Int32] { [Int32](repeating: 0, count: count) }
    func choose(_ prediction: Prediction?) throws {
      _ = try isGreedy ? prediction?.greatest() : prediction?.logits()
    }
    let first = min(prompt, prefillRows)
    try choose(prefill(ids(first), unless: nil))
    if prompt > first {
      let last = (prompt - 1) % prefillRows + 1
      if prompt - first - last > 0 {
        try skip(prompt - first - last - (last < prefillRows ? prefillRows : 0))
        if last < prefillRows { try prefill(ids(prefillRows)) { _, _ in } }
      }
      try choose(prefill(ids(last), unless: nil))
    }
    let steps = tokens - 1  // the first comes with the prompt
    for _ in 0..<min(3, steps) { try choose(prediction(after: [0])) }
    if steps > 6 {
      try skip(steps - 6)
      for _ in 0..<3 { try choose(prediction(after: [0])) }
    }
  }
}
