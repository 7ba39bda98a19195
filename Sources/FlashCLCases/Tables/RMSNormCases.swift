import FlashCL

// The data of LayerNormCases: without a mean to subtract, a large offset and a constant row should be easy,
// squares of tiny values still vanish and those of large ones still overflow in f16.

extension Case {
  static var rmsNormCases: [Case] {
    NormProblem.edges.map { rmsNorm($0) }
      + [(1, 576), (512, 576), (4096, 768)].map { rmsNorm(NormProblem(.f32, $0, $1), purpose: .bench) }
  }

  static func rmsNorm(_ norm: NormProblem, purpose: Purpose = .check) -> Case {
    Case(
      RMSNorm.self, norm.type,
      [
        "rows": norm.rows, "cols": norm.columns, "data": norm.data.rawValue, "form": norm.form.rawValue,
        "eps": norm.epsilon,
      ],
      norm.tolerances, purpose
    ) { bench in
      let (x, residual, sum, gain) = try norm.operands(bench)
      return Trial(
        RMSNorm(
          x: x, residual: residual, gain: gain, epsilon: norm.epsilon, sum: sum,
          y: try bench.output(x.shape, norm.type)))
    }
  }
}
