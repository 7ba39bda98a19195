import FlashCL

// Rows repeat, stand at both ends, and lie outside of x, where the result must be NaN and nothing may be read; x may be a
// slice of a wider matrix.

extension Case {
  static var gatherCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.activations {
      for (count, rows, width) in [(1, 1, 1), (5, 3, 65), (33, 257, 384), (3, 4097, 31)] {
        cases.append(gather(type, count, rows, width))
      }
      cases.append(gather(type, 7, 12, 40, sliced: true))
      cases.append(gather(type, 7, 12, 40, outside: true))
    }
    cases.append(gather(.f32, 32, 1024, 384, purpose: .bench))
    return cases
  }

  static func gather(
    _ type: ElementType, _ count: Int, _ rows: Int, _ width: Int, sliced: Bool = false, outside: Bool = false,
    purpose: Purpose = .check
  ) -> Case {
    Case(
      Gather.self, type,
      ["count": count, "rows": rows, "width": width, "sliced": sliced, "outside": outside], .exact,
      purpose: purpose
    ) { bench in
      var random = bench.random()
      var places = (0..<count).map { _ in Int(random.next() % UInt64(rows)) }
      places[0] = rows - 1
      places[count - 1] = 0
      if outside { places.replaceSubrange(1..<5, with: [-1, rows, Int(Int32.max), Int(Int32.min)]) }
      let x = try bench.normal([rows, sliced ? width + 9 : width], type)
      return Gather(
        x: sliced ? x.slice(1, 4..<4 + width) : x, rows: try bench.integers(places),
        y: try bench.output([count, width], type))
    }
  }
}
