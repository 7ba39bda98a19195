import FlashCL
import FlashCLFiles
import FlashCLModels
import Testing

/// Worked examples of the Transformer's literature, on every backend.
@Suite struct WorkedExampleTests {
  private func numbers(_ json: JSON?) -> [Float] {
    if let array = json?.array { return array.flatMap { numbers($0) } }
    return json?.double.map { [Float($0)] } ?? []
  }

  private func attend(
    _ backend: any Backend, q: [Float], k: [Float], v: [Float], size: Int, valueSize: Int,
    mask: AttentionMask = .all, scale: Float? = nil
  ) throws -> [Float] {
    func heads(_ values: [Float], _ size: Int) throws -> Tensor {
      try backend.tensor(values, [1, 1, values.count / size, size])
    }
    return try backend.floats(
      backend.attention(
        heads(q, size), heads(k, size), heads(v, valueSize), AttentionOptions(mask: mask, scale: scale)))
  }

  private func random(_ count: Int, seed: UInt64) -> [Float] {
    var state = seed
    return (0..<count).map { _ in
      // Twelve uniform numbers less 6: variance 1.
      (0..<12).reduce(Float(-6)) { sum, _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return sum + Float(state >> 40) * 0x1p-24
      }
    }
  }

  /// Scores in the thousands: without subtracting the maximum, exp would overflow.
  @Test(arguments: Place.available)
  func retrievalWithHugeScores(place: Place) throws {
    let example = try Fixtures.json("worked.json")["retrieval"]
    let backend = try place.backend()
    for scale in numbers(example?["scales"]) {
      let out = try attend(
        backend, q: numbers(example?["q"]), k: numbers(example?["k"]), v: numbers(example?["v"]), size: 2,
        valueSize: 2, scale: scale)
      #expect(out == [48, 162, 48, 162])
    }
  }

  @Test(arguments: Place.available)
  func selfAttentionOfNineWords(place: Place) throws {
    let example = try #require(Fixtures.json("worked.json")["selfAttention"])
    let backend = try place.backend()
    func project(_ name: String, _ columns: Int) throws -> [Float] {
      let (x, w) = (numbers(example["x"]), numbers(example[name]))
      return (0..<9).flatMap { row in
        (0..<columns).map { column in (0..<3).reduce(0) { $0 + x[row * 3 + $1] * w[$1 * columns + column] } }
      }
    }
    let out = try attend(
      backend, q: project("wq", 2), k: project("wk", 2), v: project("wv", 4), size: 2, valueSize: 4)
    #expect(distance(out[..<4], [-0.0269, -0.0440, -0.0042, 0.0399]) <= 1e-4)
    #expect(distance(out[..<4], out[24..<28]) <= 1e-6)  // the same word
  }

  @Test(arguments: Place.available)
  func causalMaskIsTheStrictUpperTriangle(place: Place) throws {
    let n = 37
    // With the identity as values, the result is the weights themselves.
    let identity = (0..<n * n).map { Float($0 / n == $0 % n ? 1 : 0) }
    let x = random(n * 16, seed: 1)
    let weights = try attend(
      place.backend(), q: x, k: x, v: identity, size: 16, valueSize: n, mask: .causal(.upperLeft))
    for row in 0..<n {
      for column in 0..<n { #expect((weights[row * n + column] == 0) == (column > row)) }
      #expect(abs(weights[row * n..<(row + 1) * n].reduce(0, +) - 1) < 1e-5)
    }
  }

  @Test(arguments: Place.available)
  func withoutPositionsAttentionIsPermutationEquivariant(place: Place) throws {
    let (n, size) = (19, 8)
    let x = random(n * size, seed: 2)
    let order = (0..<n).map { ($0 * 7 + 3) % n }
    let permuted = order.flatMap { x[$0 * size..<($0 + 1) * size] }
    let backend = try place.backend()
    let straight = try attend(backend, q: x, k: x, v: x, size: size, valueSize: size)
    let crossed = try attend(backend, q: permuted, k: permuted, v: permuted, size: size, valueSize: size)
    #expect(distance(crossed, order.flatMap { straight[$0 * size..<($0 + 1) * size] }) < 1e-5)
  }

  /// x·W·(x·W)ᵀ is symmetric, and dot products of N(0, 1) vectors have variance D, after scaling 1.
  @Test(arguments: Place.available)
  func scoresAreSymmetricAndOfKnownVariance(place: Place) throws {
    let (n, size) = (96, 64)
    let backend = try place.backend()
    func scores(_ q: [Float], _ k: [Float]) throws -> [Float] {
      let keys = try k.withUnsafeBytes {
        try backend.prepare([WeightSource(name: "k", outputs: n, inputs: size, type: .f32, bytes: $0)])
      }
      return try backend.floats(backend.linear(backend.tensor(q, [n, size]), keys, phase: .prefill))
    }
    let x = random(n * size, seed: 3)
    let own = try scores(x, x)
    for row in 0..<n {
      for column in 0..<row { #expect(abs(own[row * n + column] - own[column * n + row]) < 1e-4) }
    }
    let cross = try scores(x, random(n * size, seed: 4)).map { Double($0) }
    let variance = cross.reduce(0) { $0 + $1 * $1 } / Double(cross.count)
    // 9216 products of 96 + 96 vectors: the estimate's own spread is about 2 %.
    #expect(abs(variance / Double(size) - 1) < 0.15)
  }

  @Test(arguments: Place.available)
  func sinusoidsAreTheRotationsOfRope(place: Place) throws {
    let backend = try place.backend()
    let table = try backend.ropeTable(length: 50, rotary: 8, base: 10000, pairing: .adjacent)
    let (cosines, sines) = (try backend.floats(table.cos), try backend.floats(table.sin))
    func pairs(_ first: [Float], _ second: [Float], at position: Int) -> [Float] {
      var all: [Float] = []
      for pair in 4 * position..<4 * position + 4 { all += [first[pair], second[pair]] }
      return all
    }
    func encoding(_ position: Int) -> [Float] { pairs(sines, cosines, at: position) }
    let first: [Float] = [0.841471, 0.540302, 0.099833, 0.995004, 0.01, 0.99995, 0.001, 1.0]
    let second: [Float] = [0.909297, -0.416147, 0.198669, 0.980067, 0.019999, 0.9998, 0.002, 0.999998]
    #expect(distance(encoding(1), first) < 1e-6)
    #expect(distance(encoding(2), second) < 1e-6)
    #expect((0..<50).allSatisfy { encoding($0).allSatisfy { (-1...1).contains($0) } })
    // PE(pos + k) = R(k) · PE(pos), with cosines first, as rope rotates them.
    let rotated = try backend.rope(
      backend.tensor(pairs(cosines, sines, at: 7), [1, 1, 8]),
      positions: backend.tensor([Int32(12)] as [Int32], [1]), table: table)
    #expect(try distance(backend.floats(rotated), pairs(cosines, sines, at: 19)) < 1e-6)
  }

  /// The table that is added to embeddings: 50 × 128, in both layouts, and turned by rotations.
  @Test func tableOfPositions() {
    let table = PositionTable.sinusoids(length: 3, width: 8, .interleaved)
    let first: [Float] = [0.841471, 0.540302, 0.099833, 0.995004, 0.01, 0.99995, 0.001, 1.0]
    let second: [Float] = [0.909297, -0.416147, 0.198669, 0.980067, 0.019999, 0.9998, 0.002, 0.999998]
    #expect(distance(table[8..<16], first) < 1e-6 && distance(table[16...], second) < 1e-6)
    let split = PositionTable.sinusoids(length: 3, width: 8, .split)
    #expect(Array(split[8..<16]) == [0, 2, 4, 6, 1, 3, 5, 7].map { table[8 + $0] })
    let large = PositionTable.sinusoids(length: 50, width: 128, .interleaved)
    #expect(large.count == 50 * 128 && large.allSatisfy { (-1...1).contains($0) })
    // PE(p + k): each pair is turned by k · ω.
    for pair in 0..<64 {
      func at(_ place: Int) -> (sin: Double, cos: Double) {
        (Double(large[place * 128 + 2 * pair]), Double(large[place * 128 + 2 * pair + 1]))
      }
      let (here, turn, there) = (at(11), at(7), at(18))
      #expect(abs(here.sin * turn.cos + here.cos * turn.sin - there.sin) < 1e-6)
      #expect(abs(here.cos * turn.cos - here.sin * turn.sin - there.cos) < 1e-6)
    }
  }

  /// A factor of 4 everywhere is linear scaling: position 12 turns as position 3 did.
  @Test(arguments: Place.available)
  func ropeFactorsSlowTheRotation(place: Place) throws {
    let backend = try place.backend()
    let x = try backend.tensor(random(16, seed: 10), [1, 2, 8])
    func rotated(_ position: Int32, _ factors: [Double]?) throws -> [Float] {
      let table = try backend.ropeTable(
        length: 16, rotary: 8, base: 10000, factors: factors, pairing: .halves)
      return try backend.floats(backend.rope(x, positions: backend.tensor([position], [1]), table: table))
    }
    #expect(try distance(rotated(12, [4, 4, 4, 4]), rotated(3, nil)) < 1e-6)
    // Each pair has its own: only the second of four turns differently.
    let (plain, own) = (try rotated(12, nil), try rotated(12, [1, 2, 1, 1]))
    #expect(zip(plain, own).enumerated().filter { $1.0 != $1.1 }.map(\.offset) == [1, 5, 9, 13])
    #expect(throws: ModelError.self) { _ = try rotated(1, [1, 2]) }
  }

  @Test(arguments: Place.available)
  func lookupIsTheProductWithAOneHotVector(place: Place) throws {
    let backend = try place.backend()
    let table = random(5 * 3, seed: 5)
    // Embedding reads [rows, width]; the product needs the same table turned.
    func weight(_ order: WeightSource.Order, _ outputs: Int, _ inputs: Int) throws -> Weight {
      try table.withUnsafeBytes {
        try backend.prepare([
          WeightSource(name: "table", outputs: outputs, inputs: inputs, type: .f32, order: order, bytes: $0)
        ])
      }
    }
    let ids: [Int32] = [2, 0, 4]
    let oneHot: [Float] = ids.flatMap { id in (0..<5).map { Float($0 == id ? 1 : 0) } }
    let looked = try backend.floats(
      backend.embedding(backend.tensor(ids, [3]), table: weight(.outputsByInputs, 5, 3)))
    let multiplied = try backend.floats(
      backend.linear(backend.tensor(oneHot, [3, 5]), weight(.inputsByOutputs, 3, 5), phase: .prefill))
    #expect(looked == multiplied)
    #expect(looked == ids.flatMap { table[Int($0) * 3..<Int($0) * 3 + 3] })
    let unknown = try backend.floats(
      backend.embedding(backend.tensor([5, -1] as [Int32], [2]), table: weight(.outputsByInputs, 5, 3)))
    #expect(unknown.allSatisfy { $0.isNaN })
  }

  /// X (4, 3, 2) through attention with keys of 4 and values of 5 is (4, 3, 5).
  @Test(arguments: Place.available)
  func shapesOfABatch(place: Place) throws {
    let backend = try place.backend()
    let x = try backend.tensor(random(24, seed: 6), [12, 2])
    func project(_ outputs: Int, seed: UInt64) throws -> Tensor {
      let w = try random(outputs * 2, seed: seed).withUnsafeBytes {
        try backend.prepare([WeightSource(name: "w", outputs: outputs, inputs: 2, type: .f32, bytes: $0)])
      }
      return try backend.linear(x, w, phase: .prefill).heads(1, batch: 4)
    }
    let y = try backend.attention(
      project(4, seed: 7), project(4, seed: 8), project(5, seed: 9))
    #expect(y.reshaped([4, 3, 5]).shape == [4, 3, 5])
    #expect(try backend.floats(y).allSatisfy { $0.isFinite })
  }

  @Test(arguments: Place.available)
  func temperatureSharpensAndFlattens(place: Place) throws {
    let backend = try place.backend()
    let logits: [Float] = [2, 1, 0.5, -1]
    func probabilities(_ temperature: Float) throws -> [Float] {
      try backend.floats(backend.softmax(backend.tensor(logits.map { $0 / temperature }, [1, 4])))
    }
    let (cold, plain, hot) = (try probabilities(0.5), try probabilities(1), try probabilities(2))
    for row in [cold, plain, hot] { #expect(abs(row.reduce(0, +) - 1) < 1e-6) }
    #expect(cold[0] > plain[0] && plain[0] > hot[0])
    #expect(cold[3] < plain[3] && plain[3] < hot[3])
  }

  // MARK: Counts of parameters

  private func count(_ model: String, _ part: (String) -> Bool) throws -> Int {
    try Safetensors(Fixtures.path("\(model)/model.safetensors")).tensors
      .filter { part($0.name) }.reduce(0) { $0 + $1.elementCount }
  }

  private func attention(_ h: Int) -> Int { 4 * h * h + 4 * h }
  private func encoderLayer(_ h: Int, _ f: Int) -> Int { attention(h) + 2 * h * f + f + h + 4 * h }
  private func decoderLayer(_ h: Int, _ f: Int) -> Int { encoderLayer(h, f) + attention(h) + 2 * h }

  /// The formulas hold for a real file of small sizes, so they may be trusted for the published ones.
  @Test func parametersOfTheBaseModel() throws {
    let own = try count("bert") { $0.contains("encoder.layer.1.attention") && !$0.contains("LayerNorm") }
    #expect(own == attention(48))
    #expect(attention(512) == 1_050_624 && attention(768) == 2_362_368)
    let projections = try count("bert") { $0.contains("layer.1.attention.self") && $0.hasSuffix("weight") }
    #expect(projections == 3 * 48 * 48 && 3 * 256 * 256 == 196_608)
    #expect(try count("bert") { $0.contains("encoder.layer.1.") } == encoderLayer(48, 90))
    #expect(encoderLayer(512, 2048) == 3_152_384 && decoderLayer(512, 2048) == 4_204_032)
    #expect(6 * encoderLayer(512, 2048) + 6 * decoderLayer(512, 2048) == 44_138_496)
  }

  /// The same formulas for both stacks of a file in which they differ from each other.
  @Test func parametersOfAnEncoderDecoder() throws {
    let model = "seq2seq/marian"
    #expect(try count(model) { $0.contains("encoder.layers") } == 2 * encoderLayer(36, 50))
    #expect(try count(model) { $0.contains("decoder.layers") } == 2 * decoderLayer(36, 44))
  }

  @Test func parametersOfGPT2() throws {
    func gpt2(vocabulary: Int = 50257, context: Int = 1024, width: Int, layers: Int) -> Int {
      (vocabulary + context) * width + layers * encoderLayer(width, 4 * width) + 2 * width
    }
    // The tied head is no tensor of its own.
    #expect(
      try count("gpt2") { $0 != "lm_head.weight" } == gpt2(vocabulary: 131, context: 64, width: 36, layers: 3)
    )
    #expect(50257 * 768 == 38_597_376)
    #expect(gpt2(width: 768, layers: 12) == 124_439_808)
    #expect(gpt2(width: 1024, layers: 24) == 354_823_168)
    #expect(gpt2(width: 1280, layers: 36) == 774_030_080)
    #expect(gpt2(width: 1600, layers: 48) == 1_557_611_200)
  }
}
