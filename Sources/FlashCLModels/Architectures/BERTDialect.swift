import FlashCL

/// Where a member of BERT's family departs from BERT: the names of its tensors, its embeddings, and its head.
struct BERTDialect {
  /// What stands before every name of the stack; empty in files of the bare model.
  let prefix: String
  var layer = EncoderLayer.Names()
  /// The layer that widens embeddings that are narrower than the stack.
  var projection: String?
  var head: ScoringHead.Names?
  /// Positions are counted from the padding token's id.
  var countsFromPadding = false
  /// Queries and keys are turned by their positions; there is no table of them.
  var isRotary = false
  /// DistilBERT's names of settings, no segments.
  var isDistilled = false
  /// ALBERT's groups of layers that share their weights, and the layers of one.
  var sharing: (groups: Int, layers: Int)?

  static let gguf = GGUFNames(
    settings: [
      "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
      "intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count",
      "max_position_embeddings": "context_length", "layer_norm_eps": "attention.layer_norm_epsilon",
    ],
    tensors: [
      "embeddings.word_embeddings": "token_embd", "embeddings.position_embeddings": "position_embd",
      "embeddings.token_type_embeddings": "token_types", "embeddings.LayerNorm": "token_embd_norm",
      "encoder.layer.{}.attention.self.query": "blk.{}.attn_q",
      "encoder.layer.{}.attention.self.key": "blk.{}.attn_k",
      "encoder.layer.{}.attention.self.value": "blk.{}.attn_v",
      "encoder.layer.{}.attention.output.dense": "blk.{}.attn_output",
      "encoder.layer.{}.attention.output.LayerNorm": "blk.{}.attn_output_norm",
      "encoder.layer.{}.intermediate.dense": "blk.{}.ffn_up",
      "encoder.layer.{}.output.dense": "blk.{}.ffn_down",
      "encoder.layer.{}.output.LayerNorm": "blk.{}.layer_output_norm",
    ])

  init(_ c: Checkpoint) throws {
    // llama.cpp's files hold the bare stack, RoBERTa's positions counted as BERT's.
    if c.format == .gguf {
      prefix = ""
      return
    }
    let families: [(name: String, stem: String)] = [
      ("Bert", "bert"), ("Roberta", "roberta"), ("XLMRoberta", "roberta"), ("DistilBert", "distilbert"),
      ("Albert", "albert"), ("Electra", "electra"), ("RoFormer", "roformer"),
    ]
    guard let family = families.first(where: { c.architecture.hasPrefix($0.name) }) else {
      throw c.error("the architecture '\(c.architecture)' is none of BERT's family")
    }
    prefix = c.has("\(family.stem).embeddings.word_embeddings.weight") ? "\(family.stem)." : ""
    let task = EncoderTask(suffix: c.architecture.dropFirst(family.name.count))
    let pooled = (name: "\(prefix)pooler.dense", activation: Activation.tanh)
    switch family.stem {
    case "roberta":
      countsFromPadding = true
      head = task.map {
        switch $0 {
        case .maskedToken:
          .init(
            $0, "lm_head.decoder", bias: "lm_head.bias", dense: "lm_head.dense", norm: "lm_head.layer_norm")
        case .sequence: .init($0, "classifier.out_proj", dense: "classifier.dense", .tanh)
        case .token: .init($0, "classifier")
        case .span: .init($0, "qa_outputs")
        }
      }
    case "distilbert":
      isDistilled = true
      layer = EncoderLayer.Names(
        query: "attention.q_lin", key: "attention.k_lin", value: "attention.v_lin", out: "attention.out_lin",
        attentionNorm: "sa_layer_norm", up: "ffn.lin1", down: "ffn.lin2", outputNorm: "output_layer_norm")
      head = task.map {
        switch $0 {
        case .maskedToken: .init($0, "vocab_projector", dense: "vocab_transform", norm: "vocab_layer_norm")
        case .sequence: .init($0, "classifier", dense: "pre_classifier", .relu)
        case .token: .init($0, "classifier")
        case .span: .init($0, "qa_outputs")
        }
      }
    case "albert":
      sharing = (try c.size("num_hidden_groups", default: 1), try c.size("inner_group_num", default: 1))
      projection = "\(prefix)encoder.embedding_hidden_mapping_in"
      layer = EncoderLayer.Names(
        query: "attention.query", key: "attention.key", value: "attention.value", out: "attention.dense",
        attentionNorm: "attention.LayerNorm", up: "ffn", down: "ffn_output",
        outputNorm: "full_layer_layer_norm")
      head = task.map {
        switch $0 {
        case .maskedToken:
          .init(
            $0, "predictions.decoder", bias: "predictions.bias", dense: "predictions.dense",
            norm: "predictions.LayerNorm")
        case .sequence: .init($0, "classifier", dense: "\(prefix)pooler", .tanh)
        case .token: .init($0, "classifier")
        case .span: .init($0, "qa_outputs")
        }
      }
    case "electra":
      projection = "\(prefix)embeddings_project"
      head = task.map {
        switch $0 {
        case .maskedToken:
          .init(
            $0, "generator_lm_head", dense: "generator_predictions.dense", .gelu,
            norm: "generator_predictions.LayerNorm")
        case .sequence: .init($0, "classifier.out_proj", dense: "classifier.dense", .gelu)
        case .token: .init($0, "classifier")
        case .span: .init($0, "qa_outputs")
        }
      }
    case "roformer":
      isRotary = true
      projection = "\(prefix)embeddings_project"
      head = task.map {
        switch $0 {
        case .maskedToken: .predictions
        case .sequence: .init($0, "classifier.out_proj", dense: "classifier.dense")
        case .token: .init($0, "classifier")
        case .span: .init($0, "qa_outputs")
        }
      }
    default:
      head = task.map {
        switch $0 {
        case .maskedToken: .predictions
        case .sequence: .init($0, "classifier", dense: pooled.name, pooled.activation)
        case .token: .init($0, "classifier")
        case .span: .init($0, "qa_outputs")
        }
      }
    }
  }

  /// The prefixes of the weights that layer n runs.
  func layers(_ n: Int, of count: Int) -> [String] {
    if let sharing {
      let group = n * sharing.groups / count
      return (0..<sharing.layers).map { "\(prefix)encoder.albert_layer_groups.\(group).albert_layers.\($0)" }
    }
    return ["\(prefix)\(isDistilled ? "transformer" : "encoder").layer.\(n)"]
  }
}

extension EncoderTask {
  /// What the end of transformers' class names says: BertForMaskedLM, …; nil for the bare model.
  init?(suffix: some StringProtocol) {
    switch suffix {
    case "ForMaskedLM": self = .maskedToken
    case "ForSequenceClassification": self = .sequence
    case "ForTokenClassification": self = .token
    case "ForQuestionAnswering": self = .span
    default: return nil
    }
  }

  static let suffixes = [
    "ForMaskedLM", "ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering",
  ]
}
