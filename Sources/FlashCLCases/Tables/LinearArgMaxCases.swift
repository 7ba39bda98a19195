import FlashCL

// Outputs that fill no tile and no span of them, rows on both sides of those that a kernel takes together, every storage type, and
// weights in several parts. Rows of zeros under a bias make sums that are known to the bit: ties, NaN, and rows of nothing but −∞ or
// NaN, the winner in the first and the last output.

extension Case {
  static var linearArgMaxCases: [Case] {
    var cases: [Case] = []
    let shapes = [(1, 32), (17, 64), (100, 576), (1000, 96)]
    for (t, type) in ElementType.weights.enumerated() {
      let (outputs, inputs) = type.blockLength > 32 ? (600, 512) : shapes[t % shapes.count]
      for rows in [1, 5] { cases.append(linearArgMax([type], .decode, rows, outputs, inputs)) }
    }
    for type in [ElementType.f32, .bf16, .q8_0] {
      for rows in [1, 4, 9] { cases.append(linearArgMax([type], .decode, rows, 1250, 64, bias: .normal)) }
      cases.append(linearArgMax([type], .prefill, 18, 250, 64))
    }
    cases.append(linearArgMax([.f32], .decode, 3, 49, 33, bias: .normal))
    cases.append(linearArgMax([.q4_0, .q8_0], .decode, 2, 40, 64))
    for data in RowData.allCases {
      cases.append(linearArgMax([.q8_0], .decode, 2, 1025, 32, bias: data, isZero: true))
    }
    cases.append(linearArgMax([.f16], .decode, 5, 1025, 32, bias: .ties, isZero: true))
    cases.append(linearArgMax([.q8_0], .decode, 1, 49152, 576, purpose: .bench))
    return cases
  }

  /// `bias` is what data it has; `isZero`: x is 0, so that sums are the bias.
  static func linearArgMax(
    _ types: [ElementType], _ phase: Phase, _ rows: Int, _ outputs: Int, _ inputs: Int, bias: RowData? = nil,
    isZero: Bool = false, purpose: Purpose = .check
  ) -> Case {
    Case(
      LinearArgMax.self, types[0],
      [
        "parts": types.map(\.rawValue).joined(separator: "+"), "phase": phase.rawValue, "rows": rows,
        "outputs": outputs, "inputs": inputs, "bias": bias?.rawValue ?? "none", "zero": isZero,
      ], .exact, purpose: purpose
    ) { bench in
      let all = outputs * types.count
      return LinearArgMax(
        x: isZero
          ? try bench.tensor([Double](repeating: 0, count: rows * inputs), [rows, inputs])
          : try bench.normal([rows, inputs]),
        weight: try bench.weight(outputs, inputs, types),
        bias: try bias.map { try bench.tensor($0.values(bench, 1, all), [all]) }, phase: phase,
        y: try bench.output([rows], .i32))
    }
  }
}
