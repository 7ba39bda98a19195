import FlashCL

/// The CPU reference: every operation by its formula, summed in Double, each output rounded once to its type.
///
/// Work is done when `run` returns. Fresh memory is NaN (−1 in i32), so that what was never written is seen.
public final class ReferenceBackend: Backend {
  public init() {}

  public var deviceName: String { "CPU reference (Double)" }
  public var peakBytes: Int? { nil }

  public func allocate(_ shape: [Int], _ type: ElementType) throws -> Tensor {
    guard shape.allSatisfy({ $0 >= 0 }) else { throw FlashCLError.shape("no tensor has the shape \(shape)") }
    return Tensor(shape: shape, type: type, storage: ReferenceStorage(type.bytes(shape.reduce(1, *))))
  }

  public func write(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws {
    let target = try dense(tensor, bytes.count)
    if let source = bytes.baseAddress { target.copyMemory(from: source, byteCount: bytes.count) }
  }

  public func read(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    let source = try dense(tensor, bytes.count)
    bytes.baseAddress?.copyMemory(from: source, byteCount: bytes.count)
  }

  private func dense(_ tensor: Tensor, _ bytes: Int) throws -> UnsafeMutableRawPointer {
    guard tensor.isDense, bytes == tensor.type.bytes(tensor.count) else {
      throw FlashCLError.shape(
        "\(bytes) bytes copied to or from a tensor \(tensor.shape) of type \(tensor.type.rawValue)")
    }
    return try tensor.address() + tensor.type.bytes(tensor.offset)
  }

  public func prepare(_ sources: [WeightSource]) throws -> Weight {
    let storage = try ReferenceWeight(sources)
    return Weight(
      shape: [sources.reduce(0) { $0 + $1.outputs }, sources[0].inputs], type: sources[0].type,
      storage: storage)
  }

  public func makeCache(
    blocks: Int, blockLength: Int, heads: Int, keySize: Int, valueSize: Int, type: ElementType
  ) throws -> KeyValueCache {
    guard ElementType.activations.contains(type) || type == .q8_0 else {
      throw FlashCLError.unsupported("a cache of type \(type.rawValue); it may be f32, f16, bf16 or q8_0")
    }
    guard type != .q8_0 || (keySize % 32 == 0 && valueSize % 32 == 0) else {
      throw FlashCLError.unsupported(
        "a q8_0 cache of keys of \(keySize) and values of \(valueSize) elements; both must be multiples of 32"
      )
    }
    guard (16...256).contains(blockLength), blockLength % 16 == 0 else {
      throw FlashCLError.unsupported(
        "a cache in blocks of \(blockLength) tokens; they have 16 to 256, a multiple of 16")
    }
    let stored = type == .q8_0 ? .f32 : type
    return KeyValueCache(
      blocks: blocks, blockLength: blockLength, heads: heads, keySize: keySize, valueSize: valueSize,
      type: type,
      storage: ReferenceCache(
        keys: try allocate([blocks * blockLength, heads, keySize], stored),
        values: try allocate([blocks * blockLength, heads, valueSize], stored)))
  }

  public func grow(_ cache: KeyValueCache, blocks: Int) throws -> KeyValueCache {
    let larger = try makeCache(
      blocks: max(blocks, cache.blocks), blockLength: cache.blockLength, heads: cache.heads,
      keySize: cache.keySize, valueSize: cache.valueSize, type: cache.type)
    let (source, target) = (try cache.reference(), try larger.reference())
    for (from, to) in [(source.keys, target.keys), (source.values, target.values)] {
      try to.address().copyMemory(from: from.address(), byteCount: from.type.bytes(from.count))
    }
    return larger
  }

  public func run(_ operation: any Operation, strategy: String?) throws {
    guard strategy == nil || strategy == "reference" else {
      throw FlashCLError.unsupported("\(type(of: operation).name) has no strategy \(strategy ?? "")")
    }
    try operation.validate()
    try reference(operation).execute()
  }

  public func strategies(for operation: any Operation) throws -> [StrategyReport] {
    _ = try reference(operation)
    return [StrategyReport(name: "reference", chosen: true)]
  }

  private func reference(_ operation: any Operation) throws -> any ReferenceOperation {
    guard let operation = operation as? any ReferenceOperation else {
      throw FlashCLError.unsupported("\(type(of: operation).name) has no reference")
    }
    return operation
  }

  public func flush() {}
  public func synchronise() {}
}

/// Memory of one or more tensors.
final class ReferenceStorage: Storage {
  let base: UnsafeMutableRawPointer
  let byteCount: Int

  init(_ byteCount: Int) {
    self.byteCount = byteCount
    base = .allocate(byteCount: max(byteCount, 1), alignment: 64)
    base.initializeMemory(as: UInt8.self, repeating: 0xff, count: byteCount)  // NaN in every float type
  }

  deinit { base.deallocate() }
}

/// One layer's cache in its natural layout; one of type q8_0 holds in f32 what its elements are worth.
final class ReferenceCache: Storage {
  let keys: Tensor  // [slots, Hkv, D]
  let values: Tensor  // [slots, Hkv, Dv]

  init(keys: Tensor, values: Tensor) {
    self.keys = keys
    self.values = values
  }
}

extension KeyValueCache {
  func reference() throws -> ReferenceCache {
    guard let cache = storage as? ReferenceCache else {
      throw FlashCLError.unsupported("the CPU reference cannot reach a cache of another backend")
    }
    return cache
  }
}
