import FlashCL
import FlashCLFiles
import FlashCLModels
import Testing

/// Attention against PyTorch and the layers of `transformers` (Fixtures/make_attention.py): every kind of mask and score,
/// on every backend, with every strategy.
@Suite struct AttentionGoldenTests {
  struct Golden: Sendable, CustomStringConvertible {
    let json: JSON
    var description: String { json["name"]?.string ?? "" }

    func number(_ name: String) -> Double? { json["parameters"]?[name]?.double }
    func text(_ name: String) -> String? { json["parameters"]?[name]?.string }
    func integers(_ name: String) -> [Int]? { json["parameters"]?[name]?.array?.compactMap(\.int) }
    func path(_ name: String) -> String? {
      (json["inputs"]?[name] ?? json["outputs"]?[name])?.string.map { "attention/\($0)" }
    }
    func array(_ name: String) throws -> NumPyArray<Float>? { try path(name).map(Fixtures.floats) }

    func tensor(_ name: String, on backend: any Backend) throws -> Tensor? {
      guard let path = path(name) else { return nil }
      let file = try NumPyFile(Fixtures.path(path))
      let types: [String: ElementType] = ["<f4": .f32, "<i4": .i32, "|b1": .bool]
      let type = try #require(types[file.descr])
      // A mask of queries and keys alone serves every sequence and head.
      let shape =
        file.shape.count == 2 && (name == "mask" || name == "bias") ? [1, 1] + file.shape : file.shape
      let tensor = try backend.allocate(shape, type)
      try file.withBytes { try backend.write($0, to: tensor) }
      return tensor
    }

    func options(on backend: any Backend) throws -> AttentionOptions {
      func input(_ name: String) throws -> Tensor? { try tensor(name, on: backend) }
      var options = AttentionOptions(mask: try mask(on: backend))
      switch text("kind") {
      case "dot": options.kind = .dot
      case "gaussian": options.kind = .gaussian
      case "general": options.kind = .general(try #require(try input("scoreMatrix")))
      case "additive":
        options.kind = .additive(
          query: try input("queryWeight"), key: try input("keyWeight"),
          score: try #require(try input("scoreWeight")))
      default: break
      }
      options.scale = number("scale").map { Float($0) }
      options.softcap = number("softcap").map { Float($0) }
      options.bias = try input("bias")
      options.alibi = try text("alibi") == "default" ? .standard : input("slopes").map { .slopes($0) }
      options.relative = try input("relative")
      options.sinks = try input("sinks")
      let positions = RelativePositions(
        contentBias: try input("contentBias"), positionBias: try input("positionBias"),
        keys: try input("relativeKeys"), queries: try input("relativeQueries"),
        values: try input("relativeValues"))
      if positions.keys != nil || positions.queries != nil || positions.values != nil {
        options.positions = positions
      }
      if let centers = try input("centers"), let radius = number("radius") {
        let gaussian = json["parameters"]?["gaussian"] == .bool(true)
        options.focus = Focus(centers: centers, radius: Float(radius), gaussian: gaussian)
      }
      options.scoreMod = text("scoreMod").map { ScoreExpression($0) }
      options.maskMod = text("maskMod").map { ScoreExpression($0) }
      return options
    }

    private func mask(on backend: any Backend) throws -> AttentionMask {
      var mask = AttentionMask.all
      if let window = integers("window") { mask = .window(left: window[0], right: window[1]) }
      if let k = number("dilation") { mask = mask.and(.atrous(Int(k))) }
      if let ids = integers("global") { mask = mask.or(.global(ids)) }
      if let segments = json["parameters"]?["segments"]?.array {
        mask = .segments(
          segments.compactMap { pair in
            guard let pair = pair.array?.compactMap(\.int) else { return nil }
            return AttentionMask.Segment(length: pair[0], dilation: pair[1])
          })
      }
      if let causal = text("causal") {
        mask = mask.and(.causal(causal == "upperLeft" ? .upperLeft : .lowerRight))
      }
      if let tensor = try tensor("mask", on: backend) { mask = mask.and(.tensor(tensor)) }
      if let size = number("block"), let path = path("blockMask") ?? path("blockCounts") {
        let file = try NumPyFile(Fixtures.path(path))
        let counts: [UInt8] =
          file.descr == "<i4"
          ? try file.elements(of: Int32.self).map { UInt8($0) }
          : try file.elements(of: Bool.self).map { $0 ? 1 : 0 }
        mask = mask.and(
          .blocks(
            try BlockMask(size: Int(size), rows: file.shape[0], columns: file.shape[1], counts: counts)))
      }
      return mask
    }
  }

  static let goldens = ((try? Fixtures.json("attention/cases.json"))?.array ?? []).map { Golden(json: $0) }

  @Test func thereAreGoldens() { #expect(Self.goldens.count >= 70) }

  @Test(arguments: goldens, Place.available)
  func attention(golden: Golden, place: Place) throws {
    let backend = try place.backend()
    func input(_ name: String) throws -> Tensor { try #require(try golden.tensor(name, on: backend)) }
    let (q, k, v) = (try input("q"), try input("k"), try input("v"))
    let lengths = try golden.tensor("lengths", on: backend)
    let options = try golden.options(on: backend)
    let truth = try #require(try golden.array("out"))
    let y = try backend.allocate(truth.shape, .f32)
    let lse = try backend.allocate([truth.shape[0], truth.shape[1], truth.shape[2]], .f32)
    for phase in [Phase.prefill, .decode] {
      let operation = Attention(
        q: q, source: .dense(keys: k, values: v, lengths: lengths), options: options, phase: phase, y: y,
        logSumExp: lse)
      for strategy in try backend.strategies(for: operation) where strategy.unsupported == nil {
        for tensor in [y, lse] {
          try [Float](repeating: 7, count: tensor.count).withUnsafeBytes { try backend.write($0, to: tensor) }
        }
        try backend.run(operation, strategy: strategy.name)
        expect(try backend.floats(y), are: truth.elements, "\(strategy.name)")
        if let truth = try golden.array("lse") {
          expect(try backend.floats(lse), are: truth.elements, "\(strategy.name), log-sum-exp")
        }
      }
    }
    if let truth = try golden.array("weights") {
      let weights = try backend.attentionWeights(q, k, options, lengths: lengths)
      expect(try backend.floats(weights), are: truth.elements, "weights")
    }
  }

  /// T5's table made here is the one that its own layer makes of the same weights.
  @Test(arguments: goldens.filter { $0.path("t5") != nil })
  func bucketsOfT5(golden: Golden) throws {
    let weights = try #require(try golden.array("t5"))
    let table = try T5Bias.table(
      weights: weights.elements, buckets: weights.shape[0], heads: weights.shape[1],
      bidirectional: golden.json["parameters"]?["bidirectional"] == .bool(true),
      maxDistance: Int(try #require(golden.number("t5MaxDistance"))))
    #expect(try table == golden.array("relative")?.elements)
  }

  /// Equal to 2e-5 of the greatest number, or of 1; infinities where the truth has them.
  private func expect(_ got: [Float], are truth: [Float], _ what: String) {
    let greatest = truth.reduce(Float(1)) { $1.isFinite ? max($0, abs($1)) : $0 }
    let wrong = zip(got, truth).enumerated().first { _, pair in
      !(pair.0 == pair.1 || abs(pair.0 - pair.1) <= 2e-5 * greatest)
    }
    #expect(got.count == truth.count)
    if let (index, pair) = wrong {
      Issue.record("\(what): element \(index) is \(pair.0) and should be \(pair.1)")
    }
  }
}
