import FlashCL

// Outputs that fill no tile, one output, one block of inputs, odd inputs for plain types; row counts on both
// sides of the tiles of 2, 4, 16, 32 and 64 rows that kernels like; quants of every bit pattern under scales
// of both signs. Positive data make partial sums grow, which a short accumulator cannot hide. Every epilogue,
// and the residual as y itself.

extension Case {
  static var linearCases: [Case] {
    var cases: [Case] = []
    let shapes = [(1, 32), (17, 64), (48, 96), (100, 576), (33, 1536)]
    let rowCounts = [1, 2, 5, 16, 17, 33, 70]
    let common: [ElementType] = [.f32, .f16, .bf16, .q8_0, .q4_0, .q4_1]
    for (t, type) in common.enumerated() {
      for phase in [Phase.decode, .prefill] {
        for (r, rows) in rowCounts.enumerated() {
          // Two shapes for each count, so that every type meets every count, and every type every shape.
          for s in [0, 2] {
            let (outputs, inputs) = shapes[(r + t + s) % shapes.count]
            cases.append(linear([type], phase, rows, outputs, inputs))
          }
        }
      }
    }
    // The others differ in how they are expanded alone: one shape of each phase, with two blocks of the widest.
    for type in ElementType.weights where !common.contains(type) {
      cases.append(linear([type], .decode, 3, 33, 512))
      cases.append(linear([type], .prefill, 18, 33, 512))
    }
    for type in ElementType.activations {
      for phase in [Phase.decode, .prefill] {
        for inputs in [1, 33, 100] { cases.append(linear([type], phase, 5, 17, inputs)) }
        cases.append(linear([type], phase, 18, 33, 65, order: .inputsByOutputs))
      }
    }
    for type in [ElementType.f32, .q4_1] {
      for (phase, rows) in [(Phase.decode, 3), (.prefill, 35)] {
        for activation in Activation.allCases {
          cases.append(linear([type], phase, rows, 49, 96, bias: true, activation))
        }
        cases.append(linear([type], phase, rows, 49, 96, residual: .other))
        cases.append(linear([type], phase, rows, 49, 96, residual: .inPlace))
        cases.append(linear([type], phase, rows, 49, 96, bias: true, .silu, residual: .inPlace))
        cases.append(linear([type], phase, rows, 33, 1536, positive: true))
      }
    }
    for types: [ElementType] in [
      [.q4_1, .q8_0], [.f32, .f16], [.q4_0, .q4_0, .q4_1], [.bf16, .q8_0, .f32],
    ] {
      for (phase, rows) in [(Phase.decode, 2), (.prefill, 33)] {
        cases.append(linear(types, phase, rows, 21, 64, bias: true, residual: .inPlace))
      }
    }
    for type in [ElementType.f32, .f16, .q8_0, .q4_0, .q4_1, .q4_k, .q6_k] {
      for (outputs, inputs) in [(960, 576), (3072, 576), (576, 1536)] where inputs % type.blockLength == 0 {
        cases.append(linear([type], .decode, 1, outputs, inputs, purpose: .bench))
        // One prefill shape tells the types apart; the slowest strategies take seconds for each.
        if outputs == 3072 || type == .q4_1 {
          cases.append(linear([type], .prefill, 512, outputs, inputs, purpose: .bench))
        }
      }
    }
    cases.append(linear([.q8_0], .decode, 1, 49152, 576, purpose: .bench))
    cases.append(linear([.f32], .prefill, 1024, 3072, 768, purpose: .bench))
    return cases
  }

  enum Residual: String { case none, other, inPlace = "in_place" }

  /// A linear layer of `outputs` rows for each of `types`.
  static func linear(
    _ types: [ElementType], _ phase: Phase, _ rows: Int, _ outputs: Int, _ inputs: Int,
    order: WeightSource.Order = .outputsByInputs, bias: Bool = false, _ activation: Activation = .none,
    residual: Residual = .none, positive: Bool = false, purpose: Purpose = .check
  ) -> Case {
    Case(
      Linear.self, types[0],
      [
        "parts": types.map(\.rawValue).joined(separator: "+"), "phase": phase.rawValue, "rows": rows,
        "outputs": outputs, "inputs": inputs, "order": order == .outputsByInputs ? "oi" : "io", "bias": bias,
        "activation": activation.rawValue, "residual": residual.rawValue, "positive": positive,
      ],
      .dot(length: inputs), purpose: purpose
    ) { bench in
      let all = outputs * types.count
      let x = positive ? bench.uniform(rows * inputs, 0...1) : bench.normal(rows * inputs)
      let y = try residual == .inPlace ? bench.normal([rows, all]) : bench.output([rows, all])
      return Linear(
        x: try bench.tensor(x, [rows, inputs]),
        weight: try bench.weight(outputs, inputs, types, order: order),
        bias: bias ? try bench.normal([all]) : nil, activation: activation,
        residual: residual == .inPlace ? y : residual == .other ? try bench.normal([rows, all]) : nil,
        phase: phase, y: y)
    }
  }
}
