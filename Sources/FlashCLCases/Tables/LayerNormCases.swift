import FlashCL

// A mean of a thousand deviations breaks every variance made from the mean of squares; a constant row leaves
// nothing but ε under the root; numbers that cancel to a mean of nearly nothing leave the roundings of their sum beside
// numbers as small; tiny values vanish when squared, large ones overflow in f16. Widths straddle
// vectors and groups, and the sum is written over the residual, as models do.

extension Case {
  static var layerNormCases: [Case] {
    var cases = NormProblem.edges.map { layerNorm($0) }
    for (columns, data) in [(257, NormProblem.Data.offset), (576, .cancelling), (768, .cancelling)] {
      cases.append(layerNorm(NormProblem(.f32, 3, columns, data), bias: false))
    }
    for (rows, columns) in [(1, 768), (512, 768), (4096, 768)] {
      cases.append(layerNorm(NormProblem(.f32, rows, columns), purpose: .bench))
    }
    return cases
  }

  static func layerNorm(_ norm: NormProblem, bias: Bool = true, purpose: Purpose = .check) -> Case {
    Case(
      LayerNorm.self, norm.type,
      [
        "rows": norm.rows, "cols": norm.columns, "data": norm.data.rawValue, "form": norm.form.rawValue,
        "bias": bias, "eps": norm.epsilon,
      ],
      norm.tolerances, purpose
    ) { bench in
      let (x, residual, sum, gain) = try norm.operands(bench)
      return Trial(
        LayerNorm(
          x: x, residual: residual, gain: gain, bias: bias ? try bench.normal([norm.columns]) : nil,
          epsilon: norm.epsilon, sum: sum, y: try bench.output(x.shape, norm.type)))
    }
  }
}

/// The operands that LayerNorm and RMSNorm share.
struct NormProblem {
  enum Data: String, CaseIterable {
    case normal, offset, constant, tiny, large, cancelling

    func values(_ bench: Workbench, _ count: Int, columns: Int) -> [Double] {
      switch self {
      case .normal: bench.normal(count)
      case .offset: bench.normal(count, mean: 1000)
      case .constant: [Double](repeating: 3.140625, count: count)
      case .tiny: bench.normal(count, deviation: 1e-6)
      case .large: bench.normal(count, deviation: 1e4)
      case .cancelling:
        // Each row's second half is its first one's negative from the end on, but for an eighth that is small.
        Self.cancelling(bench.normal(count), columns)
      }
    }

    private static func cancelling(_ values: [Double], _ columns: Int) -> [Double] {
      values.indices.map { place in
        let column = place % columns
        if column % 8 == 3 { return 1e-4 * values[place] }
        let other = columns - 1 - column
        guard other % 8 != 3 else { return 0 }
        return column < other ? values[place] : column == other ? 0 : -values[place - column + other]
      }
    }
  }

  enum Form: String, CaseIterable {
    case plain, residual, sum
    /// The sum replaces the residual.
    case inPlace = "in_place"

    /// Of `[rows, columns]`: operands and results.
    var tensors: Int {
      switch self {
      case .plain: 2
      case .residual, .inPlace: 3
      case .sum: 4
      }
    }
  }

  let type: ElementType
  let rows: Int
  let columns: Int
  let data: Data
  let form: Form
  let epsilon: Float

  init(
    _ type: ElementType, _ rows: Int, _ columns: Int, _ data: Data = .normal, _ form: Form = .plain,
    epsilon: Float = 1e-5
  ) {
    self.type = type
    self.rows = rows
    self.columns = columns
    self.data = data
    self.form = form
    self.epsilon = epsilon
  }

  static var edges: [NormProblem] {
    var norms: [NormProblem] = []
    for type in ElementType.activations {
      for columns in Case.widths { norms.append(NormProblem(type, 3, columns)) }
      for data in Data.allCases.dropFirst() {
        for columns in [33, 576] { norms.append(NormProblem(type, 3, columns, data)) }
      }
      for form in [Form.residual, .sum, .inPlace] {
        for columns in [33, 768] { norms.append(NormProblem(type, 5, columns, .normal, form)) }
      }
      norms.append(NormProblem(type, 70, 64))
    }
    norms.append(NormProblem(.f32, 3, 576, .constant, epsilon: 1e-12))
    norms.append(NormProblem(.f32, 257, 1))
    return norms
  }

  /// Of y, and of the sum, which is one addition.
  var tolerances: [Tolerance] {
    [.dot(length: columns), .elementwise(ulps: 1, roundings: 0)]
  }

  func operands(_ bench: Workbench) throws -> (x: Tensor, residual: Tensor?, sum: Tensor?, gain: Tensor) {
    let shape = [rows, columns]
    let x = try bench.tensor(data.values(bench, rows * columns, columns: columns), shape, type)
    let residual = form == .plain ? nil : try bench.normal(shape, type)
    let sum: Tensor? =
      switch form {
      case .plain, .residual: nil
      case .sum: try bench.output(shape, type)
      case .inPlace: residual
      }
    return (x, residual, sum, try bench.normal([columns], mean: 1, deviation: 0.3))
  }
}
