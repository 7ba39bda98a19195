import FlashCL

/// A mixture of experts: each token goes through the `used` gated feed-forward layers that a router scores highest.
///
///     y = residual + Σ_e softmax(scores of the used)[e] · down_e(silu(gate_e(x)) · up_e(x)),  scores = x · Wᵀ
///
/// Tokens of one expert are computed together. The routes are read by the host, once a layer. Source: Shazeer et al. 2017;
/// Jiang et al. 2024.
struct Experts {
  /// How many there are, and how many of them serve a token.
  struct Counts {
    let all, used: Int
  }

  private struct Expert {
    let gateUp: Weight  // [2 · inner, width]
    let down: Weight  // [width, inner]
  }

  private let router: Weight  // [experts, width]
  private let experts: [Expert]
  private let used: Int

  /// Mixtral's, of one layer; GGUF has all experts of a layer in one tensor.
  init(_ c: Checkpoint, layer n: Int, width: Int, inner: Int, _ counts: Counts) throws {
    used = counts.used
    let name = "model.layers.\(n).block_sparse_moe"
    router = try c.weight("\(name).gate.weight", [counts.all, width])
    experts = try (0..<counts.all).map { index in
      func rows(_ hf: String, _ gguf: String, _ outputs: Int, _ inputs: Int) -> Checkpoint.Rows {
        c.format == .gguf
          ? .init(
            "blk.\(n).\(gguf)_exps", [counts.all, outputs, inputs], index * outputs..<(index + 1) * outputs)
          : .init("\(name).experts.\(index).\(hf)", [outputs, inputs])
      }
      return Expert(
        gateUp: try c.weight(
          [rows("w1", "ffn_gate", inner, width), rows("w3", "ffn_up", inner, width)], inputs: width),
        down: try c.weight([rows("w2", "ffn_down", width, inner)], inputs: inner))
    }
  }

  func callAsFunction(_ x: Tensor, plus residual: Tensor?, on backend: any Backend, phase: Phase) throws
    -> Tensor
  {
    let (values, indices) = try backend.topK(backend.linear(x, router, phase: phase), used)
    let (scores, chosen) = (try backend.floats(values), try backend.integers(indices))
    let weights = stride(from: 0, to: scores.count, by: used).flatMap { first in
      softmax(scores[first..<first + used]).map { Float($0) }
    }
    // Results stand expert after expert; `places` tells where each of a token's is.
    let results = try backend.allocate([chosen.count, x.columns], .f32)
    var places = [Int32](repeating: 0, count: chosen.count)
    var begin = 0
    for (index, expert) in experts.enumerated() {
      let uses = chosen.indices.filter { Int(chosen[$0]) == index }
      guard !uses.isEmpty else { continue }
      for (offset, use) in uses.enumerated() { places[use] = Int32(begin + offset) }
      let rows = try backend.tensor(uses.map { Int32($0 / used) }, [uses.count])
      let gateUp = try backend.linear(backend.gather(x, rows: rows), expert.gateUp, phase: phase)
      try backend.run(
        Linear(
          x: backend.siluMultiply(gateUp), weight: expert.down, phase: phase,
          y: results.slice(0, begin..<begin + uses.count)))
      begin += uses.count
    }
    return try backend.weightedGather(
      results, rows: backend.tensor(places, [x.rows, used]),
      weights: backend.tensor(weights, [x.rows, used]), plus: residual)
  }
}

extension Checkpoint {
  /// The experts that the settings name; nil for a model without.
  func experts() throws -> Experts.Counts? {
    let all = try size("num_local_experts", default: 1)
    guard all > 1 || architecture.hasPrefix("Mixtral") else { return nil }
    let used = try size("num_experts_per_tok")
    guard used <= all else { throw error("\(used) experts serve a token, and there are \(all)") }
    return .init(all: all, used: used)
  }
}
