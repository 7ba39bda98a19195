import FlashCL

/// What a member of the Transformer's family has switched on, and what its tensors are called.
struct TransformerDialect {
  /// Where a layer's norms stand.
  enum Norms: String, CaseIterable {
    /// x = norm(x + f(x)), as in 2017.
    case post
    /// x = x + f(norm(x)).
    case pre
    /// ResiDual: post, beside a second stream that adds up every f(x) and is normalised once, at the end. Xie et al. 2023.
    case residual
  }

  enum Positions {
    case none
    case sinusoids(PositionTable.Layout)
    /// Rows of a table, the first of which belong to no position.
    case learned(unused: Int)
  }

  /// What stands before every name of the stacks.
  let prefix: String
  let norms: Norms
  let positions: Positions
  /// A norm after the embeddings.
  let normalisesEmbedding: Bool
  /// A norm after the last layer of each stack.
  let hasFinalNorm: Bool
  /// Embeddings are multiplied by √width.
  let scalesEmbedding: Bool
  /// The output projection is the table of target tokens.
  let isTied: Bool
  let activation: Activation
  let epsilon: Float

  init(_ c: Checkpoint) throws {
    prefix = c.has("model.encoder.layers.0.fc1.weight") ? "model." : ""
    isTied = try c.flag("tie_word_embeddings", default: true)
    epsilon = try c.number("layer_norm_eps", default: 1e-5)
    switch c.architecture {
    case "MarianMTModel":
      (norms, normalisesEmbedding, hasFinalNorm) = (.post, false, false)
      positions = .sinusoids(.split)
      scalesEmbedding = try c.flag("scale_embedding", default: false)
      activation = try c.activation("activation_function")
    case "BartForConditionalGeneration":
      (norms, normalisesEmbedding, hasFinalNorm) = (.post, true, false)
      positions = .learned(unused: 2)
      scalesEmbedding = try c.flag("scale_embedding", default: false)
      activation = try c.activation("activation_function")
    case "MBartForConditionalGeneration":
      (norms, normalisesEmbedding, hasFinalNorm) = (.pre, true, true)
      positions = .learned(unused: 2)
      scalesEmbedding = try c.flag("scale_embedding", default: false)
      activation = try c.activation("activation_function")
    default:
      norms = Norms(rawValue: try c.choice("norm", Norms.allCases.map(\.rawValue))) ?? .post
      switch try c.choice("positions", ["sinusoidal", "sinusoidal_split", "learned", "none"]) {
      case "sinusoidal": positions = .sinusoids(.interleaved)
      case "sinusoidal_split": positions = .sinusoids(.split)
      case "learned": positions = .learned(unused: try c.count("position_offset", default: 0))
      default: positions = .none
      }
      normalisesEmbedding = try c.flag("normalize_embedding", default: false)
      hasFinalNorm = try c.flag("final_norm", default: norms != .post)
      guard norms != .residual || hasFinalNorm else {
        throw c.error("final_norm is false, and norm residual ends with one")
      }
      scalesEmbedding = try c.flag("scale_embedding", default: true)
      activation =
        c.isSet("activation_function") ? try c.activation("activation_function") : .relu
    }
  }

  /// The names under which a stack's table of tokens may be stored.
  func tables(_ stack: String) -> [String] {
    ["\(prefix)\(stack).embed_tokens.weight", "\(prefix)shared.weight"]
      + (stack == "decoder" && isTied ? ["lm_head.weight"] : [])
  }
}
