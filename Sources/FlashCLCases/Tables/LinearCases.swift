import FlashCL

// Outputs that fill no tile, one output, one block of inputs, odd inputs for plain types; row counts on both
// sides of the tiles of 2, 4, 16, 32 and 64 rows that kernels like; quants of every bit pattern under scales
// of both signs. Positive data make partial sums grow, which a short accumulator cannot hide. Every epilogue,
// and the residual as y itself. Norms and gates around the layer: rows with a mean, gates whose halves lie in one buffer of
// whole tiles, or not, and of several rows.

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
    for type in [ElementType.f32, .bf16, .q8_0, .q4_1] {
      for (rows, outputs, inputs) in [(1, 96, 576), (6, 32, 96)] {
        for norm in NormKind.allCases {
          cases.append(fusedLinear([type], .decode, rows, outputs, inputs, norm, .none, isGated: false))
          cases.append(fusedLinear([type], .decode, rows, outputs, inputs, norm, .silu, isGated: true))
        }
      }
    }
    for type in [ElementType.q6_k, .q4_k] {
      cases.append(fusedLinear([type], .decode, 2, 64, 512, .rms, .geluTanh, isGated: true, bias: true))
    }
    cases.append(fusedLinear([.f32], .decode, 3, 50, 33, .layer, .gelu, isGated: true, bias: true))
    cases.append(fusedLinear([.q4_0, .q8_0], .decode, 3, 32, 64, .rms, .silu, isGated: true, bias: true))
    cases.append(fusedLinear([.q4_1], .prefill, 18, 34, 64, .layer, .silu, isGated: true))
    for type in [ElementType.f32, .q4_1] {
      cases.append(chainedLinear(type, 6, inner: 160, inputs: 96))
      // Few tasks, long for their many rows, so that one is under way when the next layer could begin.
      cases.append(chainedLinear(type, 70, inner: 96, inputs: 160))
    }
    for type in [ElementType.f16, .q4_1, .q4_k] {
      cases.append(
        fusedLinear(
          [type], .decode, 1, 3072, type == .q4_k ? 768 : 576, .rms, .silu, isGated: true, purpose: .bench))
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

  enum NormKind: String, CaseIterable { case none, rms, layer }

  /// A linear layer with a norm before it or a gate after it, its residual y itself.
  static func fusedLinear(
    _ types: [ElementType], _ phase: Phase, _ rows: Int, _ outputs: Int, _ inputs: Int, _ norm: NormKind,
    _ activation: Activation, isGated: Bool, bias: Bool = false, purpose: Purpose = .check
  ) -> Case {
    Case(
      Linear.self, types[0],
      [
        "parts": types.map(\.rawValue).joined(separator: "+"), "phase": phase.rawValue, "rows": rows,
        "outputs": outputs, "inputs": inputs, "norm": norm.rawValue, "activation": activation.rawValue,
        "gated": isGated, "bias": bias,
      ],
      // Two sums of so many terms, one after the other: 2·√n = √(4n).
      .dot(length: 4 * inputs), purpose: purpose
    ) { bench in
      let all = outputs * types.count
      let x = bench.normal(rows * inputs).map { $0 + 0.5 }
      let gain = try bench.normal([inputs])
      let y = try bench.normal([rows, isGated ? all / 2 : all])
      let norms: [NormKind: Norm] = [
        .rms: .rms(gain: gain, epsilon: 1e-5),
        .layer: .layer(gain: gain, bias: try bench.normal([inputs]), epsilon: 1e-5),
      ]
      return Linear(
        x: try bench.tensor(x, [rows, inputs]), norm: norms[norm],
        weight: try bench.weight(outputs, inputs, types),
        bias: bias ? try bench.normal([all]) : nil, activation: activation, isGated: isGated, residual: y,
        phase: phase, y: y)
    }
  }

  /// A gated layer and the one that reads what it makes, which is judged: a device may queue them together.
  static func chainedLinear(_ type: ElementType, _ rows: Int, inner: Int, inputs: Int) -> Case {
    // The first layer's errors are (8 + √inputs)·unit of its terms' sizes, whose sum is √inputs times the result where signs are
    // random; thrice that, for the size of single results.
    let first = 3 * (8 + Double(inputs).squareRoot()) * Double(inputs).squareRoot()
    let length = Int((Double(inner).squareRoot() + first) * (Double(inner).squareRoot() + first))
    return Case(
      Linear.self, type, ["rows": rows, "inner": inner, "inputs": inputs, "then": "down"],
      [.dot(length: length)],
      .check
    ) { bench in
      let gate = Linear(
        x: try bench.normal([rows, inputs]), norm: .rms(gain: try bench.normal([inputs]), epsilon: 1e-5),
        weight: try bench.weight(2 * inner, inputs, [type]), activation: .silu, isGated: true, phase: .decode,
        y: try bench.output([rows, inner]))
      let y = try bench.normal([rows, inputs])
      let down = Linear(
        x: gate.y, weight: try bench.weight(inputs, inner, [type]), residual: y, phase: .decode, y: y)
      return Trial(gate, witness: down)
    }
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
