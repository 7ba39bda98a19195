import FlashCL

// Ties, more of them than k; NaN, which counts as −∞; k of 1, of all columns, and of the limit; the winners
// side by side in the first and the last columns.

extension Case {
  static var topKCases: [Case] {
    var cases: [Case] = []
    for columns in widths {
      cases.append(topK(3, columns, 1, .normal))
      cases.append(topK(2, columns, min(columns, 30), .ties))
    }
    for data in RowData.allCases { cases.append(topK(3, 1025, 50, data)) }
    for (columns, k) in [(31, 31), (257, 2), (257, 256), (1025, 1024), (4097, 1024)] {
      cases.append(topK(2, columns, k, .normal))
      cases.append(topK(2, columns, k, .ties))
    }
    cases.append(topK(1, 49152, 40, .normal))
    cases.append(topK(1, 49152, 40, .normal, .bench))
    return cases
  }

  static func topK(
    _ rows: Int, _ columns: Int, _ k: Int, _ data: RowData, _ purpose: Purpose = .check
  ) -> Case {
    Case(
      TopK.self, .f32, ["rows": rows, "cols": columns, "k": k, "data": data.rawValue], .exact,
      purpose: purpose
    ) { bench in
      TopK(
        x: try bench.tensor(data.values(bench, rows, columns), [rows, columns]),
        values: try bench.output([rows, k]), indices: try bench.output([rows, k], .i32))
    }
  }
}
