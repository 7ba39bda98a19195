import FlashCL
import FlashCLFiles

/// A real model's sizes and type of weights without the weights: what `Architectures.random` makes a model from.
///
/// A model of random weights computes as fast as the real one, and needs no file.
public struct ModelShape: Sendable, CustomStringConvertible {
  public let name: String
  /// How its matrices are stored; vectors are f32.
  public let type: ElementType
  let config: JSON

  public var description: String { "\(name):\(type.rawValue)" }

  /// Names that are known.
  public static var names: [String] { known.map(\.name) }

  /// `smollm2-135m`, or with another type of weights `smollm2-135m:f16`; throws with what is known.
  public init(_ text: String) throws {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    guard let found = Self.known.first(where: { $0.name == parts[0] }) else {
      throw ModelError("there is no model shape '\(parts[0])'; known: \(Self.names.joined(separator: ", "))")
    }
    let wanted = parts.count == 2 ? ElementType(rawValue: String(parts[1])) : found.type
    guard let wanted, ElementType.weights.contains(wanted) else {
      let types = ElementType.weights.map(\.rawValue).joined(separator: ", ")
      throw ModelError("'\(parts[1])' is no type of weights; known: \(types)")
    }
    guard !found.isPlain || !wanted.isQuantised else {
      throw ModelError("\(found.name) keeps its weights as [inputs, outputs], which are f32, f16 or bf16")
    }
    name = found.name
    type = wanted
    config = try JSON(parsing: found.config, path: found.name)
  }

  private struct Known: Sendable {
    let name: String
    let type: ElementType
    /// True where matrices are stored as `[inputs, outputs]`.
    var isPlain = false
    /// config.json, as far as it decides shapes.
    let config: String
  }

  private static let known = [
    Known(
      name: "smollm2-135m", type: .q4_1,
      config: """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 576, "num_hidden_layers": 30, "hidden_act": "silu",
         "num_attention_heads": 9, "num_key_value_heads": 3, "intermediate_size": 1536, "vocab_size": 49152,
         "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000}
        """),
    Known(
      name: "smollm2-360m", type: .q4_1,
      config: """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 960, "num_hidden_layers": 32, "hidden_act": "silu",
         "num_attention_heads": 15, "num_key_value_heads": 5, "intermediate_size": 2560, "vocab_size": 49152,
         "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000}
        """),
    Known(
      name: "llama-1b", type: .bf16,
      config: """
        {"architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "num_hidden_layers": 16, "hidden_act": "silu",
         "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 8192,
         "vocab_size": 128256, "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 500000}
        """),
    Known(
      name: "gpt2", type: .f32, isPlain: true,
      config: """
        {"architectures": ["GPT2LMHeadModel"], "n_embd": 768, "n_layer": 12, "n_head": 12, "n_positions": 1024,
         "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "vocab_size": 50257}
        """),
    Known(
      name: "bert-base", type: .f32,
      config: """
        {"architectures": ["BertModel"], "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
         "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "vocab_size": 30522,
         "type_vocab_size": 2}
        """),
    Known(
      name: "minilm", type: .f32,
      config: """
        {"architectures": ["BertModel"], "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12,
         "intermediate_size": 1536, "hidden_act": "gelu", "max_position_embeddings": 512, "vocab_size": 30522,
         "type_vocab_size": 2}
        """),
    Known(
      name: "deberta-v3-xsmall", type: .f32,
      config: """
        {"architectures": ["DebertaV2Model"], "hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6,
         "intermediate_size": 1536, "hidden_act": "gelu", "max_position_embeddings": 512, "vocab_size": 128100,
         "type_vocab_size": 0, "layer_norm_eps": 1e-7, "relative_attention": true, "position_buckets": 256,
         "max_relative_positions": -1, "pos_att_type": "p2c|c2p", "position_biased_input": false,
         "norm_rel_ebd": "layer_norm", "share_att_key": true}
        """),
    // Vaswani et al. 2017: the base model, with its vocabulary of English and German.
    Known(
      name: "transformer-base", type: .f32,
      config: """
        {"architectures": ["Transformer"], "d_model": 512, "encoder_layers": 6, "decoder_layers": 6,
         "encoder_attention_heads": 8, "decoder_attention_heads": 8, "encoder_ffn_dim": 2048,
         "decoder_ffn_dim": 2048, "max_position_embeddings": 1024, "vocab_size": 37000}
        """),
    Known(
      name: "marian", type: .f32,
      config: """
        {"architectures": ["MarianMTModel"], "d_model": 512, "encoder_layers": 6, "decoder_layers": 6,
         "encoder_attention_heads": 8, "decoder_attention_heads": 8, "encoder_ffn_dim": 2048,
         "decoder_ffn_dim": 2048, "max_position_embeddings": 512, "vocab_size": 58101,
         "activation_function": "swish", "scale_embedding": true}
        """),
    Known(
      name: "t5-small", type: .f32,
      config: """
        {"architectures": ["T5ForConditionalGeneration"], "d_model": 512, "num_layers": 6, "num_heads": 8, "d_kv": 64,
         "d_ff": 2048, "feed_forward_proj": "relu", "vocab_size": 32128}
        """),
  ]
}

/// Tensors that are made when an architecture asks for them: whatever shape it expects, of random finite numbers.
final class RandomWeights {
  private let shape: ModelShape
  private var made: [String: UnsafeMutableRawBufferPointer] = [:]

  init(_ shape: ModelShape) { self.shape = shape }

  deinit { for buffer in made.values { buffer.deallocate() } }

  func entry(_ name: String, _ expected: [Int]) -> TensorEntry {
    let count = expected.reduce(1, *)
    // Files of 4-bit weights keep their embeddings, which are output weights too, in 8 bits.
    let isTable = ["embed_tokens", "embeddings.", "shared."].contains { name.contains($0) }
    let isRelative = name.contains("relative_attention_bias") || name.contains("rel_embeddings")
    let type: ElementType =
      expected.count == 1 || isRelative ? .f32 : isTable && shape.type.isQuantised ? .q8_0 : shape.type
    return TensorEntry(
      name: name, shape: expected, type: type, typeName: type.rawValue, offset: 0,
      byteCount: type.bytes(count), elementCount: count)
  }

  /// Magnitudes of about 1/√columns, so that a layer's outputs are as large as its inputs; of vectors ½ to 1.
  func bytes(of entry: TensorEntry) -> UnsafeRawBufferPointer {
    if let buffer = made[entry.name] { return UnsafeRawBufferPointer(buffer) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: entry.byteCount, alignment: 16)
    var exponent = -1
    if entry.shape.count > 1 {
      while exponent > -12 && entry.shape[entry.shape.count - 1] >> (-2 * exponent) > 0 { exponent -= 1 }
    }
    var random = SplitMix64(
      seed: entry.name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
    for place in stride(from: 0, to: entry.byteCount, by: 8) {
      let word = random.next()
      for byte in place..<min(place + 8, entry.byteCount) {
        buffer[byte] = UInt8(truncatingIfNeeded: word >> UInt64(8 * (byte - place)))
      }
    }
    Self.makeFinite(buffer, entry.type ?? .f32, exponent: exponent)
    made[entry.name] = buffer
    return UnsafeRawBufferPointer(buffer)
  }

  func release(_ entry: TensorEntry) { made.removeValue(forKey: entry.name)?.deallocate() }

  /// Sets the exponents of random bits: numbers, or scales of blocks, of ±2^exponent to twice that.
  private static func makeFinite(
    _ buffer: UnsafeMutableRawBufferPointer, _ type: ElementType, exponent: Int
  ) {
    func set<T: FixedWidthInteger>(_: T.Type, keep: T, to bits: T, step: Int) {
      for place in stride(from: 0, to: buffer.count, by: step) {
        let random = buffer.loadUnaligned(fromByteOffset: place, as: T.self)
        buffer.storeBytes(of: random & keep | bits, toByteOffset: place, as: T.self)
      }
    }
    switch type {
    case .f32: set(UInt32.self, keep: 0x807f_ffff, to: UInt32(exponent + 127) << 23, step: 4)
    case .f16: set(UInt16.self, keep: 0x83ff, to: UInt16(max(1, exponent + 15)) << 10, step: 2)
    case .bf16: set(UInt16.self, keep: 0x807f, to: UInt16(exponent + 127) << 7, step: 2)
    case .i32, .bool: break
    default:
      var random = SplitMix64(seed: UInt64(buffer.count))
      type.setScales(
        of: buffer, deviation: Double(sign: .plus, exponent: exponent, significand: 1), using: &random)
    }
  }
}
