import FlashCL
import FlashCLRuntime
import Synchronization

/// The backend of OpenCL devices: each operation queues one or a few kernels and returns at once.
public final class OpenCLBackend: Backend, DeviceTimed {
  public let queue: Queue
  let launcher: Launcher
  /// The numbers and choices that this device likes; defaults where it says nothing. Throws for what no kernel takes.
  public var tuning: Tuning { launcher.traits.tuning }
  public func tune(_ tuning: Tuning) throws {
    try tuning.validate()
    launcher.traits.tuning = tuning
  }
  /// What a number is on this device, tuned or not.
  public func number(_ tunable: Tunable) -> Int { launcher.traits[tunable] }
  /// The most bytes of one part of a weight, where the device would allow more; tests make it small.
  public var weightPartLimit = Int.max
  /// Called with one line when a strategy is left out because it failed, now or before, once per process.
  public var onDetour: ((String) -> Void)?
  /// Called with the name of a strategy ("attention.lanes") before each of its programs is built.
  public var onTrial: ((String) -> Void)? {
    get { launcher.trials.onTrial }
    set { launcher.trials.onTrial = newValue }
  }

  /// A backend on `device`; `profiling` lets `deviceSeconds` read the device's own clock.
  public convenience init(_ device: Device, profiling: Bool = false) throws {
    self.init(try Queue(device, profiling: profiling))
  }

  init(_ queue: Queue) {
    self.queue = queue
    launcher = Launcher(queue)
    launcher.compute = { [unowned self] in try run($0, nil) }
  }

  deinit { launcher.trials.finish() }

  /// What is known to fail on `device`, by the names of strategies ("attention.lanes").
  public static func verdicts(on device: Device) throws -> Verdicts {
    Verdicts(Trials.key(device, try device.capabilities()))
  }

  /// Leaves out these strategies ("attention.lanes") and no others, whatever is known of them: for trying them again.
  public func avoid(_ strategies: Set<String>) { launcher.trials.avoid(strategies) }

  /// Names of all kernels that were launched so far.
  public var launchedKernels: Set<String> { launcher.launched }

  public var deviceName: String { queue.device.description }
  public var peakBytes: Int? { queue.peakBytes }
  public var launches: Int? { queue.launches }
  /// Bytes that the operations run since this was set to 0 must read and write at least (`Cost.bytes`); nil where nobody counts.
  public var traffic: Double?

  public func allocate(_ shape: [Int], _ type: ElementType) throws -> Tensor {
    let bytes = type.bytes(shape.reduce(1, *))
    return Tensor(shape: shape, type: type, storage: DeviceStorage(try queue.allocate(max(bytes, 4))))
  }

  public func write(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
    try requireDense(tensor, bytes.count)
    guard bytes.count > 0 else { return }
    try launcher.chain.flush()
    try queue.write(bytes, to: tensor.buffer(), at: tensor.type.bytes(tensor.offset))
    launcher.trials.settle()
  }

  public func read(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    try requireDense(tensor, bytes.count)
    guard bytes.count > 0 else { return try synchronise() }
    try launcher.chain.flush()
    try queue.read(tensor.buffer(), at: tensor.type.bytes(tensor.offset), into: bytes)
    launcher.trials.settle()
  }

  private func requireDense(_ tensor: Tensor, _ bytes: Int) throws {
    guard tensor.isDense, bytes == tensor.type.bytes(tensor.count) else {
      throw FlashCLError.shape(
        "\(bytes) bytes copied to or from a tensor \(tensor.shape) of type \(tensor.type.rawValue)")
    }
  }

  public func makeCache(
    blocks: Int, blockLength: Int, heads: Int, keySize: Int, valueSize: Int, type: ElementType
  ) throws -> KeyValueCache {
    let isQuantised = type == .q8_0
    guard ElementType.activations.contains(type) || isQuantised else {
      throw FlashCLError.unsupported("a cache of type \(type.rawValue); it may be f32, f16, bf16 or q8_0")
    }
    guard blockLength % CacheStorage.runLength == 0, (16...256).contains(blockLength) else {
      throw FlashCLError.unsupported(
        "cache blocks of \(blockLength) tokens; multiples of 16 up to 256 are served")
    }
    guard !isQuantised || (keySize % 32 == 0 && valueSize % 32 == 0) else {
      throw FlashCLError.unsupported(
        "a q8_0 cache of keys of \(keySize) and values of \(valueSize); both must be multiples of 32")
    }
    let tokens = blocks * blockLength * heads
    let elementBytes = isQuantised ? 1 : type.blockBytes
    func scales(_ size: Int) throws -> Buffer? {
      isQuantised ? try queue.allocate(max(4, ElementType.f16.bytes(tokens * size / 32))) : nil
    }
    return KeyValueCache(
      blocks: blocks, blockLength: blockLength, heads: heads, keySize: keySize, valueSize: valueSize,
      type: type,
      storage: CacheStorage(
        keys: try queue.allocate(max(4, elementBytes * tokens * keySize)),
        values: try queue.allocate(max(4, elementBytes * tokens * valueSize)), keyScales: try scales(keySize),
        valueScales: try scales(valueSize)))
  }

  public func grow(_ cache: KeyValueCache, blocks: Int) throws -> KeyValueCache {
    let larger = try makeCache(
      blocks: max(blocks, cache.blocks), blockLength: cache.blockLength, heads: cache.heads,
      keySize: cache.keySize, valueSize: cache.valueSize, type: cache.type)
    try launcher.chain.flush()
    let (source, target) = (try cache.buffers(), try larger.buffers())
    // Blocks lie one after the other, so that the old cache is the beginning of the new one.
    for (from, to) in [
      (source.keys, target.keys), (source.values, target.values), (source.keyScales, target.keyScales),
      (source.valueScales, target.valueScales),
    ] {
      if let from, let to { try queue.copy(from: from, to: to, bytes: from.byteCount) }
    }
    return larger
  }

  public func run(_ operation: any Operation, strategy: String?) throws {
    try operation.validate()
    if let bytes = traffic { traffic = bytes + operation.cost.bytes }
    try run(deviceOperation(operation), strategy)
  }

  public func strategies(for operation: any Operation) throws -> [StrategyReport] {
    reports(try deviceOperation(operation))
  }

  private func deviceOperation(_ operation: any Operation) throws -> any OpenCLOperation {
    guard let operation = operation as? any OpenCLOperation else {
      throw FlashCLError.unsupported("\(type(of: operation).name) has no OpenCL kernel")
    }
    return operation
  }

  private func run<O: OpenCLOperation>(_ operation: O, _ name: String?) throws {
    if operation.isEmpty { return }
    // What fails there is no fault of this operation's strategies.
    if O.self != Linear.self { try launcher.chain.flush() }
    launcher.hasAppended = false
    let strategies = O.ordered(on: launcher.traits)
    let trials = launcher.trials
    defer { trials.strategy = nil }
    guard let name else {
      var refusals: [Int: (verdict: Verdict, error: any Error)] = [:]
      while true {
        let (chosen, detour) = try choose(operation, strategies)
        if let error = refusals[chosen]?.error { throw error }  // nothing else serves
        if let detour {
          let isNew = refusals.values.contains { $0.verdict == detour }
          report(detour, O.name, instead: strategies[chosen].name, isFirst: isNew)
        }
        trials.strategy = (O.name, strategies[chosen].name)
        do { return try strategies[chosen].launch(operation, launcher) } catch {
          // What the driver has just refused is avoided from now on, so another is chosen.
          guard let verdict = trials.refused(error) else { throw error }
          refusals[chosen] = (verdict, error)
        }
      }
    }
    guard let strategy = strategies.first(where: { $0.name == name }) else {
      throw FlashCLError.unsupported("\(O.name) has no strategy \(name)")
    }
    if let reason = strategy.unfit(operation, launcher.traits) {
      throw FlashCLError.unsupported("\(O.name) by \(name): \(reason)")
    }
    trials.strategy = (O.name, name)
    try strategy.launch(operation, launcher)
  }

  /// The first strategy that fits and has not failed on this device, with the verdict on a better one that has; where all
  /// that fit have failed, the first of them.
  private func choose<O: OpenCLOperation>(_ operation: O, _ strategies: [Strategy<O>]) throws
    -> (index: Int, detour: Verdict?)
  {
    var lastReason = "no strategy fits this call"
    var avoided: (index: Int, detour: Verdict?)?
    for (index, strategy) in strategies.enumerated() {
      if let reason = strategy.unfit(operation, launcher.traits) {
        lastReason = reason
      } else if let verdict = launcher.trials.objection(to: strategy.name, of: O.name) {
        avoided = avoided ?? (index, verdict)
      } else {
        return (index, avoided?.detour)
      }
    }
    if let avoided { return avoided }
    throw FlashCLError.unsupported("\(O.name): \(lastReason)")
  }

  /// Says once in this process that a strategy is left out.
  private func report(_ verdict: Verdict, _ operation: String, instead: String, isFirst: Bool) {
    let isNew = Self.reported.withLock { $0.insert("\(verdict.subject) on \(queue.device)").inserted }
    guard isNew else { return }
    let name = "\(operation).\(instead)"
    let course =
      name == verdict.subject
      ? "nothing else serves \(operation), so it runs nevertheless" : "\(name) runs in its place"
    onDetour?(
      "\(verdict.subject) \(verdict.outcome.rawValue)\(isFirst ? "" : " before") on \(queue.device.name) (\(verdict.reason)): "
        + "\(course); 'flashcl check \(verdict.trialOptions)\(operation)' tries it again")
  }

  private static let reported = Mutex<Set<String>>([])

  private func reports<O: OpenCLOperation>(_ operation: O) -> [StrategyReport] {
    let strategies = O.ordered(on: launcher.traits)
    let chosen = try? choose(operation, strategies).index
    return strategies.enumerated().map { index, strategy in
      StrategyReport(
        name: strategy.name, unsupported: strategy.unfit(operation, launcher.traits), chosen: index == chosen,
        rounding: strategy.rounding(operation))
    }
  }

  public func capture<R>(_ body: () throws -> R) throws -> (result: R, replay: (any Replay)?) {
    try launcher.chain.flush()
    let (result, launches) = try queue.capture {
      let result = try body()
      try launcher.chain.flush()
      return result
    }
    return (result, launches.map { QueueReplay(queue, $0) })
  }

  public func flush() throws {
    try launcher.chain.flush()
    try queue.flush()
  }

  public func synchronise() throws {
    try launcher.chain.flush()
    try queue.finish()
    launcher.trials.settle()
  }

  /// Seconds that the device spent in the kernels of `body`; needs `profiling`.
  public func deviceSeconds(_ body: () throws -> Void) throws -> Double {
    try launcher.chain.flush()
    let seconds = try queue.profile {
      try body()
      try launcher.chain.flush()
    }.deviceSeconds
    launcher.trials.settle()
    return seconds
  }
}

/// Captured launches and the queue that repeats them.
private final class QueueReplay: Replay {
  private let queue: Queue
  private let captured: CapturedLaunches
  var launches: Int { captured.count }

  init(_ queue: Queue, _ captured: CapturedLaunches) { (self.queue, self.captured) = (queue, captured) }

  func run() throws { try queue.repeating(captured) }
}

/// Memory of one or more tensors on the device.
final class DeviceStorage: Storage {
  let buffer: Buffer
  init(_ buffer: Buffer) { self.buffer = buffer }
}

/// One layer's cache in runs of sixteen tokens: keys `[runs, heads, size, 16]`, values `[runs, heads, 16, size]`, and, of
/// q8_0, scales `[runs, heads, size / 32, 16]` of each (Kernels/cache_append.cl).
final class CacheStorage: Storage {
  /// Sixteen keys are one vector of a CPU device.
  static let runLength = 16
  let keys: Buffer
  let values: Buffer
  let keyScales: Buffer?
  let valueScales: Buffer?
  init(keys: Buffer, values: Buffer, keyScales: Buffer?, valueScales: Buffer?) {
    self.keys = keys
    self.values = values
    self.keyScales = keyScales
    self.valueScales = valueScales
  }
}

extension Tensor {
  func buffer() throws -> Buffer {
    guard let storage = storage as? DeviceStorage else {
      throw FlashCLError.shape("a tensor of another backend was given to an OpenCL device")
    }
    return storage.buffer
  }
}

extension KeyValueCache {
  func buffers() throws -> CacheStorage {
    guard let storage = storage as? CacheStorage else {
      throw FlashCLError.shape("a cache of another backend was given to an OpenCL device")
    }
    return storage
  }
}
