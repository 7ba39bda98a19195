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

extension Linear: SampledOperation {
  public var rowCount: Int { x.rows }
  public func truth(rows: [Int]) throws -> [[Double]] { try only(rows).truth() }
  public func naive(rows: [Int]) throws -> [[Double]] { try only(rows).naive() }
  public func magnitude(rows: [Int]) throws -> [[Double]] { try only(rows).magnitude() }

  /// The layer over these rows of x and of the residual.
  private func only(_ rows: [Int]) throws -> Linear {
    func gathered(_ tensor: Tensor) throws -> Tensor {
      let copy = try ReferenceBackend().allocate([rows.count, tensor.columns], tensor.type)
      try copy.store(rows.flatMap { try tensor.slice(0, $0..<$0 + 1).load() })
      return copy
    }
    return Linear(
      x: try gathered(x), weight: weight, bias: bias, activation: activation,
      residual: try residual.map(gathered),
      phase: phase, y: y)
  }
}
