import FlashCL

// Gates whose exponential overflows on either side, zeros, infinity and NaN, each against other values to
// scale; widths that leave every kind of tail, so that a row's gates and its neighbours must not be mixed up.

extension Case {
  static var siluMultiplyCases: [Case] {
    var cases: [Case] = []
    func multiply(
      _ type: ElementType, _ rows: Int, _ width: Int, _ data: ActivationData, _ purpose: Purpose = .check
    ) {
      cases.append(
        Case(
          SiLUMultiply.self, type, ["rows": rows, "width": width, "data": data.rawValue], .sigmoid,
          purpose: purpose
        ) { bench in
          SiLUMultiply(
            gateUp: try bench.tensor(
              data.values(bench, rows * 2 * width, type), [rows, 2 * width], type),
            y: try bench.output([rows, width], type))
        })
    }
    for type in ElementType.activations {
      for width in ActivationData.counts { multiply(type, 3, width, .uniform) }
      multiply(type, 3, 33, .extremes)
      multiply(type, 70, 96, .uniform)
    }
    multiply(.f32, 1, 1536, .uniform, .bench)
    multiply(.f32, 512, 1536, .uniform, .bench)
    return cases
  }
}
