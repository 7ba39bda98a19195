import FlashCL

extension GELUMultiply: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    [try rows { Activation.geluTanh.apply(S($0)) * S($1) }]
  }

  /// |gate| · |up|
  public func magnitude() throws -> [[Double]] { [try rows { abs($0) * abs($1) }] }

  private func rows<T>(_ function: (_ gate: Double, _ up: Double) -> T) throws -> [T] {
    let (values, width) = (try gateUp.load(), y.columns)
    return (0..<y.count).map { i in
      let gate = i / width * 2 * width + i % width
      return function(values[gate], values[gate + width])
    }
  }
}
