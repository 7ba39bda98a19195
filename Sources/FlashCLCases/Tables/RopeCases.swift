import FlashCL

// Tables are random numbers, not cosines, so that a kernel cannot make its own. Heads lie in a fused buffer
// of queries, keys and values; positions repeat, run backwards and leave the table; only a part of a head may
// turn.

extension Case {
  static var ropeCases: [Case] {
    var cases: [Case] = []
    for pairing in Rope.Pairing.allCases {
      for type in ElementType.activations {
        for (tokens, heads, size, rotary) in [
          (1, 1, 2, 2), (3, 9, 64, 64), (5, 3, 80, 32), (33, 2, 96, 96), (2, 5, 33, 24),
        ] {
          cases.append(rope(type, pairing, tokens, heads, size, rotary))
        }
        cases.append(rope(type, pairing, 7, 3, 64, 64, inPlace: true))
        cases.append(rope(type, pairing, 7, 3, 64, 48, outside: true))
      }
      cases.append(rope(.f32, pairing, 257, 4, 16, 16, inPlace: true))
      cases.append(rope(.f32, pairing, 512, 9, 64, 64, inPlace: true, purpose: .bench))
    }
    return cases
  }

  static func rope(
    _ type: ElementType, _ pairing: Rope.Pairing, _ tokens: Int, _ heads: Int, _ size: Int, _ rotary: Int,
    inPlace: Bool = false, outside: Bool = false, purpose: Purpose = .check
  ) -> Case {
    Case(
      Rope.self, type,
      [
        "pairing": pairing.rawValue, "tokens": tokens, "heads": heads, "size": size, "rotary": rotary,
        "in_place": inPlace, "outside": outside,
      ],
      .dot(length: 2), purpose: purpose
    ) { bench in
      // In place: the middle third of a fused buffer.
      let width = heads * size
      let buffer = try bench.normal([tokens, 3 * width], type)
      let view = buffer.slice(1, width..<2 * width).tokens(heads)
      var random = bench.random()
      var positions = (0..<tokens).map { _ in Int(random.next() % 300) }
      positions[tokens - 1] = 0
      if outside { positions.replaceSubrange(1..<4, with: [-1, 300, Int(Int32.max)]) }
      return Rope(
        x: view, positions: try bench.integers(positions),
        table: try bench.ropeTable(length: 300, rotary: rotary, pairing),
        y: inPlace ? view : try bench.output([tokens, heads, size], type))
    }
  }
}

extension Workbench {
  /// A table of random numbers in place of cosines and sines.
  func ropeTable(length: Int, rotary: Int, _ pairing: Rope.Pairing) throws -> RopeTable {
    let shape = [length, rotary / 2]
    return RopeTable(
      cos: try tensor(uniform(length * rotary / 2, -1...1), shape),
      sin: try tensor(uniform(length * rotary / 2, -1...1), shape), pairing: pairing)
  }
}

extension Tensor {
  /// A matrix `[tokens, heads · size]`, perhaps a slice of a wider one, as `[tokens, heads, size]`.
  func tokens(_ heads: Int) -> Tensor {
    let size = columns / heads
    return Tensor(
      shape: [shape[0], heads, size], strides: [strides[0], size, 1], offset: offset, type: type,
      storage: storage)
  }
}
