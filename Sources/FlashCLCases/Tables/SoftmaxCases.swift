import FlashCL

// Differences beyond the overflow of e^x, rows that are all negative or all equal, −∞ alone (a row of 0) and
// among others, +∞ and NaN, which spoil their rows; widths that straddle vectors and groups, and a real
// vocabulary.

extension Case {
  static var softmaxCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.activations {
      for columns in widths { cases.append(softmax(type, 3, columns, .normal)) }
      for data in RowData.allCases.dropFirst() { cases.append(softmax(type, 3, 257, data)) }
      cases.append(softmax(type, 70, 33, .normal))
    }
    cases.append(softmax(.f32, 1, 49152, .normal))
    cases.append(softmax(.f32, 4096, 768, .normal, .bench))
    cases.append(softmax(.f32, 1, 49152, .normal, .bench))
    return cases
  }

  static func softmax(
    _ type: ElementType, _ rows: Int, _ columns: Int, _ data: RowData, _ purpose: Purpose = .check
  ) -> Case {
    Case(
      Softmax.self, type, ["rows": rows, "cols": columns, "data": data.rawValue], .dot(length: columns),
      purpose: purpose
    ) { bench in
      Softmax(
        x: try bench.tensor(data.values(bench, rows, columns), [rows, columns], type),
        y: try bench.output([rows, columns], type))
    }
  }
}

/// Rows to compare and select from, shared with ArgMaxCases and TopKCases.
enum RowData: String, CaseIterable {
  case normal, large, negative, equal, ties, masked, emptyRow = "empty_row", nan, nanRow = "nan_row",
    infinity, first, last

  func values(_ bench: Workbench, _ rows: Int, _ columns: Int) -> [Double] {
    let count = rows * columns
    var values = bench.normal(count, deviation: 4)
    switch self {
    case .normal: break
    case .large: for i in 0..<count { values[i] *= 2500 }
    case .negative: for i in 0..<count { values[i] -= 1000 }
    case .equal: for i in 0..<count { values[i] = -7.25 }
    case .ties: for i in 0..<count { values[i] = (values[i] / 4).rounded() }
    case .masked: for i in 0..<count where i % 3 != 1 { values[i] = -.infinity }
    case .emptyRow: for i in 0..<columns { values[i] = -.infinity }
    case .nan: for i in 0..<count where i % 5 == 0 { values[i] = .nan }
    case .nanRow: for i in 0..<columns { values[i] = .nan }
    case .infinity: for i in 0..<count where i % 200 == 7 { values[i] = .infinity }
    case .first: for row in 0..<rows { values[row * columns] = 50 }
    case .last: for row in 0..<rows { values[row * columns + columns - 1] = 50 }
    }
    return values
  }
}
