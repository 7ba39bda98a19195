import FlashCL

extension Linear: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    let (bias, residual) = (try bias?.load(), try residual?.load())
    var sums = try product(normed(precision).map { Double($0) }, precision)
    for i in sums.indices { sums[i] = sums[i] + S(bias?[i % weight.outputs] ?? 0) }
    let y = (0..<x.rows * columns).map { i -> S in
      let place = place(i)
      let gate = activation.apply(sums[place])
      return (isGated ? gate * sums[place + columns] : gate) + S(residual?[i] ?? 0)
    }
    return [y]
  }

  /// Σ |n(x)|·|w| + |bias| + |residual|, where |w| is the size of what an element is expanded from (`ReferenceWeight.row`), and
  /// |n(x)| that of the norm's terms. Of a gate a·u: 1.13·|u| times what a comes from, as no activation is steeper, and |a| times
  /// what u comes from.
  public func magnitude() throws -> [[Double]] {
    let (bias, residual) = (try bias?.load(), try residual?.load())
    var sizes = try product(normedSizes(), Double.self, terms: true)
    for i in sizes.indices { sizes[i] += abs(bias?[i % weight.outputs] ?? 0) }
    let plain = isGated ? try product(normed(Double.self), Double.self) : []
    func sum(_ i: Int) -> Double { plain[i] + (bias?[i % weight.outputs] ?? 0) }
    let y = (0..<x.rows * columns).map { i -> Double in
      let place = place(i)
      guard isGated else { return sizes[place] + abs(residual?[i] ?? 0) }
      let (gate, up) = (abs(activation.apply(sum(place))), abs(sum(place + columns)))
      return 1.13 * sizes[place] * up + gate * sizes[place + columns] + abs(residual?[i] ?? 0)
    }
    return [y]
  }

  /// Where the sum, or a gate's, of element i of y lies among x.rows · weight.outputs sums.
  private func place(_ i: Int) -> Int { i / columns * weight.outputs + i % columns }

  private func normed<S: ReferenceScalar>(_ precision: S.Type) throws -> [S] {
    switch norm {
    case .rms(let gain, let epsilon): try RMSNorm(x: x, gain: gain, epsilon: epsilon, y: x).compute(S.self)[0]
    case .layer(let gain, let bias, let epsilon):
      try LayerNorm(x: x, gain: gain, bias: bias, epsilon: epsilon, y: x).compute(S.self)[0]
    case nil: try x.load().map { S($0) }
    }
  }

  private func normedSizes() throws -> [Double] {
    switch norm {
    case .rms(let gain, let epsilon): try RMSNorm(x: x, gain: gain, epsilon: epsilon, y: x).magnitude()[0]
    case .layer(let gain, let bias, let epsilon):
      try LayerNorm(x: x, gain: gain, bias: bias, epsilon: epsilon, y: x).magnitude()[0]
    case nil: try x.load().map { abs($0) }
    }
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
      x: try gathered(x), norm: norm, weight: weight, bias: bias, activation: activation, isGated: isGated,
      residual: try residual.map(gathered), phase: phase, y: y)
  }
}
