import FlashCL

// Rows repeat within a sum and stand at both ends; places outside of x must give NaN, and nothing may be read there; with and
// without a residual, which may be the result itself.

extension Case {
  static var weightedGatherCases: [Case] {
    var cases: [Case] = []
    for (count, k, rows, width) in [(1, 1, 1, 1), (5, 2, 3, 65), (33, 2, 257, 384), (3, 8, 4097, 31)] {
      cases.append(weightedGather(count, k, rows, width))
      cases.append(weightedGather(count, k, rows, width, residual: true))
    }
    cases.append(weightedGather(7, 3, 12, 40, residual: true, inPlace: true))
    cases.append(weightedGather(7, 3, 12, 40, outside: true))
    cases.append(weightedGather(512, 2, 1024, 2048, residual: true, purpose: .bench))
    return cases
  }

  static func weightedGather(
    _ count: Int, _ k: Int, _ rows: Int, _ width: Int, residual: Bool = false, inPlace: Bool = false,
    outside: Bool = false, purpose: Purpose = .check
  ) -> Case {
    Case(
      WeightedGather.self, .f32,
      [
        "count": count, "k": k, "rows": rows, "width": width, "residual": residual, "in_place": inPlace,
        "outside": outside,
      ], .dot(length: k + 1), purpose: purpose
    ) { bench in
      var random = bench.random()
      var places = (0..<count * k).map { _ in Int(random.next() % UInt64(rows)) }
      places[0] = rows - 1
      places[count * k - 1] = 0
      if outside { places.replaceSubrange(3..<7, with: [-1, rows, Int(Int32.max), Int(Int32.min)]) }
      let start = residual ? try bench.normal([count, width], .f32) : nil
      let y = inPlace ? start : nil
      return WeightedGather(
        x: try bench.normal([rows, width], .f32), rows: try bench.integers(places).reshaped([count, k]),
        weights: try bench.normal([count, k], .f32), residual: start,
        y: try y ?? bench.output([count, width], .f32))
    }
  }
}
