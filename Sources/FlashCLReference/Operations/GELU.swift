import FlashCL

extension GELU: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let function = form == .exact ? Activation.gelu : .geluTanh
    return [try x.load().map { function.apply(S($0)) }]
  }

  /// |x|
  public func magnitude() throws -> [[Double]] { [try x.load().map { abs($0) }] }
}
