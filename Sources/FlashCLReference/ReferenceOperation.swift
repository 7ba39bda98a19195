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
  public func truth() throws -> [[Double]] { try compute(Double.self) }
  public func naive() throws -> [[Double]] { try compute(Float.self).map { $0.map { Double($0) } } }
  public func execute() throws {
    for (tensor, values) in zip(outputs, try truth()) { try tensor.store(values) }
  }
}

/// Calls `body` for ranges that together cover `0 ..< count`, on all cores; each range has `grain` items or
/// fewer.
func parallel(_ count: Int, grain: Int, _ body: (Range<Int>) -> Void) {
  let chunks = (count + grain - 1) / grain
  if chunks < 2 { return count > 0 ? body(0..<count) : () }
  withoutActuallyEscaping(body) { body in
    // Safe: the ranges are disjoint, and nothing else runs until all are done.
    nonisolated(unsafe) let body = body
    DispatchQueue.concurrentPerform(iterations: chunks) { chunk in
      body(chunk * grain..<min((chunk + 1) * grain, count))
    }
  }
}
