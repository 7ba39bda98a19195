/// A place where operations run: memory, weights, caches, and one queue of work in order.
///
/// `run` may return before the work is done; `read` waits for it. Errors of shape are thrown at once, errors of a device
/// at the latest by the next `read` or `synchronise`. A backend and what it made belong to one task at a time.
public protocol Backend: AnyObject {
  /// One line for people: the device's name, or what computes in its place.
  var deviceName: String { get }

  /// Memory for `shape`; the contents are undefined until something writes them.
  func allocate(_ shape: [Int], _ type: ElementType) throws -> Tensor
  /// Copies `bytes` (dense, row-major) into a dense tensor.
  func write(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws
  /// Copies a dense tensor's elements out, after all work before it.
  func read(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws

  /// Lays out weights for `Linear` and `Embedding`; several sources with equal `inputs` are stacked by outputs.
  func prepare(_ sources: [WeightSource]) throws -> Weight
  /// An empty cache of `blocks` blocks of `blockLength` tokens for one layer; the backend chooses the block's layout.
  /// `type` is f32, f16, bf16, or q8_0 where keySize and valueSize are multiples of 32.
  func makeCache(
    blocks: Int, blockLength: Int, heads: Int, keySize: Int, valueSize: Int, type: ElementType
  ) throws -> KeyValueCache
  /// A cache of `blocks` blocks, no fewer than `cache` has, whose first ones hold what its own hold; the rest is empty.
  func grow(_ cache: KeyValueCache, blocks: Int) throws -> KeyValueCache

  /// Queues the operation; `strategy` nil takes the one that `strategies(for:)` marks as chosen.
  func run(_ operation: any Operation, strategy: String?) throws
  /// Every way in which this backend can compute the operation, with the chosen one marked.
  func strategies(for operation: any Operation) throws -> [StrategyReport]

  /// Runs `body` and keeps what it queued, to be queued again; nil where that cannot be, or where `body` did more than run
  /// operations: it read or wrote a tensor.
  ///
  /// A tensor that `body` was given has to hold the next inputs before the replay runs, and one that it returned holds the
  /// next results after that.
  func capture<R>(_ body: () throws -> R) throws -> (result: R, replay: (any Replay)?)

  /// Hands queued work to the device without waiting.
  func flush() throws
  /// Waits until all work is done.
  func synchronise() throws

  /// Most bytes of device memory held at any time; nil where the backend has no memory of its own.
  var peakBytes: Int? { get }
  /// Kernels launched so far; nil where there are none.
  var launches: Int? { get }
}

/// Work that was queued once, over the same memory: to run it again costs the host little beside the launches themselves.
public protocol Replay: AnyObject {
  /// Kernels that it launches.
  var launches: Int { get }
  func run() throws
}

/// A backend whose device has a clock of its own.
public protocol DeviceTimed {
  /// Seconds that the device spent in the operations that `body` runs.
  func deviceSeconds(_ body: () throws -> Void) throws -> Double
}

/// What a strategy rounds to fewer bits than f32 has.
public struct Rounding: Sendable, Equatable {
  /// The type to which it rounds one factor of each product that the first output sums: attention's weights, a linear layer's x.
  public let type: ElementType
  /// True where it also rounds what these factors are computed from: attention's queries.
  public let roundsOperands: Bool

  public init(to type: ElementType, operands: Bool = false) {
    (self.type, roundsOperands) = (type, operands)
  }
}

/// One strategy of a backend for one operation.
public struct StrategyReport: Sendable {
  public let name: String
  /// Nil when the strategy can run this operation, else why it cannot.
  public let unsupported: String?
  /// True for the strategy that `run` takes by itself.
  public let chosen: Bool
  /// What the strategy rounds that is f32 otherwise; nil where it rounds nothing.
  public let rounding: Rounding?

  public init(name: String, unsupported: String? = nil, chosen: Bool = false, rounding: Rounding? = nil) {
    self.name = name
    self.unsupported = unsupported
    self.chosen = chosen
    self.rounding = rounding
  }
}

extension Backend {
  /// An empty cache of blocks of 16 tokens.
  public func makeCache(blocks: Int, heads: Int, keySize: Int, valueSize: Int, type: ElementType) throws
    -> KeyValueCache
  {
    try makeCache(
      blocks: blocks, blockLength: 16, heads: heads, keySize: keySize, valueSize: valueSize, type: type)
  }

  public func run(_ operation: any Operation) throws { try run(operation, strategy: nil) }

  public var launches: Int? { nil }

  public func capture<R>(_ body: () throws -> R) throws -> (result: R, replay: (any Replay)?) {
    (try body(), nil)
  }

  /// A tensor with these f32 values.
  public func tensor(_ values: [Float], _ shape: [Int]) throws -> Tensor {
    try filled(values, shape, .f32)
  }

  /// A tensor with these i32 values.
  public func tensor(_ values: [Int32], _ shape: [Int]) throws -> Tensor {
    try filled(values, shape, .i32)
  }

  private func filled<T>(_ values: [T], _ shape: [Int], _ type: ElementType) throws -> Tensor {
    guard values.count == shape.reduce(1, *) else {
      throw FlashCLError.shape("\(values.count) values do not fill a tensor of shape \(shape)")
    }
    let tensor = try allocate(shape, type)
    try values.withUnsafeBytes { try write($0, to: tensor) }
    return tensor
  }

  /// The elements of a dense f32 tensor, after all work before it.
  public func floats(_ tensor: Tensor) throws -> [Float] {
    guard tensor.type == .f32 else {
      throw FlashCLError.shape("floats() reads f32 tensors; this one is \(tensor.type.rawValue)")
    }
    return try elements(tensor, zero: Float(0))
  }

  /// The elements of a dense i32 tensor, after all work before it.
  public func integers(_ tensor: Tensor) throws -> [Int32] {
    guard tensor.type == .i32 else {
      throw FlashCLError.shape("integers() reads i32 tensors; this one is \(tensor.type.rawValue)")
    }
    return try elements(tensor, zero: Int32(0))
  }

  private func elements<T>(_ tensor: Tensor, zero: T) throws -> [T] {
    var values = [T](repeating: zero, count: tensor.count)
    try values.withUnsafeMutableBytes { try read(tensor, into: $0) }
    return values
  }
}
