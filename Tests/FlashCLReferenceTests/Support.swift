import FlashCL
import FlashCLReference
import Foundation
import Testing

/// Answers of PyTorch and of the gguf package (Fixtures/make_goldens.py).
struct Goldens: Decodable {
  struct LinearLayer: Decodable, Sendable {
    let activation: String
    let rows, inputs, outputs: Int
    let x, w, transposed, bias, residual, y: [Double]
  }
  struct Norm: Decodable, Sendable {
    let rows, columns: Int
    let eps: Double
    let x, residual, gain, bias, sum, layer_norm, rms_norm: [Double]
  }
  struct Activations: Decodable { let x, up, gelu, gelu_tanh, silu_multiply: [Double] }
  struct AttentionRows: Decodable {
    let q, k, v: [Double]
    let y: [String: [Double]]
  }
  struct Rows: Decodable { let x, y: [Double] }
  struct Quantised: Decodable, Sendable {
    let type: ElementType
    let outputs, inputs: Int
    let bytes: [UInt8]
    let values: [Double]
  }
  struct Rounding: Decodable {
    let values: [Double]
    let f16, bf16: [UInt16]
  }

  let linear: [LinearLayer]
  let norms: [Norm]
  let activations: Activations
  let attention: AttentionRows
  let softmax: Rows
  let quantised: [Quantised]
  let rounding: Rounding

  static func load() throws -> Goldens { try decode("Fixtures/goldens.json") }
}

/// Worked examples of the literature, shared with the model tests.
struct WorkedExamples: Decodable {
  struct Retrieval: Decodable {
    let q, k, v, out: [[Double]]
    let scales: [Float]
  }
  struct SelfAttention: Decodable {
    let x, wq, wk, wv, out: [[Double]]
    let printedRow0: [Double]
  }
  struct Positions: Decodable {
    let dimensions: Int
    let rows: [String: [Double]]
  }
  let retrieval: Retrieval
  let selfAttention: SelfAttention
  let sinusoidalPositions: Positions

  static func load() throws -> WorkedExamples { try decode("../ModelTests/Fixtures/worked.json") }
}

private func decode<T: Decodable>(_ path: String) throws -> T {
  let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  return try JSONDecoder().decode(T.self, from: Data(contentsOf: folder.appendingPathComponent(path)))
}

extension ReferenceBackend {
  func tensor(_ values: [Double], _ shape: [Int]) throws -> Tensor {
    try tensor(values.map { Float($0) }, shape)
  }

  func tensor(_ rows: [[Double]]) throws -> Tensor {
    try tensor(rows.flatMap { $0 }, [rows.count, rows[0].count])
  }

  func doubles(_ tensor: Tensor) throws -> [Double] { try floats(tensor).map { Double($0) } }

  /// A boolean tensor.
  func mask(_ values: [Int], _ shape: [Int]) throws -> Tensor {
    let tensor = try allocate(shape, .bool)
    try values.map { UInt8($0) }.withUnsafeBytes { try write($0, to: tensor) }
    return tensor
  }

  /// Repeatable values between −1 and 1.
  func noise(_ shape: [Int], _ seed: UInt64) throws -> Tensor {
    var generator = SplitMix64(seed: seed)
    return try tensor((0..<shape.reduce(1, *)).map { _ in 2 * generator.uniform() - 1 }, shape)
  }

  /// The log-sum-exp of every row: where one key takes part, its score.
  func scores(_ q: Tensor, _ k: Tensor, _ options: AttentionOptions) throws -> [Double] {
    let logSumExp = try allocate([Int](q.shape.dropLast()), .f32)
    _ = try attention(q, k, k, options, logSumExp: logSumExp)
    return try doubles(logSumExp)
  }

  /// How often each key counts in each query, a line of digits for a query: with all scores 0 a key that counts n times
  /// weighs n / Σ, and Σ is e to the log-sum-exp.
  func counts(_ mask: AttentionMask, queries: Int, keys: Int, head: Int = 0) throws -> [String] {
    let q = try tensor([Double](repeating: 0, count: (head + 1) * queries), [1, head + 1, queries, 1])
    let k = try tensor([Double](repeating: 0, count: keys), [1, 1, keys, 1])
    let options = AttentionOptions(mask: mask)
    let weights = try doubles(attentionWeights(q, k, options, heads: [head]))
    let sums = try scores(q, k, options).map { exp($0) }
    return (0..<queries).map { i in
      weights[i * keys..<(i + 1) * keys].map { "\(Int(($0 * sums[head * queries + i]).rounded()))" }.joined()
    }
  }

  /// One source, or several stacked.
  func weight(
    _ parts: (outputs: Int, type: ElementType, bytes: [UInt8])..., inputs: Int,
    order: WeightSource.Order = .outputsByInputs
  )
    throws -> Weight
  {
    var sources: [WeightSource] = []
    var copies: [UnsafeMutableRawBufferPointer] = []
    defer { for copy in copies { copy.deallocate() } }
    for part in parts {
      let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: part.bytes.count, alignment: 16)
      copy.copyBytes(from: part.bytes)
      copies.append(copy)
      sources.append(
        try WeightSource(
          name: "w", outputs: part.outputs, inputs: inputs, type: part.type, order: order,
          bytes: UnsafeRawBufferPointer(copy)))
    }
    return try prepare(sources)
  }
}

/// True when every f32 element is the truth, rounded, give or take `ulps`.
func agree(_ got: [Double], _ truth: [Double], ulps: Double = 1) -> Bool {
  got.count == truth.count
    && zip(got, truth).allSatisfy {
      $0 == $1 || abs($0 - $1) <= ulps * Double(Float($1).ulp) || ($0.isNaN && $1.isNaN)
    }
}
