import FlashCL
import FlashCLReference

/// Makes a case's operands on one backend: the same values on every backend, each tensor between canaries.
///
/// Canaries and unwritten outputs are NaN (0x7fffffff in i32), so that reading beyond an input spoils the
/// result. After the run every byte that no output covers must be as before, and every element of an output
/// different: the NaN is one that no arithmetic makes.
public final class Workbench {
  public let backend: any Backend
  private let seed: UInt64
  private let launches: Bool
  private var draws: UInt64 = 0
  private var allocations: [Allocation] = []

  /// Elements before and after each tensor: whole cache lines, so that fast paths for aligned data are taken.
  private static let guardLength = 64

  private struct Allocation {
    let flat: Tensor  // [64 + count + 64]
    let shape: [Int]
    let bytes: [UInt8]  // as first written
    let isEmpty: Bool  // written by nobody yet
  }

  /// Without `launches` operands are made for their shapes alone: what else would have to run for them does not.
  init(_ backend: any Backend, seed: UInt64, launches: Bool = true) {
    self.backend = backend
    self.seed = seed
    self.launches = launches
  }

  /// Runs what makes an operand.
  func run(_ operation: some Operation) throws {
    if launches { try backend.run(operation) }
  }

  // MARK: - Numbers

  /// A generator of its own for each use, so that a backend's block size changes no other operand.
  func random() -> SplitMix64 {
    draws += 1
    return SplitMix64(seed: seed &+ draws &* 0xd134_2543_de82_ef95)
  }

  /// `count` values of mean `mean` and standard deviation `deviation`.
  func normal(_ count: Int, mean: Double = 0, deviation: Double = 1) -> [Double] {
    var random = random()
    return (0..<count).map { _ in mean + deviation * random.normal() }
  }

  /// `count` values in `range`.
  func uniform(_ count: Int, _ range: ClosedRange<Double>) -> [Double] {
    var random = random()
    return (0..<count).map { _ in range.lowerBound + (range.upperBound - range.lowerBound) * random.uniform()
    }
  }

  // MARK: - Tensors

  /// A tensor with these values, rounded to `type`.
  func tensor(_ values: [Double], _ shape: [Int], _ type: ElementType = .f32) throws -> Tensor {
    try guarded(type.encoded(values), shape, type, isEmpty: false)
  }

  /// A tensor of normal values.
  func normal(_ shape: [Int], _ type: ElementType = .f32, mean: Double = 0, deviation: Double = 1) throws
    -> Tensor
  {
    try tensor(normal(shape.reduce(1, *), mean: mean, deviation: deviation), shape, type)
  }

  /// An i32 tensor; without a shape, a vector.
  func integers(_ values: [Int], _ shape: [Int]? = nil) throws -> Tensor {
    try tensor(values.map { Double($0) }, shape ?? [values.count], .i32)
  }

  /// A tensor to be written: NaN until then.
  func output(_ shape: [Int], _ type: ElementType = .f32) throws -> Tensor {
    try guarded(canaries(shape.reduce(1, *), type, isEmpty: true), shape, type, isEmpty: true)
  }

  private func guarded(_ values: [UInt8], _ shape: [Int], _ type: ElementType, isEmpty: Bool) throws -> Tensor
  {
    precondition(
      values.count == type.bytes(shape.reduce(1, *)), "\(values.count) bytes for \(shape) of \(type)")
    let fence = canaries(Self.guardLength, type, isEmpty: isEmpty)
    let bytes = fence + values + fence
    let flat = try backend.allocate([bytes.count / type.blockBytes], type)
    try bytes.withUnsafeBytes { try backend.write($0, to: flat) }
    allocations.append(Allocation(flat: flat, shape: shape, bytes: bytes, isEmpty: isEmpty))
    return Tensor(shape: shape, offset: Self.guardLength, type: type, storage: flat.storage)
  }

  /// Canaries of inputs differ from those of outputs: arithmetic may hand on a NaN that it read, bit for bit.
  private func canaries(_ count: Int, _ type: ElementType, isEmpty: Bool) -> [UInt8] {
    let mark: UInt8 = isEmpty ? 0x5a : 0x63
    var bytes: [UInt8] =
      switch type {
      case .f16: [mark, 0x7e]
      case .bf16: [mark | 0x80, 0x7f]
      case .i32: [0xff, 0xff, 0xff, 0x7f]
      case .bool: [mark]
      default: [mark, 0xa5, 0xda, 0x7f]
      }
    let size = count * bytes.count
    while bytes.count < size { bytes += bytes.prefix(size - bytes.count) }
    return [UInt8](bytes.prefix(size))
  }

  // MARK: - Weights

  /// A weight of random elements of about 1/√inputs; several types are stacked, with `outputs` rows of each.
  func weight(
    _ outputs: Int, _ inputs: Int, _ types: [ElementType], order: WeightSource.Order = .outputsByInputs
  ) throws -> Weight {
    var bytes: [UInt8] = []
    var ranges: [Range<Int>] = []
    for type in types {
      bytes += [UInt8](repeating: 0, count: (32 - bytes.count % 32) % 32)  // as in a file
      let start = bytes.count
      bytes += elements(outputs * inputs, type, deviation: 1 / Double(inputs).squareRoot())
      ranges.append(start..<bytes.count)
    }
    return try bytes.withUnsafeBytes { bytes in
      try backend.prepare(
        zip(types, ranges).map { type, range in
          try WeightSource(
            name: "w.\(type.rawValue)", outputs: outputs, inputs: inputs, type: type, order: order,
            bytes: UnsafeRawBufferPointer(rebasing: bytes[range]))
        })
    }
  }

  /// Random bytes that a file may hold: every bit of the quants, scales of both signs.
  private func elements(_ count: Int, _ type: ElementType, deviation: Double) -> [UInt8] {
    guard type.isQuantised else { return type.encoded(normal(count, deviation: deviation)) }
    var random = random()
    let size = type.bytes(count)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(size + 8)
    while bytes.count < size { withUnsafeBytes(of: random.next().littleEndian) { bytes += $0 } }
    bytes.removeLast(bytes.count - size)
    bytes.withUnsafeMutableBytes { type.setScales(of: $0, deviation: deviation, using: &random) }
    return bytes
  }

  // MARK: - Caches

  /// A cache for sequences of these lengths, in shuffled blocks, full of NaN; table and slots go with it.
  func cache(
    _ lengths: [Int], heads: Int, keySize: Int, valueSize: Int, _ type: ElementType, blockLength: Int = 16
  ) throws -> CachePlan {
    let longest = max(lengths.max() ?? 0, 1)
    let perSequence = (longest + blockLength - 1) / blockLength + 1
    let blocks = lengths.count * perSequence + 2
    let cache = try backend.makeCache(
      blocks: blocks, blockLength: blockLength, heads: heads, keySize: keySize, valueSize: valueSize,
      type: type)
    var random = random()
    let order = (0..<blocks).shuffled(using: &random)
    let slots = blocks * blockLength
    let empty = Double.nan
    try run(
      CacheAppend(
        keys: tensor([Double](repeating: empty, count: slots * heads * keySize), [slots, heads, keySize]),
        values: tensor(
          [Double](repeating: empty, count: slots * heads * valueSize), [slots, heads, valueSize]),
        slots: integers([Int](0..<slots)), cache: cache))
    let tables = lengths.indices.map { [Int](order[$0 * perSequence..<($0 + 1) * perSequence]) }
    return CachePlan(
      cache: cache, table: try integers(tables.flatMap { $0 }, [lengths.count, perSequence]),
      lengths: try integers(lengths), longest: lengths.max() ?? 0,
      slots: zip(tables, lengths).map { table, length in
        (0..<length).map { table[$0 / blockLength] * blockLength + $0 % blockLength }
      })
  }

  // MARK: - After the run

  /// The elements of a tensor made here, or of a view of one, row-major.
  func values(_ tensor: Tensor) throws -> [Double] {
    let flat = try read(allocation(of: tensor)).withUnsafeBytes { tensor.type.decoded($0) }
    return tensor.elementIndices.map { flat[$0] }
  }

  /// The same as they are stored, in a plain type.
  func bits(_ tensor: Tensor) throws -> [UInt32] {
    let (bytes, size) = (try read(allocation(of: tensor)), tensor.type.blockBytes)
    return tensor.elementIndices.map { element in
      (0..<size).reduce(0) { $0 | UInt32(bytes[element * size + $1]) << (8 * $1) }
    }
  }

  private func allocation(of tensor: Tensor) throws -> Allocation {
    guard let allocation = allocations.first(where: { $0.flat.storage === tensor.storage }) else {
      throw CaseError.badCase("an output lies in memory that the workbench did not make")
    }
    return allocation
  }

  /// Says which element changed that is not of an output, or did not change although it is; nil where all is
  /// well.
  func damage(outputs: [Tensor]) throws -> String? {
    for allocation in allocations {
      let now = try read(allocation)
      var isOutput = [Bool](repeating: false, count: allocation.flat.count)
      for output in outputs where output.storage === allocation.flat.storage {
        for index in output.elementIndices { isOutput[index] = true }
      }
      if now == allocation.bytes && !allocation.isEmpty { continue }
      let size = allocation.flat.type.blockBytes
      let count = allocation.shape.reduce(1, *)
      for index in isOutput.indices {
        let bytes = index * size..<(index + 1) * size
        let changed = now[bytes] != allocation.bytes[bytes]
        let element = index - Self.guardLength
        if changed && !isOutput[index] {
          let place = element < 0 ? "before" : element >= count ? "beyond" : "in"
          return "element \(element) changed, \(place) a tensor \(allocation.shape) of \(count) elements, "
            + "where no output lies"
        }
        if !changed && isOutput[index] && allocation.isEmpty {
          return "element \(element) of an output \(allocation.shape) was not written"
        }
      }
    }
    return nil
  }

  private func read(_ allocation: Allocation) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: allocation.bytes.count)
    try bytes.withUnsafeMutableBytes { try backend.read(allocation.flat, into: $0) }
    return bytes
  }
}

/// A cache, the blocks that its sequences own, and where their tokens go.
struct CachePlan {
  let cache: KeyValueCache
  let table: Tensor  // [sequences, blocks] i32
  let lengths: Tensor  // [sequences] i32
  let longest: Int
  let slots: [[Int]]  // of each token of each sequence
}

extension Tensor {
  /// Where the elements lie in their storage, row-major.
  fileprivate var elementIndices: [Int] {
    var indices = [offset]
    for (size, stride) in zip(shape, strides) {
      indices = indices.flatMap { start in (0..<size).map { start + $0 * stride } }
    }
    return indices
  }
}

extension SplitMix64 {
  /// The sum of four uniform numbers of 16 bits, with mean 0 and deviation 1: close enough to normal, and
  /// without a logarithm.
  mutating func normal() -> Double {
    let bits = next()
    let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48)
    return (Double(sum) / 65536 - 2) * 3.0.squareRoot()
  }
}
