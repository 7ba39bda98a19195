import FlashCL

extension Softcap: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let cap = S(Double(cap))
    return [try x.load().map { cap * Activation.tanh.apply(S($0) / cap) }]
  }

  /// |x|
  public func magnitude() throws -> [[Double]] { [try x.load().map { abs($0) }] }
}
