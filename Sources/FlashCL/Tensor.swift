/// Memory that holds a tensor's elements; every backend has a subclass of its own and understands no other.
open class Storage {
  public init() {}
}

/// A view of elements in a backend's memory: element `[i, j, …]` lies at `offset + i·strides[0] + j·strides[1] + …`.
///
/// Offsets and strides count elements. A tensor never owns a copy: slices share their parent's storage.
public struct Tensor: Equatable {
  public let shape: [Int]
  public let strides: [Int]
  public let offset: Int
  public let type: ElementType
  public let storage: Storage

  public init(shape: [Int], strides: [Int]? = nil, offset: Int = 0, type: ElementType, storage: Storage) {
    self.shape = shape
    self.strides = strides ?? Tensor.denseStrides(shape)
    self.offset = offset
    self.type = type
    self.storage = storage
  }

  /// The same view of the same memory.
  public static func == (a: Tensor, b: Tensor) -> Bool {
    a.storage === b.storage && a.offset == b.offset && a.shape == b.shape && a.strides == b.strides
      && a.type == b.type
  }

  /// The strides with which a loop over a larger shape reads this tensor: 0 along axes of size 1.
  public var broadcastStrides: [Int] { zip(shape, strides).map { $0 == 1 ? 0 : $1 } }

  /// Strides of a row-major tensor without gaps.
  public static func denseStrides(_ shape: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: shape.count)
    for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
    return strides
  }

  /// Number of elements.
  public var count: Int { shape.reduce(1, *) }

  /// The last dimension, 1 for a scalar.
  public var columns: Int { shape.last ?? 1 }

  /// All dimensions but the last, multiplied.
  public var rows: Int { shape.dropLast().reduce(1, *) }

  /// True when the elements lie row-major without gaps.
  public var isDense: Bool {
    var expected = 1
    for axis in shape.indices.reversed() {
      if shape[axis] != 1 && strides[axis] != expected { return false }
      expected *= shape[axis]
    }
    return true
  }

  /// The same elements under another shape; the tensor must be dense and the counts equal.
  public func reshaped(_ shape: [Int]) -> Tensor {
    precondition(isDense && shape.reduce(1, *) == count, "cannot view \(self.shape) as \(shape)")
    return Tensor(shape: shape, offset: offset, type: type, storage: storage)
  }

  /// Elements `range` along `axis`, as a view.
  public func slice(_ axis: Int, _ range: Range<Int>) -> Tensor {
    precondition(range.lowerBound >= 0 && range.upperBound <= shape[axis], "slice \(range) of \(shape)")
    var shape = shape
    shape[axis] = range.count
    return Tensor(
      shape: shape, strides: strides, offset: offset + range.lowerBound * strides[axis], type: type,
      storage: storage)
  }

  /// The axes in another order, as a view: `permuted([1, 0])` transposes a matrix.
  public func permuted(_ axes: [Int]) -> Tensor {
    Tensor(
      shape: axes.map { shape[$0] }, strides: axes.map { strides[$0] }, offset: offset, type: type,
      storage: storage)
  }

  /// A `[rows, heads · size]` matrix seen as `[rows, heads, size]`, the order that rope and caches read; a view.
  public func split(_ heads: Int) -> Tensor {
    precondition(shape.count == 2 && columns % heads == 0, "\(heads) heads of \(shape)")
    let size = columns / heads
    return Tensor(
      shape: [rows, heads, size], strides: [strides[0], size * strides[1], strides[1]], offset: offset,
      type: type, storage: storage)
  }

  /// A `[rows, heads · size]` matrix seen as `[1, heads, rows, size]`, the order that attention reads; a view.
  /// With `batch`, the rows are `batch` sequences of equal length: `[batch, heads, rows / batch, size]`.
  public func heads(_ heads: Int, batch: Int = 1) -> Tensor {
    precondition(shape.count == 2 && columns % heads == 0 && rows % batch == 0, "\(heads) heads of \(shape)")
    let size = columns / heads
    let length = rows / batch
    return Tensor(
      shape: [batch, heads, length, size],
      strides: [strides[0] * length, size * strides[1], strides[0], strides[1]], offset: offset, type: type,
      storage: storage)
  }
}

/// A weight matrix `[outputs, inputs]` in the layout that a backend chose for it; read by `Linear` and `Embedding`.
public struct Weight {
  public let shape: [Int]  // [outputs, inputs]
  /// The element type of the first part; a weight stacked from several sources may hold several types.
  public let type: ElementType
  public let storage: Storage

  public init(shape: [Int], type: ElementType, storage: Storage) {
    self.shape = shape
    self.type = type
    self.storage = storage
  }

  public var outputs: Int { shape[0] }
  public var inputs: Int { shape[1] }
}

/// Bytes of a weight as a model file has them, before a backend lays them out.
public struct WeightSource {
  public enum Order: Sendable {
    /// `[outputs, inputs]`, each output's row contiguous: PyTorch's `nn.Linear`, GGUF.
    case outputsByInputs
    /// `[inputs, outputs]`: GPT-2's `Conv1D`. Plain types only.
    case inputsByOutputs
  }

  public let name: String
  public let outputs: Int
  public let inputs: Int
  public let type: ElementType
  public let order: Order
  /// `type.bytes(outputs · inputs)` bytes, valid while `prepare` runs.
  public let bytes: UnsafeRawBufferPointer

  public init(
    name: String, outputs: Int, inputs: Int, type: ElementType, order: Order = .outputsByInputs,
    bytes: UnsafeRawBufferPointer
  ) throws {
    guard inputs % type.blockLength == 0 else {
      throw FlashCLError.shape(
        "weight \(name): \(inputs) inputs are no multiple of \(type.blockLength), the block of type \(type.rawValue)"
      )
    }
    guard ElementType.weights.contains(type), outputs > 0, inputs > 0,
      order == .outputsByInputs || !type.isQuantised, bytes.count == type.bytes(outputs * inputs)
    else {
      throw FlashCLError.shape(
        "weight \(name): \(bytes.count) bytes do not hold [\(outputs), \(inputs)] of type \(type.rawValue)")
    }
    self.name = name
    self.outputs = outputs
    self.inputs = inputs
    self.type = type
    self.order = order
    self.bytes = bytes
  }
}

/// Keys and values of one layer for many tokens, in blocks of `blockLength` tokens.
///
/// A block has 16 to 256 tokens, a multiple of 16. Only blocks and slots are public: slot `s` is token `s % blockLength` of block `s / blockLength`. The layout inside a
/// block belongs to the backend.
public struct KeyValueCache {
  public let blocks: Int
  public let blockLength: Int
  public let heads: Int  // key-value heads
  public let keySize: Int
  public let valueSize: Int
  public let type: ElementType
  public let storage: Storage

  public init(
    blocks: Int, blockLength: Int, heads: Int, keySize: Int, valueSize: Int, type: ElementType,
    storage: Storage
  ) {
    self.blocks = blocks
    self.blockLength = blockLength
    self.heads = heads
    self.keySize = keySize
    self.valueSize = valueSize
    self.type = type
    self.storage = storage
  }
}
