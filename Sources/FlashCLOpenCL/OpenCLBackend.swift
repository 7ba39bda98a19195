import FlashCL
import FlashCLRuntime

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

  /// A backend on `device`; `profiling` lets `deviceSeconds` read the device's own clock.
  public init(_ device: Device, profiling: Bool = false) throws {
    queue = try Queue(device, profiling: profiling)
    launcher = Launcher(queue)
  }

  /// Names of all kernels that were launched so far.
  public var launchedKernels: Set<String> { launcher.launched }

  public var deviceName: String { queue.device.description }
  public var peakBytes: Int? { queue.peakBytes }

  public func allocate(_ shape: [Int], _ type: ElementType) throws -> Tensor {
    let bytes = type.bytes(shape.reduce(1, *))
    return Tensor(shape: shape, type: type, storage: DeviceStorage(try queue.allocate(max(bytes, 4))))
  }

  public func write(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
    try requireDense(tensor, bytes.count)
    guard bytes.count > 0 else { return }
    try queue.write(bytes, to: tensor.buffer(), at: tensor.type.bytes(tensor.offset))
  }

  public func read(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    try requireDense(tensor, bytes.count)
    guard bytes.count > 0 else { return try synchronise() }
    try queue.read(tensor.buffer(), at: tensor.type.bytes(tensor.offset), into: bytes)
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

  public func run(_ operation: any Operation, strategy: String?) throws {
    try operation.validate()
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
    var lastReason = "no strategy fits this call"
    for strategy in O.ordered(on: launcher.traits) where name == nil || strategy.name == name {
      if let reason = strategy.unfit(operation, launcher.traits) {
        lastReason = reason
        if name != nil { throw FlashCLError.unsupported("\(O.name) by \(strategy.name): \(reason)") }
      } else {
        return try strategy.launch(operation, launcher)
      }
    }
    throw FlashCLError.unsupported(
      "\(O.name)" + (name.map { " has no strategy \($0)" } ?? ": \(lastReason)"))
  }

  private func reports<O: OpenCLOperation>(_ operation: O) -> [StrategyReport] {
    var chosen = false
    return O.ordered(on: launcher.traits).map { strategy in
      let reason = strategy.unfit(operation, launcher.traits)
      defer { chosen = chosen || reason == nil }
      return StrategyReport(name: strategy.name, unsupported: reason, chosen: !chosen && reason == nil)
    }
  }

  public func flush() throws { try queue.flush() }
  public func synchronise() throws { try queue.finish() }

  /// Seconds that the device spent in the kernels of `body`; needs `profiling`.
  public func deviceSeconds(_ body: () throws -> Void) throws -> Double {
    try queue.profile(body).deviceSeconds
  }
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
