import FlashCLFiles
import FlashCLModels

/// Rope scaling in the words of config.json and of GGUF's metadata.
struct RopeWords {
  private let scaling: JSON?

  init(_ config: JSON) { scaling = config.given("rope_scaling") }

  private static let numbers = [
    ("factor", "factor"), ("original_max_position_embeddings", "original_context_length"),
    ("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow"),
  ]

  /// Adds what the metadata tells; what GGUF keeps as a tensor instead, the factors of llama3's frequencies, is returned.
  ///
  /// - Throws: `ModelError` for a kind that GGUF has no words for.
  func add(to metadata: inout GGUF.Metadata, _ architecture: String, rotary: Int?, base: Double?) throws
    -> [Float]?
  {
    guard let scaling else { return nil }
    let kind = scaling["rope_type"]?.string ?? scaling["type"]?.string ?? "?"
    switch kind {
    case "default": return nil
    case "llama3":
      guard let rotary, let base else { throw ModelError("rope scaling llama3 needs rotary positions") }
      return try RopeScaling(llama3: scaling).factors(base: base, rotary: rotary)
    case "linear", "yarn":
      for name in ["attention_factor", "mscale", "mscale_all_dim", "truncate"]
      where scaling.given(name) != nil {
        throw ModelError("GGUF cannot tell the \(name) of rope scaling '\(kind)'")
      }
      let prefix = "\(architecture).rope.scaling"
      metadata.add("\(prefix).type", kind)
      for (name, key) in Self.numbers {
        guard let value = scaling.given(name)?.double else { continue }
        if key == "original_context_length" {
          metadata.add("\(prefix).\(key)", Int(value))
        } else {
          metadata.add("\(prefix).\(key)", Float(value))
        }
      }
      return nil
    default:
      throw ModelError("GGUF cannot tell rope scaling '\(kind)'; it can: linear, llama3, yarn")
    }
  }

  /// config.json's rope_scaling for a file; nil where it has none.
  ///
  /// Factors are llama3's where its formula gives them, with the numbers that its models have in common, else longrope's.
  static func member(of file: GGUF, _ architecture: String, rotary: Int?, base: Double?) throws -> JSON? {
    let prefix = "\(architecture).rope.scaling"
    if let entry = file.entry(named: "rope_freqs.weight") {
      guard entry.type == .f32 else { throw ModelError("the tensor rope_freqs.weight is no f32") }
      let factors = try withExtendedLifetime(file) {
        let bytes = try file.bytes(of: entry)
        return (0..<entry.elementCount).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
      }
      if let rotary, let base, let last = factors.last {
        for original in [8192] + (4...20).map({ 1 << $0 }) {
          let words: JSON = [
            "rope_type": "llama3", "factor": JSON(last), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": JSON(original),
          ]
          let expected = try RopeScaling(llama3: words).factors(base: base, rotary: rotary)
          if expected.count == factors.count,
            zip(expected, factors).allSatisfy({ abs($0 - $1) <= 1e-6 * abs($1) })
          {
            return words
          }
        }
      }
      let list = JSON.array(factors.map { JSON($0) })
      return [
        "rope_type": "longrope", "short_factor": list, "long_factor": list, "attention_factor": 1.0,
        "original_max_position_embeddings": JSON(file["\(architecture).context_length"]?.int ?? 1),
      ]
    }
    guard let kind = file["\(prefix).type"]?.string, kind != "none" else { return nil }
    guard ["linear", "yarn"].contains(kind) else {
      throw ModelError("config.json has no words for the rope scaling '\(kind)'; known: linear, yarn")
    }
    var words: [(String, JSON)] = [("rope_type", JSON(kind))]
    for (name, key) in numbers {
      guard let value = file["\(prefix).\(key)"] else { continue }
      words.append((name, value.int.map { JSON($0) } ?? JSON(Float(value.double ?? 0))))
    }
    return .members(words)
  }
}
