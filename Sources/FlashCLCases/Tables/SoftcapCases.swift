import FlashCL

// Arguments near zero, where y is x, and far beyond the cap, where e^x overflows; zeros, infinity and NaN; counts that leave
// every kind of tail.

extension Case {
  static var softcapCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.activations {
      for count in ActivationData.counts { cases.append(softcap(30, type, count, .uniform)) }
      cases.append(softcap(0.75, type, 99, .extremes))
    }
    cases.append(softcap(30, .f32, 4096 * 768, .uniform, .bench))
    return cases
  }

  static func softcap(
    _ cap: Float, _ type: ElementType, _ count: Int, _ data: ActivationData, _ purpose: Purpose = .check
  ) -> Case {
    // OpenCL allows tanh 5 ulp and a quotient 2.5; the quotient's error reaches the result at most whole, the product rounds once.
    Case(
      Softcap.self, type, ["cap": cap, "count": count, "data": data.rawValue],
      .elementwise(ulps: 10, roundings: 2), purpose: purpose
    ) { bench in
      Softcap(
        cap, x: try bench.tensor(data.values(bench, count, type), [1, count], type),
        y: try bench.output([1, count], type))
    }
  }
}
