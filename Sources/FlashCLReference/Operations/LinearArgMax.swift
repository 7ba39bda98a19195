import FlashCL

extension LinearArgMax: ReferenceOperation {
  public func compute<S: ReferenceScalar>(_ precision: S.Type) throws -> [[S]] {
    // Which tensor stands for the sums says nothing here: they are returned.
    let sums = try Linear(x: x, weight: weight, bias: bias, phase: phase, y: x).compute(S.self)[0]
    return [
      (0..<x.rows).map { row in
        var best: (output: Int, sum: S)?
        for output in 0..<weight.outputs {
          let sum = sums[row * weight.outputs + output]
          if Double(sum).isNaN { continue }
          if let best, best.sum >= sum { continue }
          best = (output, sum)
        }
        return S(best?.output ?? 0)
      }
    ]
  }

  /// Nothing is rounded.
  public func magnitude() throws -> [[Double]] { [[Double](repeating: 0, count: x.rows)] }
}
