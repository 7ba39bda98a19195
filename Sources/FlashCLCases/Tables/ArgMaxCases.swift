import FlashCL

// Ties, which the lowest column wins; NaN, which never wins; rows of nothing but −∞ or NaN; the winner in the
// first and the last column; and the length of a real vocabulary.

extension Case {
  static var argMaxCases: [Case] {
    var cases: [Case] = []
    for columns in widths {
      cases.append(argMax(3, columns, .normal))
      cases.append(argMax(3, columns, .ties))
    }
    for data in RowData.allCases { cases.append(argMax(5, 1025, data)) }
    cases.append(argMax(2, 49152, .ties))
    cases.append(argMax(70, 33, .normal))
    cases.append(argMax(1, 49152, .normal, .bench))
    return cases
  }

  static func argMax(_ rows: Int, _ columns: Int, _ data: RowData, _ purpose: Purpose = .check) -> Case {
    Case(
      ArgMax.self, .f32, ["rows": rows, "cols": columns, "data": data.rawValue], .exact, purpose: purpose
    ) { bench in
      ArgMax(
        x: try bench.tensor(data.values(bench, rows, columns), [rows, columns]),
        y: try bench.output([rows], .i32))
    }
  }
}
