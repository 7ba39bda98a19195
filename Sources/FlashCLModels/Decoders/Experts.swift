import FlashCL

/// A mixture of experts: each token goes through the `used` gated feed-forward layers that a router scores highest.
///
///     y = residual + Σ_e p[e] · down_e(silu(gate_e(x)) · up_e(x)),  scores = x · Wᵀ
///
/// p is the softmax of the used ones' scores, or those of the softmax over all. An expert that all share has p = sigmoid(x · wᵀ).
/// Tokens of one expert are computed together. The routes are read by the host, once a layer. Sources: Shazeer et al. 2017;
/// Jiang et al. 2024; Yang et al. 2024.
struct Experts {
  /// What a model's settings say of its experts.
  struct Layout {
    /// How many there are, and how many of them serve a token.
    let all, used: Int
    /// Elements between an expert's two halves.
    let inner: Int
    /// Of the expert that serves every token.
    let sharedInner: Int?
    /// True where a token's weights sum to 1.
    let normalises: Bool
    /// True for the layers that have experts.
    let serve: (Int) -> Bool
    /// Mixtral's names of tensors, or Qwen's.
    let isMixtral: Bool
  }

  private struct Expert {
    let gateUp: Weight  // [2 · inner, width]
    let down: Weight  // [width, inner]
  }

  private let layout: Layout
  private let router: Weight  // [experts, width]
  private let experts: [Expert]
  private let shared: (expert: Expert, gate: Weight)?  // [1, width]

  /// Those of one layer; GGUF has all experts of a layer in one tensor.
  init(_ c: Checkpoint, layer n: Int, width: Int, _ layout: Layout) throws {
    self.layout = layout
    let name = "model.layers.\(n).\(layout.isMixtral ? "block_sparse_moe" : "mlp")"
    router = try c.weight("\(name).gate.weight", [layout.all, width])
    let (gate, up, down) = layout.isMixtral ? ("w1", "w3", "w2") : ("gate_proj", "up_proj", "down_proj")
    func expert(_ inner: Int, _ rows: (String, String, Int, Int) -> Checkpoint.Rows) throws -> Expert {
      Expert(
        gateUp: try c.weight(
          [rows(gate, "ffn_gate", inner, width), rows(up, "ffn_up", inner, width)], inputs: width),
        down: try c.weight([rows(down, "ffn_down", width, inner)], inputs: inner))
    }
    experts = try (0..<layout.all).map { index in
      try expert(layout.inner) { hf, gguf, outputs, inputs in
        c.format == .gguf
          ? .init(
            "blk.\(n).\(gguf)_exps", [layout.all, outputs, inputs], index * outputs..<(index + 1) * outputs)
          : .init("\(name).experts.\(index).\(hf)", [outputs, inputs])
      }
    }
    shared = try layout.sharedInner.map { inner in
      let each = try expert(inner) { hf, _, outputs, inputs in
        .init("\(name).shared_expert.\(hf)", [outputs, inputs])
      }
      return (each, try c.row("\(name).shared_expert_gate.weight", width))
    }
  }

  func callAsFunction(_ x: Tensor, plus residual: Tensor?, on backend: any Backend, phase: Phase) throws
    -> Tensor
  {
    let used = layout.used
    let served = used + (shared == nil ? 0 : 1)
    let (weights, chosen) = try routes(x, on: backend, phase: phase)
    // Results stand expert after expert; `places` tells where each of a token's is.
    let results = try backend.allocate([x.rows * served, x.columns], .f32)
    var places = [Int32](repeating: 0, count: x.rows * served)
    var begin = 0
    func serve(_ expert: Expert, _ rows: Tensor) throws {
      let gated = try backend.linear(
        rows, expert.gateUp, activation: .silu, isGated: true, phase: phase)
      try backend.run(
        Linear(
          x: gated, weight: expert.down, phase: phase,
          y: results.slice(0, begin..<begin + rows.rows)))
      begin += rows.rows
    }
    for (index, expert) in experts.enumerated() {
      let uses = chosen.indices.filter { Int(chosen[$0]) == index }
      guard !uses.isEmpty else { continue }
      for (offset, use) in uses.enumerated() {
        places[use / used * served + use % used] = Int32(begin + offset)
      }
      let rows = try backend.tensor(uses.map { Int32($0 / used) }, [uses.count])
      try serve(expert, backend.gather(x, rows: rows))
    }
    if let shared {
      for token in 0..<x.rows { places[token * served + used] = Int32(begin + token) }
      try serve(shared.expert, x)
    }
    return try backend.weightedGather(
      results, rows: backend.tensor(places, [x.rows, served]),
      weights: backend.tensor(weights, [x.rows, served]), plus: residual)
  }

  /// Of each token the weights of those that serve it, the shared one's last, and the chosen experts.
  private func routes(_ x: Tensor, on backend: any Backend, phase: Phase) throws -> (
    weights: [Float], chosen: [Int32]
  ) {
    let scores = try backend.linear(x, router, phase: phase)
    let (values, indices) = try backend.topK(
      layout.normalises ? scores : backend.softmax(scores), layout.used)
    let found = try backend.floats(values)
    let gates = try shared.map { try backend.floats(backend.linear(x, $0.gate, phase: phase)) }
    let weights = (0..<x.rows).flatMap { token in
      let own = found[token * layout.used..<(token + 1) * layout.used]
      let weights = layout.normalises ? softmax(own).map { Float($0) } : Array(own)
      // The sigmoid of a number is the softmax of it and 0.
      return weights + (gates.map { [Float(softmax([$0[token], 0])[0])] } ?? [])
    }
    return (weights, try backend.integers(indices))
  }
}

extension Checkpoint {
  /// The experts that the settings name; nil for a model without.
  func experts() throws -> Experts.Layout? {
    let name = architecture.lowercased()
    let isQwen = name.hasPrefix("qwen")
    let count = isQwen ? "num_experts" : "num_local_experts"
    let mustHave = name.contains("moe") || name.hasPrefix("mixtral")
    let all = try mustHave ? size(count) : format == .gguf ? size(count, default: 1) : 1
    guard all > 1 || mustHave else { return nil }
    let used = try size("num_experts_per_tok")
    guard used <= all else {
      throw error("num_experts_per_tok is \(used): \(used) experts serve a token, and there are \(all)")
    }
    let step = try size("decoder_sparse_step", default: 1)
    let dense = Set(self["mlp_only_layers"]?.array?.compactMap { $0.int } ?? [])
    // llama.cpp has no field for what follows the scores: its code of each architecture tells.
    let isSecond = name.hasPrefix("qwen2")
    let normalises = try format == .gguf ? !isSecond : !isQwen || flag("norm_topk_prob", default: false)
    return .init(
      all: all, used: used, inner: try size(isQwen ? "moe_intermediate_size" : "intermediate_size"),
      sharedInner: isSecond ? try size("shared_expert_intermediate_size") : nil, normalises: normalises,
      serve: { !dense.contains($0) && ($0 + 1) % step == 0 }, isMixtral: !isQwen)
  }
}
