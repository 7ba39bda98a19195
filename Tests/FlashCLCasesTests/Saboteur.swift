import FlashCL
import FlashCLReference

@testable import FlashCLCases

/// The reference with faults: each strategy has one of them.
final class Saboteur: Backend {
  enum Fault: String, CaseIterable, Sendable {
    /// None.
    case sound
    /// None, but every formula is computed in Float.
    case float
    /// Nothing is computed.
    case lost
    /// One element of the first output is off by a thousandth of the greatest, or of 1 where all are 0.
    case element
    /// One element of the last output is NaN.
    case nan
    /// The element after the last output is overwritten, or the one before the first.
    case beyond, before
    /// One element of the first input is overwritten.
    case input
    /// The run throws.
    case throwing
    /// The strategy says that it cannot.
    case unsupported
  }

  /// A fault of one test's own, done after every run.
  typealias Mischief = (Saboteur, any Operation) throws -> Void

  private let inner = ReferenceBackend()
  private let mischief: Mischief

  init(_ mischief: @escaping Mischief = { _, _ in }) { self.mischief = mischief }

  /// Element `index` of an output, row-major, becomes what `change` makes of it.
  func spoil(_ tensor: Tensor, _ index: Int, _ change: (Double) -> Double) throws {
    let place = tensor.indices[index]
    try put(change(try get(place, 1, tensor)[0]), place, tensor)
  }

  func run(_ operation: any Operation, strategy: String?) throws {
    try execute(operation, strategy)
    try mischief(self, operation)
  }

  private func execute(_ operation: any Operation, _ strategy: String?) throws {
    let fault = strategy.flatMap { Fault(rawValue: $0) } ?? .sound
    switch fault {
    case .lost: return
    case .throwing: throw FlashCLError.shape("out of order")
    case .float:
      guard !operation.outputs.isEmpty, let reference = operation as? any ReferenceOperation else { break }
      let naive = try reference.naive()
      for (tensor, values) in zip(operation.outputs, naive) {
        let (starts, width) = (tensor.indices, tensor.columns)
        for row in stride(from: 0, to: values.count, by: max(width, 1)) {
          try put([Double](values[row..<row + width]), starts[row], tensor)
        }
      }
      return
    default: break
    }
    try inner.run(operation)
    guard let first = operation.outputs.first, let last = operation.outputs.last else { return }
    switch fault {
    case .element:
      let indices = first.indices
      let starts = stride(from: 0, to: indices.count, by: max(first.columns, 1))
      let values = try starts.flatMap { try get(indices[$0], first.columns, first) }
      let greatest = values.reduce(0) { $1.isFinite ? max($0, abs($1)) : $0 }
      guard let index = values.lastIndex(where: { $0.isFinite }) else { return }
      let off =
        first.type == .i32
        ? 1 : max((greatest == 0 ? 1 : greatest) / 1000, 3 * abs(values[index]) * first.type.unit)
      try put(values[index] + (values[index] > 0 ? -off : off), indices[index], first)
    case .nan where last.type != .i32: try put(.nan, last.indices[last.count / 2], last)
    case .beyond: try put(1, (last.indices.max() ?? 0) + 1, last)
    case .before: try put(1, (first.indices.min() ?? 0) - 1, first)
    case .input:
      let input = operation.inputs[0]
      try put(try get(input.indices[0], 1, input) == [1] ? 2 : 1, input.indices[0], input)
    default: break
    }
  }

  private func put(_ value: Double, _ index: Int, _ tensor: Tensor) throws { try put([value], index, tensor) }

  private func put(_ values: [Double], _ index: Int, _ tensor: Tensor) throws {
    try tensor.type.encoded(values).withUnsafeBytes {
      try inner.write($0, to: tensor.run(index, values.count))
    }
  }

  private func get(_ index: Int, _ count: Int, _ tensor: Tensor) throws -> [Double] {
    var bytes = [UInt8](repeating: 0, count: tensor.type.bytes(count))
    try bytes.withUnsafeMutableBytes { try inner.read(tensor.run(index, count), into: $0) }
    return bytes.withUnsafeBytes { tensor.type.decoded($0) }
  }

  func strategies(for operation: any Operation) throws -> [StrategyReport] {
    Fault.allCases.map {
      StrategyReport(
        name: $0.rawValue, unsupported: $0 == .unsupported ? "on strike" : nil, chosen: $0 == .sound)
    }
  }

  var deviceName: String { "saboteur" }
  var peakBytes: Int? { nil }
  func allocate(_ shape: [Int], _ type: ElementType) throws -> Tensor { try inner.allocate(shape, type) }
  func write(_ bytes: UnsafeRawBufferPointer, to tensor: Tensor) throws { try inner.write(bytes, to: tensor) }
  func read(_ tensor: Tensor, into bytes: UnsafeMutableRawBufferPointer) throws {
    try inner.read(tensor, into: bytes)
  }
  func prepare(_ sources: [WeightSource]) throws -> Weight { try inner.prepare(sources) }
  func makeCache(
    blocks: Int, blockLength: Int, heads: Int, keySize: Int, valueSize: Int, type: ElementType
  ) throws -> KeyValueCache {
    try inner.makeCache(
      blocks: blocks, blockLength: blockLength, heads: heads, keySize: keySize, valueSize: valueSize,
      type: type)
  }
  func grow(_ cache: KeyValueCache, blocks: Int) throws -> KeyValueCache {
    try inner.grow(cache, blocks: blocks)
  }
  func flush() {}
  func synchronise() {}
}

extension ElementType {
  /// The relative distance of neighbouring values.
  fileprivate var unit: Double { self == .bf16 ? 0x1p-7 : self == .f16 ? 0x1p-10 : 0x1p-23 }
}

extension Tensor {
  /// Where the elements lie in the storage, row-major.
  fileprivate var indices: [Int] {
    zip(shape, strides).reduce([offset]) { starts, axis in
      starts.flatMap { start in (0..<axis.0).map { start + $0 * axis.1 } }
    }
  }

  fileprivate func run(_ index: Int, _ count: Int) -> Tensor {
    Tensor(shape: [count], offset: index, type: type, storage: storage)
  }
}
