import FlashCL

/// Llama: pre-norm decoder with RMSNorm, rotary positions, grouped heads and a SwiGLU feed-forward layer.
///
///     x = x + out(attention(rope(q), rope(k), v)),  [q k v] = rmsNorm(x) · Wᵀ
///     x = x + down(silu(gate) · up),                [gate up] = rmsNorm(x) · Wᵀ
///
/// Loads `LlamaForCausalLM` folders and GGUF files of architecture `llama`. Source: Touvron et al. 2023.
public final class Llama: Decoder {
  struct Layer {
    let attentionNorm: Tensor  // [width]
    let qkv: Weight  // [(heads + 2 · keyHeads) · headSize, width]
    let qkvBias: Tensor?
    let out: Weight  // [width, heads · headSize]
    let outBias: Tensor?
    let feedForwardNorm: Tensor  // [width]
    let gateUp: Weight  // [2 · feedForward, width]
    let gateUpBias: Tensor?
    let down: Weight  // [width, feedForward]
    let downBias: Tensor?
  }

  public let backend: any Backend
  public let vocabularySize: Int
  public let contextLength: Int
  public let cacheShape: CacheShape
  private let heads: Int
  private let epsilon: Float
  private let embedding: Weight  // [vocabulary, width]
  private let layers: [Layer]
  private let norm: Tensor  // [width]
  private let head: Weight  // [vocabulary, width]; the embedding itself where they are tied
  private let rope: RopeTable

  public init(_ checkpoint: Checkpoint, on backend: any Backend) throws {
    let c = checkpoint
    self.backend = backend
    let width = try c.size("hidden_size", gguf: "embedding_length")
    heads = try c.size("num_attention_heads", gguf: "attention.head_count")
    let keyHeads = try c.size("num_key_value_heads", gguf: "attention.head_count_kv", default: heads)
    let headSize = try c.size("head_dim", gguf: "attention.key_length", default: width / heads)
    let layerCount = try c.size("num_hidden_layers", gguf: "block_count")
    let feedForward = try c.size("intermediate_size", gguf: "feed_forward_length")
    let vocabulary = try c.rows("model.embed_tokens.weight", gguf: "token_embd.weight", columns: width)
    vocabularySize = vocabulary
    contextLength = try c.size("max_position_embeddings", gguf: "context_length")
    epsilon = try c.number("rms_norm_eps", gguf: "attention.layer_norm_rms_epsilon")
    try c.require("hidden_act", ["silu"])
    guard heads % keyHeads == 0 else {
      throw c.error("\(heads) attention heads are no multiple of \(keyHeads) key-value heads")
    }

    embedding = try c.weight("model.embed_tokens.weight", gguf: "token_embd.weight", [vocabulary, width])
    norm = try c.vector("model.norm.weight", gguf: "output_norm.weight", width)
    // A tied head has no tensor of its own.
    head =
      try c.optionalWeight("lm_head.weight", gguf: "output.weight", [vocabulary, width]) ?? embedding
    let (queries, keys) = (heads * headSize, keyHeads * headSize)
    layers = try (0..<layerCount).map { n in
      let (hf, gguf) = ("model.layers.\(n)", "blk.\(n)")
      func weights(_ names: [(hf: String, gguf: String, outputs: Int)], inputs: Int) throws -> (
        Weight, Tensor?
      ) {
        let parts = names.map { (hf: "\(hf).\($0.hf)", gguf: "\(gguf).\($0.gguf)", outputs: $0.outputs) }
        return (try c.stacked(parts, inputs: inputs), try c.stackedBias(parts))
      }
      let (qkv, qkvBias) = try weights(
        [
          ("self_attn.q_proj", "attn_q", queries), ("self_attn.k_proj", "attn_k", keys),
          ("self_attn.v_proj", "attn_v", keys),
        ], inputs: width)
      let (out, outBias) = try weights([("self_attn.o_proj", "attn_output", width)], inputs: queries)
      let (gateUp, gateUpBias) = try weights(
        [("mlp.gate_proj", "ffn_gate", feedForward), ("mlp.up_proj", "ffn_up", feedForward)], inputs: width)
      let (down, downBias) = try weights([("mlp.down_proj", "ffn_down", width)], inputs: feedForward)
      c.progress?(Double(n + 1) / Double(layerCount))
      return Layer(
        attentionNorm: try c.vector(
          "\(hf).input_layernorm.weight", gguf: "\(gguf).attn_norm.weight", width), qkv: qkv,
        qkvBias: qkvBias, out: out, outBias: outBias,
        feedForwardNorm: try c.vector(
          "\(hf).post_attention_layernorm.weight", gguf: "\(gguf).ffn_norm.weight", width), gateUp: gateUp,
        gateUpBias: gateUpBias, down: down, downBias: downBias)
    }
    cacheShape = CacheShape(layers: layerCount, heads: keyHeads, keySize: headSize, valueSize: headSize)
    try c.refuseRopeScaling()
    // llama.cpp stores q and k with each head's halves interleaved, so that pairs are adjacent.
    rope = try backend.ropeTable(
      length: contextLength, rotary: try c.size("head_dim", gguf: "rope.dimension_count", default: headSize),
      base: Double(try c.number("rope_theta", gguf: "rope.freq_base", default: 10000)),
      pairing: c.format == .gguf ? .adjacent : .halves)
  }

  public func hidden(_ step: Step, _ caches: [KeyValueCache], observe: Observer?) throws -> Tensor {
    let (keyHeads, size) = (cacheShape.heads, cacheShape.keySize)
    let (queries, keys) = (heads * size, keyHeads * size)
    var x = try backend.embedding(step.ids, table: embedding)  // [tokens, width]
    try observe?("embedding", x)
    for (n, layer) in layers.enumerated() {
      let normed = try backend.rmsNorm(x, gain: layer.attentionNorm, epsilon: epsilon)
      let qkv = try backend.linear(normed, layer.qkv, bias: layer.qkvBias, phase: step.linearPhase)
      let q = qkv.slice(1, 0..<queries)
      let k = qkv.slice(1, queries..<queries + keys)
      let v = qkv.slice(1, queries + keys..<queries + 2 * keys)
      try backend.append(
        keys: k.split(keyHeads), values: v.split(keyHeads), slots: step.slots, positions: step.positions,
        table: rope, to: caches[n])
      try backend.rope(q.split(heads), positions: step.positions, table: rope, into: q.split(heads))
      let attended = try backend.attention(
        q, heads: heads, over: caches[n], step, AttentionOptions(mask: .causal(.lowerRight)))
      x = try backend.linear(attended, layer.out, bias: layer.outBias, plus: x, phase: step.linearPhase)

      let normed2 = try backend.rmsNorm(x, gain: layer.feedForwardNorm, epsilon: epsilon)
      let gateUp = try backend.linear(normed2, layer.gateUp, bias: layer.gateUpBias, phase: step.linearPhase)
      let gated = try backend.siluMultiply(gateUp)
      x = try backend.linear(gated, layer.down, bias: layer.downBias, plus: x, phase: step.linearPhase)
      try observe?("layer \(n)", x)
    }
    return try backend.rmsNorm(x, gain: norm, epsilon: epsilon)
  }

  public func logits(_ hidden: Tensor, phase: Phase) throws -> Tensor {
    try backend.linear(hidden, head, phase: phase)
  }
}
