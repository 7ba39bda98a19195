import FlashCL

/// A number, and the sizes of the terms that it is the sum of: what an error of one rounding in each could add up to.
struct Sized<S: ReferenceScalar> {
  let value: S
  let size: Double

  init(_ value: S, size: Double) {
    self.value = value
    self.size = size
  }

  init(_ value: Double) { self.init(S(value), size: abs(value)) }

  static func + (a: Sized, b: Sized) -> Sized { Sized(a.value + b.value, size: a.size + b.size) }
  static func * (factor: S, a: Sized) -> Sized { Sized(factor * a.value, size: abs(Double(factor)) * a.size) }

  /// An error of x is one of (1 − tanh²x) of it in tanh x.
  func tanh() -> Sized {
    let t = S.tanh(value)
    return Sized(t, size: abs(Double(t)) + Double(1 - t * t) * size)
  }

  /// Σ a·b
  static func dot(_ a: Vector, _ b: Vector) -> Sized {
    let value = S.dot(a.values, b.values, a.count)
    guard let x = a.sizes, let y = b.sizes else { return Sized(value, size: 0) }
    return Sized(value, size: Double.dot(x, y, a.count))
  }

  /// Σ (a − b)², as large as a² − 2ab + b².
  static func squaredDistance(_ a: Vector, _ b: Vector) -> Sized {
    var (sum, size) = (S(0), 0.0)
    for i in 0..<a.count {
      let difference = S(a.values[i]) - S(b.values[i])
      sum += difference * difference
      if let x = a.sizes, let y = b.sizes { size += (x[i] + y[i]) * (x[i] + y[i]) }
    }
    return Sized(sum, size: size)
  }

  /// Σ w·tanh(a + b)
  static func tanhDot(_ w: Vector, _ a: Vector, _ b: Vector) -> Sized {
    var sum = Sized(0)
    for i in 0..<w.count {
      let x = Sized(S(a.values[i]) + S(b.values[i]), size: (a.sizes?[i] ?? 0) + (b.sizes?[i] ?? 0))
      sum = sum + S(w.values[i]) * x.tanh()
    }
    return sum
  }
}

/// Numbers side by side, and where terms are measured the sizes of what each was summed from.
struct Vector {
  let values: UnsafePointer<Double>
  let sizes: UnsafePointer<Double>?
  let count: Int
}

/// Rows of numbers in an arena, which must outlive them.
struct Vectors {
  let rows: Int
  let columns: Int
  let values: UnsafeMutablePointer<Double>
  let sizes: UnsafeMutablePointer<Double>?

  subscript(row: Int) -> Vector {
    precondition(row >= 0 && row < rows, "row \(row) of \(rows)")
    return Vector(
      values: UnsafePointer(values + row * columns), sizes: sizes.map { UnsafePointer($0 + row * columns) },
      count: columns)
  }
}

/// Memory for vectors, which stays where it is until the arena goes: inner loops read it by address.
final class Arena {
  /// Whether vectors have sizes.
  let measured: Bool
  private var blocks: [UnsafeMutablePointer<Double>] = []

  init(measured: Bool) { self.measured = measured }
  deinit { for block in blocks { block.deallocate() } }

  /// Rows of zeros.
  func vectors(rows: Int, columns: Int) -> Vectors {
    func block() -> UnsafeMutablePointer<Double> {
      let block = UnsafeMutablePointer<Double>.allocate(capacity: max(rows * columns, 1))
      block.initialize(repeating: 0, count: max(rows * columns, 1))
      blocks.append(block)
      return block
    }
    return Vectors(rows: rows, columns: columns, values: block(), sizes: measured ? block() : nil)
  }

  func vectors(_ values: [Double], columns: Int) -> Vectors {
    let vectors = vectors(rows: columns == 0 ? 0 : values.count / columns, columns: columns)
    for (i, value) in values.enumerated() {
      vectors.values[i] = value
      vectors.sizes?[i] = abs(value)
    }
    return vectors
  }

  func vectors(_ tensor: Tensor) throws -> Vectors { vectors(try tensor.load(), columns: tensor.columns) }

  /// x + y, rounded to S.
  func sum<S: ReferenceScalar>(_ x: Vector, _ y: Vector, _: S.Type) -> Vector {
    let sum = vectors(rows: 1, columns: x.count)
    for i in 0..<x.count {
      sum.values[i] = Double(S(x.values[i]) + S(y.values[i]))
      if let a = x.sizes, let b = y.sizes { sum.sizes?[i] = a[i] + b[i] }
    }
    return sum[0]
  }

  /// x · W with W `[x.count, columns]`, rounded to S.
  func product<S: ReferenceScalar>(_ x: Vector, _ matrix: Vectors, _: S.Type) -> Vector {
    let product = vectors(rows: 1, columns: matrix.columns)
    multiply(x, matrix, S.self, into: product, row: 0)
    return product[0]
  }

  /// The same for every row of x.
  func product<S: ReferenceScalar>(_ x: Vectors, _ matrix: Vectors, _: S.Type) -> Vectors {
    let product = vectors(rows: x.rows, columns: matrix.columns)
    parallel(x.rows, grain: 16) { rows in
      for row in rows { multiply(x[row], matrix, S.self, into: product, row: row) }
    }
    return product
  }

  private func multiply<S: ReferenceScalar>(
    _ x: Vector, _ matrix: Vectors, _: S.Type, into product: Vectors, row: Int
  ) {
    let columns = matrix.columns
    var sums = [S](repeating: 0, count: columns)
    for i in 0..<x.count {
      let terms = matrix[i]
      S.add(S(x.values[i]), terms.values, to: &sums, columns)
      if let size = x.sizes?[i], let terms = terms.sizes, let sizes = product.sizes {
        Double.add(size, terms, to: sizes + row * columns, columns)
      }
    }
    for i in 0..<columns { product.values[row * columns + i] = Double(sums[i]) }
  }
}
