import FlashCL
import FlashCLFiles
import FlashCLModels
import Testing

/// Operations against PyTorch's (Fixtures/make_operations.py), on every backend and with every strategy.
@Suite struct OperationGoldenTests {
  struct Golden: Sendable, CustomStringConvertible {
    let json: JSON
    var description: String { json["name"]?.string ?? "" }
    func parameter(_ name: String) -> JSON? { json["parameters"]?[name] }
    func array(_ name: String) throws -> NumPyArray<Float> {
      let file = (json["inputs"]?[name] ?? json["outputs"]?[name])?.string ?? ""
      return try Fixtures.floats("operations/\(file)")
    }
    func integers(_ name: String) throws -> NumPyArray<Int32> {
      try Fixtures.integers("operations/\(json["inputs"]?[name]?.string ?? "")")
    }
    func has(_ name: String) -> Bool { json["inputs"]?[name] != nil }
  }

  static let goldens = ((try? Fixtures.json("operations/cases.json"))?.array ?? []).map { Golden(json: $0) }

  @Test func thereAreGoldens() { #expect(Self.goldens.count >= 20) }

  @Test(arguments: goldens, Place.available)
  func operation(golden: Golden, place: Place) throws {
    let backend = try place.backend()
    func tensor(_ name: String) throws -> Tensor {
      let array = try golden.array(name)
      return try backend.tensor(array.elements, array.shape)
    }
    let truth = try golden.array("out")
    let out = try backend.allocate(truth.shape, .f32)
    func matrix(_ t: Tensor) -> Tensor { t.reshaped([t.rows, t.columns]) }
    let operation: any Operation
    switch golden.json["operation"]?.string ?? "" {
    case "attention":
      var mask = AttentionMask.all
      if let causal = golden.parameter("causal")?.string {
        mask = .causal(causal == "upperLeft" ? .upperLeft : .lowerRight)
      }
      if let left = golden.parameter("window")?.int { mask = mask.and(.window(left: left, right: -1)) }
      let bias = golden.has("bias") ? try tensor("bias") : nil
      let lengths = golden.has("lengths") ? try golden.integers("lengths") : nil
      operation = Attention(
        q: try tensor("q"),
        source: .dense(
          keys: try tensor("k"), values: try tensor("v"),
          lengths: try lengths.map { try backend.tensor($0.elements, $0.shape) }),
        options: AttentionOptions(
          mask: mask, scale: golden.parameter("scale")?.double.map { Float($0) },
          bias: bias.map { $0.shape.count == 3 ? $0.reshaped([1] + $0.shape) : $0 }), y: out)
    case "layer_norm":
      operation = LayerNorm(
        x: matrix(try tensor("x")), gain: try tensor("gain"), bias: try tensor("bias"),
        epsilon: Float(golden.parameter("eps")?.double ?? 0), y: matrix(out))
    case "rms_norm":
      operation = RMSNorm(
        x: matrix(try tensor("x")), gain: try tensor("gain"),
        epsilon: Float(golden.parameter("eps")?.double ?? 0), y: matrix(out))
    case "gelu":
      operation = GELU(
        golden.parameter("form")?.string == "tanh" ? .tanh : .exact, x: try tensor("x"), y: out)
    case "silu":
      // With 1 as the values that the gate scales.
      let x = try golden.array("x")
      let gateUp = x.elements + [Float](repeating: 1, count: x.elements.count)
      operation = SiLUMultiply(
        gateUp: try backend.tensor(gateUp, [1, gateUp.count]), y: out.reshaped([1, out.count]))
    case "softmax": operation = Softmax(x: matrix(try tensor("x")), y: matrix(out))
    case "rope":
      let x = try golden.array("x")
      let positions = try golden.integers("positions")
      let table = try backend.ropeTable(
        length: Int(positions.elements.max() ?? 0) + 1, rotary: golden.parameter("rotated")?.int ?? 0,
        base: golden.parameter("base")?.double ?? 0,
        pairing: golden.parameter("pairs")?.string == "adjacent" ? .adjacent : .halves)
      operation = Rope(
        x: try backend.tensor(x.elements, x.shape),
        positions: try backend.tensor(positions.elements, [positions.elements.count]), table: table, y: out)
    case let name: throw ModelError("unknown golden \(name)")
    }
    for strategy in try backend.strategies(for: operation) where strategy.unsupported == nil {
      try backend.write([Float](repeating: .nan, count: out.count).withUnsafeBytes { Array($0) }, to: out)
      try backend.run(operation, strategy: strategy.name)
      #expect(try distance(backend.floats(out), truth.elements) <= 2e-5, "\(strategy.name)")
    }
  }
}

extension Backend {
  fileprivate func write(_ bytes: [UInt8], to tensor: Tensor) throws {
    try bytes.withUnsafeBytes { try write($0, to: tensor) }
  }
}
