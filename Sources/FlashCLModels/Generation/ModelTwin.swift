import FlashCL
import FlashCLFiles

/// A model that continues text on a twin of its backend, which counts memory, notes programs and computes nothing: what loading the model and running
/// it take of the device, found before either.
public final class ModelTwin {
  /// The weights, on the device and nowhere else.
  public let weightBytes: Int
  let backend, twin: any RehearsingBackend
  let decoder: any Decoder

  /// Nil where the backend cannot tell, and for models that continue no text.
  public init?(_ source: ModelSource, on backend: any Backend) throws {
    guard let backend = backend as? any RehearsingBackend, let twin = backend.imagined(),
      case .decoder(let decoder) = try Architectures.load(source, on: twin)
    else { return nil }
    (self.backend, self.twin, self.decoder) = (backend, twin, decoder)
    weightBytes = twin.heldBytes
  }

  /// Programs that loading needs, and running as far as it was rehearsed, and that are not kept on disk from earlier.
  public var unready: Int { backend.unready(for: twin) }

  /// Builds those programs, or `part` of `parts`, which several processes share, and keeps them; `progress` is called after
  /// each. Without it each is built when a run comes to it.
  public func makeReady(part: Int = 0, of parts: Int = 1, progress: () -> Void = {}) throws {
    try backend.makeReady(for: twin, part: part, of: parts, progress: progress)
  }

  /// Goes through a run that continues `prompt` tokens by as many as `tokens`, as far as they fit in the context; returns how many of
  /// each do, and the bytes of the cache. `isGreedy`: the greatest logit's token each time, else one that needs all logits.
  @discardableResult
  public func rehearse(
    prompt: Int, tokens: Int, isGreedy: Bool = true, cacheType: ElementType = .f32
  ) throws -> (prompt: Int, tokens: Int, cacheBytes: Int) {
    let room = min(decoder.contextLength, prompt + tokens)
    let fed = max(1, min(prompt, room))
    let (rest, held) = (max(1, room - fed), twin.heldBytes)
    let state = try DecoderState(decoder, capacity: room, cacheType: cacheType)
    let cacheBytes = twin.heldBytes - held
    try state.rehearse(prompt: fed, tokens: rest, isGreedy: isGreedy)
    return (fed, rest, cacheBytes)
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
