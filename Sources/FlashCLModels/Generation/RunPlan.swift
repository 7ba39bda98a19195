import FlashCL
import FlashCLFiles

/// The memory that continuing a prompt takes of a device, found before anything is computed.
public struct RunPlan {
  /// Tokens of the prompt, and those that may follow.
  public let prompt, tokens: Int
  /// The weights, the key-value cache, and the most that all else takes at once, in bytes; on the device and nowhere else.
  public let weightBytes, cacheBytes, activationBytes: Int
  /// The most bytes held at once.
  public var bytes: Int { weightBytes + cacheBytes + activationBytes }
  private let backend: any RehearsingBackend

  /// Of a run that takes the greatest logit's token each time (`isGreedy`), or one that needs all logits. Nil where the backend
  /// cannot tell, and for models that continue no text.
  public init?(
    _ source: ModelSource, prompt: Int, tokens: Int, isGreedy: Bool = true, cacheType: ElementType = .f32,
    on backend: any Backend
  ) throws {
    guard let twin = try ModelTwin(source, on: backend) else { return nil }
    try self.init(twin, prompt: prompt, tokens: tokens, isGreedy: isGreedy, cacheType: cacheType)
  }

  /// Of a twin with which nothing was rehearsed yet.
  public init(
    _ model: ModelTwin, prompt: Int, tokens: Int, isGreedy: Bool = true, cacheType: ElementType = .f32
  ) throws {
    (self.prompt, self.tokens, cacheBytes) = try model.rehearse(
      prompt: prompt, tokens: tokens, isGreedy: isGreedy, cacheType: cacheType)
    (backend, weightBytes) = (model.backend, model.weightBytes)
    activationBytes = (model.twin.peakBytes ?? 0) - weightBytes - cacheBytes
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
}
