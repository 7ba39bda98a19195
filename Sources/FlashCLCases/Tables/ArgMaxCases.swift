import FlashCL

// Ties, which the lowest column wins; NaN, which never wins; rows of nothing but −∞ or NaN; the winner in the
// first and the last column; and the length of a real vocabulary.

extension Case {
  static var argMaxCases: [Case] {
    var cases: [Case] = []
    func argMax(_ rows: Int, _ columns: Int, _ data: RowData, _ purpose: Purpose = .check) {
      cases.append(
        Case(
          ArgMax.self, .f32, ["rows": rows, "cols": columns, "data": data.rawValue], .exact, purpose: purpose
        ) { bench in
          ArgMax(
            x: try bench.tensor(data.values(bench, rows, columns), [rows, columns]),
            y: try bench.output([rows], .i32))
        })
    }
    for columns in widths {
      argMax(3, columns, .normal)
      argMax(3, columns, .ties)
    }
    for data in RowData.allCases { argMax(5, 1025, data) }
    argMax(2, 49152, .ties)
    argMax(70, 33, .normal)
    argMax(1, 49152, .normal, .bench)
    return cases
  }
}
