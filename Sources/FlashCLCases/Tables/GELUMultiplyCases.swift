import FlashCL

// Gates whose cube or exponential overflows on either side, zeros, infinity and NaN, each against other values to
// scale; widths that leave every kind of tail, so that a row's gates and its neighbours must not be mixed up.

extension Case {
  static var geluMultiplyCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.activations {
      for width in ActivationData.counts { cases.append(geluMultiply(type, 3, width, .uniform)) }
      cases.append(geluMultiply(type, 3, 33, .extremes))
      cases.append(geluMultiply(type, 70, 96, .uniform))
    }
    cases.append(geluMultiply(.f32, 1, 1536, .uniform, .bench))
    cases.append(geluMultiply(.f32, 512, 1536, .uniform, .bench))
    return cases
  }

  static func geluMultiply(
    _ type: ElementType, _ rows: Int, _ width: Int, _ data: ActivationData, _ purpose: Purpose = .check
  ) -> Case {
    Case(
      GELUMultiply.self, type, ["rows": rows, "width": width, "data": data.rawValue], .sigmoid,
      purpose: purpose
    ) { bench in
      GELUMultiply(
        gateUp: try bench.tensor(data.values(bench, rows * 2 * width, type), [rows, 2 * width], type),
        y: try bench.output([rows, width], type))
    }
  }
}
