import FlashCL

extension Linear: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let (bias, residual) = (try bias?.load(), try residual?.load())
    var y = try product(x.load(), precision)
    for i in y.indices {
      y[i] = activation.apply(y[i] + S(bias?[i % weight.outputs] ?? 0)) + S(residual?[i] ?? 0)
    }
    return [y]
  }

  /// Σ |x|·|w| + |bias| + |residual|, where |w| is the size of what an element is expanded from
  /// (`ReferenceWeight.row`).
  public func magnitude() throws -> [[Double]] {
    let (bias, residual) = (try bias?.load(), try residual?.load())
    var y = try product(x.load().map { abs($0) }, Double.self, terms: true)
    for i in y.indices { y[i] += abs(bias?[i % weight.outputs] ?? 0) + abs(residual?[i] ?? 0) }
    return [y]
  }

  /// x · Wᵀ: each row of the weight is expanded once and serves every row of x.
  private func product<S: ReferenceScalar>(_ x: [Double], _: S.Type, terms: Bool = false) throws -> [S] {
    let stored = try weight.reference()
    let (rows, inputs, outputs) = (self.x.rows, weight.inputs, weight.outputs)
    return x.withUnsafeBufferPointer { x in
      [S](unsafeUninitializedCapacity: rows * outputs) { y, initialized in
        initialized = rows * outputs
        guard let x = x.baseAddress, let y = y.baseAddress else { return }
        parallel(outputs, grain: 64) { range in
          withUnsafeTemporaryAllocation(of: Double.self, capacity: inputs) { row in
            guard let row = row.baseAddress else { return }
            for output in range {
              stored.row(output, terms: terms, into: row)
              for i in 0..<rows { y[i * outputs + output] = S.dot(x + i * inputs, row, inputs) }
            }
          }
        }
      }
    }
  }
}
