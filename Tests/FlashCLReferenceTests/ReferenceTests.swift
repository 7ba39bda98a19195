import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Each reference function against numbers that others made.
@Suite struct ReferenceTests {
  let backend = ReferenceBackend()

  @Test func linearWithEveryEpilogue() throws {
    for golden in try Goldens.load().linear {
      let x = try backend.tensor(golden.x, [golden.rows, golden.inputs])
      let activation = try #require(Activation(rawValue: golden.activation))
      for (values, order) in [
        (golden.w, WeightSource.Order.outputsByInputs), (golden.transposed, .inputsByOutputs),
      ] {
        let w = try backend.weight(
          (golden.outputs, .f32, ElementType.f32.encoded(values)), inputs: golden.inputs, order: order)
        // The residual is y itself.
        let y = try backend.tensor(golden.residual, [golden.rows, golden.outputs])
        try backend.run(
          Linear(
            x: x, weight: w, bias: backend.tensor(golden.bias, [golden.outputs]), activation: activation,
            residual: y, phase: .prefill, y: y))
        #expect(agree(try backend.doubles(y), golden.y), "\(golden.activation)")
      }
    }
  }

  @Test func norms() throws {
    for golden in try Goldens.load().norms {
      let shape = [golden.rows, golden.columns]
      let (x, gain) = (try backend.tensor(golden.x, shape), try backend.tensor(golden.gain, [golden.columns]))
      let (sum, y) = (try backend.tensor(golden.residual, shape), try backend.allocate(shape, .f32))
      try backend.run(
        LayerNorm(
          x: x, residual: sum, gain: gain, bias: backend.tensor(golden.bias, [golden.columns]),
          epsilon: Float(golden.eps), sum: sum, y: y))
      #expect(agree(try backend.doubles(y), golden.layer_norm))
      #expect(agree(try backend.doubles(sum), golden.sum))
      let residual = try backend.tensor(golden.residual, shape)
      try backend.run(RMSNorm(x: x, residual: residual, gain: gain, epsilon: Float(golden.eps), y: y))
      #expect(agree(try backend.doubles(y), golden.rms_norm))
    }
  }

  @Test func activations() throws {
    let golden = try Goldens.load().activations
    let count = golden.x.count
    let x = try backend.tensor(golden.x, [1, count])
    // PyTorch computes 1 + erf and 1 + tanh, which lose their last digits where they are nearly 0.
    for (form, truth) in [(GELU.Form.exact, golden.gelu), (.tanh, golden.gelu_tanh)] {
      let y = try backend.doubles(backend.gelu(x, form))
      #expect(zip(y, truth).allSatisfy { abs($0 - $1) <= 1e-7 * abs($1) + 1e-14 })
    }
    let gateUp = try backend.tensor(golden.x + golden.up, [1, 2 * count])
    #expect(agree(try backend.doubles(backend.siluMultiply(gateUp)), golden.silu_multiply))
  }

  @Test func attentionOverDenseAndPagedKeys() throws {
    let golden = try Goldens.load().attention
    let q = try backend.tensor(golden.q, [2, 4, 5, 8])
    let (k, v) = (try backend.tensor(golden.k, [2, 2, 9, 8]), try backend.tensor(golden.v, [2, 2, 9, 6]))
    let masks: [String: AttentionMask] = [
      "none": .all, "upper_left": .causal(.upperLeft), "lower_right": .causal(.lowerRight),
    ]
    for (name, mask) in masks {
      let y = try backend.attention(q, k, v, AttentionOptions(mask: mask))
      #expect(agree(try backend.doubles(y), try #require(golden.y[name])), "\(name)")
    }
    // Sequence 0 lies in block 2, sequence 1 in block 1; block 0 is never written and NaN.
    let cache = try backend.makeCache(blocks: 3, heads: 2, keySize: 8, valueSize: 6, type: .f32)
    for (b, block) in [2, 1].enumerated() {
      let tokens = [0, 2, 1, 3]  // [1, Hkv, L, D] → [1, L, Hkv, D]
      func rows(_ tensor: Tensor) -> Tensor {
        let view = tensor.slice(0, b..<b + 1).permuted(tokens)
        return Tensor(
          shape: [9, 2, view.columns], strides: [Int](view.strides.dropFirst()), offset: view.offset,
          type: .f32,
          storage: view.storage)
      }
      // Tokens in reverse.
      try backend.append(
        keys: rows(k), values: rows(v),
        slots: backend.tensor((0..<9).map { Int32(block * cache.blockLength + $0) }, [9]), to: cache)
    }
    let y = try backend.allocate([2, 4, 5, 6], .f32)
    try backend.run(
      Attention(
        q: q,
        source: .paged(
          cache: cache, table: backend.tensor([Int32(2), 1], [2, 1]),
          lengths: backend.tensor([Int32(9), 9], [2]),
          longest: 9),
        options: AttentionOptions(mask: .causal(.lowerRight)), phase: .decode, y: y))
    #expect(agree(try backend.doubles(y), try #require(golden.y["lower_right"])))
  }

  @Test func softmax() throws {
    let golden = try Goldens.load().softmax
    #expect(agree(try backend.doubles(backend.softmax(backend.tensor(golden.x, [3, 9]))), golden.y))
    let inf = Float.infinity
    let special: [Float] = [-inf, -inf, -inf, -inf, 0, 0, 1, inf, 2, 3, .nan, 4, .nan, -inf, -inf]
    let y = try backend.floats(backend.softmax(backend.tensor(special, [5, 3])))
    #expect(y[0..<6] == [0, 0, 0, 0, 0.5, 0.5])
    #expect(y[6...].allSatisfy { $0.isNaN })
  }

  @Test func quantisedRows() throws {
    for golden in try Goldens.load().quantised {
      let w = try backend.weight((golden.outputs, golden.type, golden.bytes), inputs: golden.inputs)
      let y = try backend.embedding(backend.tensor([Int32(2), 0, 1, -1, 3], [5]), table: w)
      let rows = try backend.doubles(y)
      let n = golden.inputs
      #expect(agree([Double](rows[0..<n]), [Double](golden.values[2 * n..<3 * n]), ulps: 0))
      #expect(agree([Double](rows[n..<3 * n]), [Double](golden.values[0..<2 * n]), ulps: 0))
      #expect(rows[(3 * n)...].allSatisfy { $0.isNaN })  // ids outside the table
    }
  }

  @Test func stackedWeights() throws {
    let goldens = try Goldens.load().quantised
    let (a, b) = (goldens[0], goldens[2])
    let plain = ElementType.bf16.encoded((0..<64).map { Double($0) })
    let w = try backend.weight(
      (3, a.type, a.bytes), (1, .bf16, plain), (3, b.type, b.bytes), inputs: 64)
    #expect(w.shape == [7, 64])
    // One-hot rows of x read one column of the weight.
    var x = [Double](repeating: 0, count: 128)
    (x[5], x[64 + 63]) = (1, 1)
    let y = try backend.doubles(backend.linear(backend.tensor(x, [2, 64]), w, phase: .decode))
    for (row, column) in [(0, 5), (1, 63)] {
      let truth =
        (0..<3).map { a.values[$0 * 64 + column] } + [Double(column)]
        + (0..<3).map { b.values[$0 * 64 + column] }
      #expect(agree([Double](y[row * 7..<row * 7 + 7]), truth, ulps: 0))
    }
  }

  @Test func roundingToNarrowTypes() throws {
    let golden = try Goldens.load().rounding
    for (type, bits) in [(ElementType.f16, golden.f16), (.bf16, golden.bf16)] {
      let bytes = type.encoded(golden.values)
      for (i, bits) in bits.enumerated() {
        let got = UInt16(bytes[2 * i]) | UInt16(bytes[2 * i + 1]) << 8
        #expect(got == bits, "\(golden.values[i]) as \(type)")
      }
      let decoded = bytes.withUnsafeBytes { type.decoded($0) }
      #expect(zip(golden.values, decoded).allSatisfy { type.rounded($0) == $1 })
    }
    #expect(ElementType.bf16.rounded(.nan).isNaN && ElementType.f16.rounded(.nan).isNaN)
  }

  @Test func selection() throws {
    let inf = Float.infinity
    let rows: [[Float]] = [
      [1, 3, 3, 2], [.nan, -inf, -5, .nan], [.nan, .nan, .nan, .nan], [-inf, -inf, inf, 0],
    ]
    let x = try backend.tensor(rows.flatMap { $0 }, [4, 4])
    #expect(try backend.integers(backend.argmax(x)) == [1, 2, 0, 2])
    let (values, indices) = try backend.topK(x, 3)
    #expect(try backend.integers(indices) == [1, 2, 3, 2, 0, 1, 0, 1, 2, 2, 3, 0])
    #expect(try backend.floats(values) == [3, 3, 2, -5, -inf, -inf, -inf, -inf, -inf, inf, 0, -inf])
  }
}

/// Numbers that were printed in the literature.
@Suite struct WorkedExampleTests {
  let backend = ReferenceBackend()

  /// Scores of up to 10610 overflow e^x unless the greatest is taken off first.
  @Test func retrieval() throws {
    let example = try WorkedExamples.load().retrieval
    for scale in example.scales {
      let y = try backend.attention(
        backend.tensor(example.q).heads(1), backend.tensor(example.k).heads(1),
        backend.tensor(example.v).heads(1), AttentionOptions(scale: scale))
      #expect(try backend.doubles(y) == example.out.flatMap { $0 })
    }
  }

  @Test func selfAttention() throws {
    let example = try WorkedExamples.load().selfAttention
    let x = try backend.tensor(example.x)
    func project(_ w: [[Double]]) throws -> Tensor {
      let bytes = ElementType.f32.encoded(w.flatMap { $0 })
      let weight = try backend.weight((w[0].count, .f32, bytes), inputs: w.count, order: .inputsByOutputs)
      return try backend.linear(x, weight, phase: .prefill).heads(1)
    }
    let y = try backend.attention(project(example.wq), project(example.wk), project(example.wv))
    let got = try backend.doubles(y)
    #expect(zip(got, example.out.flatMap { $0 }).allSatisfy { abs($0 - $1) < 1e-6 })
    #expect(zip(got, example.printedRow0).allSatisfy { abs($0 - $1) < 1e-4 })
    #expect(got[0..<4] == got[24..<28])  // the same word
  }

  /// Turning (1, 0) by a position gives that position's cosines and sines, turning (0, 1) the same a quarter on.
  @Test(arguments: Rope.Pairing.allCases)
  func sinusoidalPositions(pairing: Rope.Pairing) throws {
    let example = try WorkedExamples.load().sinusoidalPositions
    let (size, pairs) = (example.dimensions, example.dimensions / 2)
    let angles = (0..<3).flatMap { position in
      (0..<pairs).map { Double(position) * pow(10000, -2 * Double($0) / Double(size)) }
    }
    let table = RopeTable(
      cos: try backend.tensor(angles.map { cos($0) }, [3, pairs]),
      sin: try backend.tensor(angles.map { sin($0) }, [3, pairs]), pairing: pairing)
    let (first, second): ((Int) -> Int, (Int) -> Int) =
      pairing == .halves ? ({ $0 }, { $0 + pairs }) : ({ 2 * $0 }, { 2 * $0 + 1 })
    // Head 0 holds (1, 0) in every pair, head 1 holds (0, 1).
    var heads = [Double](repeating: 0, count: 2 * size)
    for i in 0..<pairs { (heads[first(i)], heads[size + second(i)]) = (1, 1) }
    let x = try backend.tensor(heads + heads, [2, 2, size])
    let y = try backend.doubles(backend.rope(x, positions: backend.tensor([Int32(1), 2], [2]), table: table))
    for (token, key) in ["1", "2"].enumerated() {
      let printed = try #require(example.rows[key])  // sine, cosine, sine, …
      for i in 0..<pairs {
        let (sine, cosine) = (printed[2 * i], printed[2 * i + 1])
        let turned = [y[token * 2 * size + first(i)], y[token * 2 * size + second(i)]]
        let quarter = [y[(token * 2 + 1) * size + first(i)], y[(token * 2 + 1) * size + second(i)]]
        for (got, truth) in zip(turned + quarter, [cosine, sine, -sine, cosine]) {
          #expect(abs(got - truth) < 1e-6)
        }
      }
    }
  }
}
