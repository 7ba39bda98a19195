import Dispatch
import FlashCL

/// An operation that can say what is true: its formula in plain Swift, over operands in a
/// `ReferenceBackend`'s memory.
public protocol ReferenceOperation: Operation {
  /// Every output, dense and row-major, in the order of `outputs`; all arithmetic is of type S.
  func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]]
  /// The size of the terms that make up each element of each output: an error of one rounding is at most half
  /// an ulp of that.
  func magnitude() throws -> [[Double]]
  /// Σ|a||b| of the products that each element of the first output sums: where a strategy rounds every a, each in proportion
  /// to itself, no element moves by more than that proportion of this.
  func products() throws -> [Double]

  // Below: made from `compute`. They are requirements so that each operation has its own, compiled for one
  // precision.

  /// The outputs computed in Double.
  func truth() throws -> [[Double]]
  /// The outputs computed in Float, as Double: what the plain formula makes of single precision.
  func naive() throws -> [[Double]]
  /// Computes in Double and stores the outputs, rounded once to their types.
  func execute() throws
}

extension ReferenceOperation {
  public func products() throws -> [Double] { try magnitude()[0] }
  public func truth() throws -> [[Double]] { try compute(Double.self) }
  public func naive() throws -> [[Double]] { try compute(Float.self).map { $0.map { Double($0) } } }
  public func execute() throws {
    for (tensor, values) in zip(outputs, try truth()) { try tensor.store(values) }
  }
}

/// An operation each of whose rows is computed by itself, so that of a large output a few rows can be judged.
///
/// Row r is, in each output, the r-th of `rowCount` equal runs of its elements, row-major.
public protocol SampledOperation: ReferenceOperation {
  var rowCount: Int { get }
  /// What `truth`, `naive`, `magnitude` and `products` have of these rows, in this order.
  func truth(rows: [Int]) throws -> [[Double]]
  func naive(rows: [Int]) throws -> [[Double]]
  func magnitude(rows: [Int]) throws -> [[Double]]
  func products(rows: [Int]) throws -> [Double]
}

extension SampledOperation {
  public func products(rows: [Int]) throws -> [Double] { try magnitude(rows: rows)[0] }
}

/// Calls `body` for ranges that together cover `0 ..< count`, on all cores; each range has `grain` items or
/// fewer. Throws what the first range that failed threw.
func parallel<Failure>(
  _ count: Int, grain: Int, _ body: (Range<Int>) throws(Failure) -> Void
) throws(Failure) {
  let chunks = (count + grain - 1) / grain
  if chunks < 2 { return count > 0 ? try body(0..<count) : () }
  var results = [Result<Void, Failure>](repeating: .success(()), count: chunks)
  results.withUnsafeMutableBufferPointer { results in
    withoutActuallyEscaping(body) { body in
      // Safe: the ranges are disjoint, and nothing else runs until all are done.
      nonisolated(unsafe) let (body, results) = (body, results)
      DispatchQueue.concurrentPerform(iterations: chunks) { chunk in
        let range = chunk * grain..<min((chunk + 1) * grain, count)
        do throws(Failure) { try body(range) } catch { results[chunk] = .failure(error) }
      }
    }
  }
  for result in results { try result.get() }
}
