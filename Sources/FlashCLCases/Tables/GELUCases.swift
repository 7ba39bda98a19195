import FlashCL

// Negative arguments, where 1 + erf and 1 + tanh cancel to nothing; arguments beyond the overflow of e^x and
// of x³; zeros, infinity and NaN; and counts that leave every kind of tail.

extension Case {
  static var geluCases: [Case] {
    [GELU.Form.exact, .tanh].flatMap { form in
      var cases: [Case] = []
      for type in ElementType.activations {
        for count in ActivationData.counts { cases.append(gelu(form, type, count, .uniform)) }
        cases.append(gelu(form, type, 99, .extremes))
      }
      cases.append(gelu(form, .f32, 4096 * 768, .uniform, .bench))
      cases.append(gelu(form, .f16, 4096 * 768, .uniform, .bench))
      return cases
    }
  }

  static func gelu(
    _ form: GELU.Form, _ type: ElementType, _ count: Int, _ data: ActivationData, _ purpose: Purpose = .check
  ) -> Case {
    // OpenCL allows erfc 16 ulp; its argument is rounded once or twice, and so are the products.
    let tolerance = form == .exact ? Tolerance.elementwise(ulps: 20, roundings: 2) : .sigmoid
    return Case(
      GELU.self, type, ["form": form.rawValue, "count": count, "data": data.rawValue], tolerance,
      purpose: purpose
    ) { bench in
      GELU(
        form, x: try bench.tensor(data.values(bench, count, type), [1, count], type),
        y: try bench.output([1, count], type))
    }
  }
}

/// Arguments of smooth steps, shared with SiLUMultiplyCases.
enum ActivationData: String {
  case uniform, extremes

  static let counts = [1, 31, 33, 64, 257, 4097]

  func values(_ bench: Workbench, _ count: Int, _ type: ElementType) -> [Double] {
    guard self == .extremes else { return bench.uniform(count, -12...12) }
    // Minus infinity is left out: −∞ · 0 is NaN in the formula, and 0 in the limit.
    var values = [0, -0.0, 1e-7, -1e-7, -1, 5.5, -5.5, -9.3, -13.5, 40, -40, 88, -89, 104, -104, 300, -300]
    values += type == .f16 ? [6e4, -6e4] : [1e10, -1e10, 1e14, -1e14]
    values += [.infinity, .nan]
    // 21 or 23 values do not divide a row, so that equal gates meet other values.
    return (0..<count).map { values[$0 % values.count] }
  }
}

extension Tolerance {
  /// By the exponential: 3 ulp, sum, quotient (2.5 ulp) and product; four roundings of the exponent t, which
  /// count
  /// |t|·e^−|t| < ½.
  static var sigmoid: Tolerance { .elementwise(ulps: 8, roundings: 4) }
}
