import FlashCL

extension Softcap: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let cap = S(Double(cap))
    return [try x.load().map { cap * Activation.tanh.apply(S($0) / cap) }]
  }

  /// |x|, and never above the cap: an argument's relative error moves the result by x · y′(x), less than either.
  public func magnitude() throws -> [[Double]] {
    [try x.load().map { abs($0) > Double(cap) ? Double(cap) : abs($0) }]
  }
}
