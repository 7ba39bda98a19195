import FlashCL

// Every stored type must come back exactly: the product of an f16 scale and a quant has 19 bits at most, and
// adding an offset rounds once. Ids repeat, stand at both ends of the table, and lie outside of it, where the
// row must be NaN and nothing may be read.

extension Case {
  static var embeddingCases: [Case] {
    var cases: [Case] = []
    for type in ElementType.weights where type.blockLength > 32 { cases.append(embedding(type, 5, 33, 512)) }
    for type in ElementType.weights where type.blockLength <= 32 {
      for (tokens, rows, width) in [(1, 3, 32), (5, 70, 64), (33, 257, 576)] {
        cases.append(embedding(type, tokens, rows, width))
      }
      cases.append(embedding(type, 5, 33, 96, scale: 11.3125))
      cases.append(embedding(type, 5, 33, 96, accumulate: true))
      cases.append(embedding(type, 7, 33, 64, outside: true))
    }
    for width in [1, 31, 33, 65, 257] { cases.append(embedding(.f32, 4, 19, width)) }
    cases.append(embedding(.q8_0, 1, 49152, 576, purpose: .bench))
    cases.append(embedding(.q8_0, 512, 49152, 576, purpose: .bench))
    return cases
  }

  static func embedding(
    _ type: ElementType, _ tokens: Int, _ rows: Int, _ width: Int, scale: Float = 1, accumulate: Bool = false,
    outside: Bool = false, purpose: Purpose = .check
  ) -> Case {
    Case(
      Embedding.self, type,
      [
        "tokens": tokens, "rows": rows, "width": width, "scale": scale, "accumulate": accumulate,
        "outside": outside,
      ],
      scale == 1 && !accumulate ? .exact : .dot(length: 2), purpose: purpose
    ) { bench in
      var random = bench.random()
      var ids = (0..<tokens).map { _ in Int(random.next() % UInt64(rows)) }
      ids[0] = rows - 1
      ids[tokens - 1] = 0
      if outside { ids.replaceSubrange(1..<5, with: [-1, rows, Int(Int32.max), Int(Int32.min)]) }
      return Embedding(
        ids: try bench.integers(ids), table: try bench.weight(rows, width, [type]), scale: scale,
        accumulate: accumulate,
        y: try accumulate ? bench.normal([tokens, width]) : bench.output([tokens, width]))
    }
  }
}
