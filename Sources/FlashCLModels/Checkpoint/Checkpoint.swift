import FlashCL
import FlashCLFiles

/// A model's files seen by one architecture: its settings and tensors by name, each checked before it is used.
///
/// Architectures speak transformers' names (config.json, safetensors); of a GGUF file they are looked up in `names`.
public final class Checkpoint {
  public enum Format: Sendable { case huggingFace, gguf }

  public let path: String
  public let format: Format
  /// The architecture's name in the file: `LlamaForCausalLM`, or `llama` in GGUF.
  public let architecture: String
  /// What stands before the names of all tensors.
  private(set) var prefix = ""
  /// llama.cpp's names of the architecture's parts.
  var names = GGUFNames()
  /// Called with the share of the layers that is loaded.
  public var progress: ((Double) -> Void)?
  let backend: any Backend
  let settings: Settings
  let tensors: Tensors

  enum Settings {
    case gguf(GGUF)
    case config(JSON)
  }

  enum Tensors {
    case file(any TensorFile)
    case random(RandomWeights)
  }

  public init(_ source: ModelSource, on backend: any Backend) throws {
    self.backend = backend
    tensors = .file(source.tensors)
    switch source {
    case .gguf(let gguf):
      (format, path, settings) = (.gguf, gguf.path, .gguf(gguf))
      guard let name = gguf["general.architecture"]?.string else {
        throw ModelError("\(gguf.path): the metadata has no general.architecture")
      }
      architecture = name
    case .folder(let folder):
      // Models of text and images keep their decoder's settings together, and its tensors under a name.
      let text = folder.config["text_config"].flatMap { $0.object == nil ? nil : $0 }
      (format, path, settings) = (.huggingFace, folder.path, .config(text ?? folder.config))
      prefix = text == nil ? "" : "language_model."
      guard let name = folder.config["architectures"]?[0]?.string else {
        throw ModelError("\(folder.path)/config.json: there is no architectures[0]")
      }
      architecture = name
    }
  }

  /// A model of random weights.
  init(_ shape: ModelShape, on backend: any Backend) {
    self.backend = backend
    (format, path, settings) = (.huggingFace, shape.description, .config(shape.config))
    architecture = shape.config["architectures"]?[0]?.string ?? ""
    tensors = .random(RandomWeights(shape))
  }

  func error(_ problem: String) -> ModelError { ModelError("\(path): \(problem)") }
}

// MARK: - Settings

extension Checkpoint {
  /// A setting by its name in config.json, or in GGUF's metadata under the architecture's prefix.
  private func setting(_ name: String) -> (name: String, value: Double?, isThere: Bool) {
    switch settings {
    case .gguf(let file):
      let key = "\(architecture).\(names.settings[name] ?? name)"
      return (key, file[key]?.double, file[key] != nil)
    case .config(let config):
      let value = config[name]
      return (name, value?.double, value.map { !$0.isNull } ?? false)
    }
  }

  /// What config.json says under that name; nil where it says nothing.
  subscript(name: String) -> JSON? {
    if case .config(let config) = settings { config[name] } else { nil }
  }

  /// A real setting; throws where it is missing without a default, or no number.
  func number(_ name: String, default fallback: Float? = nil) throws -> Float {
    let (name, value, isThere) = setting(name)
    if !isThere, let fallback { return fallback }
    guard let value, value.isFinite else {
      throw error("the setting \(name) is \(isThere ? "no number" : "missing")")
    }
    return Float(value)
  }

  /// A count of something: 1 or more, at most 2²⁴, so that products of two counts stay far from overflow.
  func size(_ name: String, default fallback: Int? = nil) throws -> Int {
    let (name, value, isThere) = setting(name)
    if !isThere, let fallback { return fallback }
    guard let value, let size = Int(exactly: value), (1...1 << 24).contains(size) else {
      let found = value.map { "\($0)" } ?? (isThere ? "no number" : "missing")
      throw error("the setting \(name) is \(found), expected a whole number from 1 to \(1 << 24)")
    }
    return size
  }

  /// A whole number from 0 on, such as a token's id.
  func count(_ name: String, default fallback: Int? = nil) throws -> Int {
    let (name, value, isThere) = setting(name)
    if !isThere, let fallback { return fallback }
    guard let value, let count = Int(exactly: value), (0...1 << 24).contains(count) else {
      throw error("the setting \(name) is no whole number from 0 to \(1 << 24)")
    }
    return count
  }

  /// A limit: nil where it is absent, null, or not above 0, which all mean that there is none.
  func limit(_ name: String) throws -> Int? {
    let (name, value, isThere) = setting(name)
    guard isThere else { return nil }
    guard let value, let limit = Int(exactly: value), limit <= 1 << 24 else {
      throw error("the setting \(name) is no whole number up to \(1 << 24)")
    }
    return limit > 0 ? limit : nil
  }

  /// The keys that a token sees, its own counted; nil where there is no limit: null, or 0 in GGUF.
  func window(_ name: String, default fallback: Int? = nil) throws -> Int? {
    let (_, value, isThere) = setting(name)
    if self[name]?.isNull == true { return nil }
    guard isThere else { return fallback }
    return format == .gguf && value == 0 ? nil : try size(name)
  }

  /// A switch; `fallback` where it is absent or null, and in GGUF where the format has no name for it.
  func flag(_ name: String, default fallback: Bool) throws -> Bool {
    let flag: Bool?
    switch settings {
    case .gguf(let file):
      guard let key = names.settings[name], let value = file["\(architecture).\(key)"] else {
        return fallback
      }
      flag = value.bool
    case .config(let config):
      guard let value = config[name], !value.isNull else { return fallback }
      flag = value.bool
    }
    guard let flag else { throw error("the setting \(name) is neither true nor false") }
    return flag
  }

  /// The classes of config.json's id2label, in order; two without names where there is none, as transformers has it.
  func labels() throws -> [String] {
    guard case .config(let config) = settings, let members = config["id2label"]?.object else {
      return ["LABEL_0", "LABEL_1"]
    }
    let names = Dictionary(
      members.map { ($0.key.string, $0.value.string) }, uniquingKeysWith: { first, _ in first })
    return try (0..<names.count).map { index in
      guard let name = names["\(index)"] ?? nil else {
        throw error("id2label has no name for class \(index)")
      }
      return name
    }
  }

  /// Refuses a folder whose setting has another value than these; absent and null are accepted.
  func require(_ name: String, _ values: [String]) throws {
    guard case .config(let config) = settings, let value = config[name], !value.isNull else { return }
    guard let text = value.string, values.contains(text) else {
      throw error(
        "\(name) \(value.string ?? "of another kind") is not supported; known: \(values.joined(separator: ", "))"
      )
    }
  }

  /// True where config.json has the setting, and it is not null.
  func isSet(_ name: String) -> Bool {
    if case .config(let config) = settings { config[name].map { !$0.isNull } ?? false } else { false }
  }

  /// A setting of config.json that is one of `known`, the first where it is absent or null.
  func choice(_ name: String, _ known: [String]) throws -> String {
    try require(name, known)
    guard case .config(let config) = settings else { return known[0] }
    return config[name]?.string ?? known[0]
  }

  /// The activation that config.json names; `gguf` where the format has no setting for it.
  func activation(_ name: String, gguf: Activation = .gelu) throws -> Activation {
    guard case .config(let config) = settings else { return gguf }
    let known: [(String, Activation)] = [
      ("gelu", .gelu), ("gelu_new", .geluTanh), ("gelu_pytorch_tanh", .geluTanh), ("relu", .relu),
      ("silu", .silu),
      ("swish", .silu), ("tanh", .tanh),
    ]
    let text = config[name]?.string ?? ""
    guard let match = known.first(where: { $0.0 == text }) else {
      throw error("\(name) '\(text)' is not supported; known: \(known.map(\.0).joined(separator: ", "))")
    }
    return match.1
  }
}

// MARK: - Rope scaling

extension Checkpoint {
  /// Throws where the file names a kind that is not known.
  public func requireRopeScaling() throws {
    let lists = self["rope_scaling"]?["short_factor"]?.array
    guard !has("rope_freqs.weight"), !has("rope_factors_long.weight") else { return }
    _ = try ropeScaling(rotary: 2 * (lists?.count ?? 1), context: 1)
  }

  /// The kind that the file names; nil where it has none.
  var ropeScalingKind: String? {
    switch settings {
    case .gguf(let file): file["\(architecture).rope.scaling.type"]?.string
    case .config(let config):
      config["rope_scaling"].flatMap {
        $0.isNull ? nil : $0["rope_type"]?.string ?? $0["type"]?.string ?? "?"
      }
    }
  }

  /// A number of it, by its name in config.json.
  func ropeScalingSetting(_ name: String) -> Double? {
    switch settings {
    case .gguf(let file):
      let names = [
        "original_max_position_embeddings": "original_context_length", "beta_fast": "yarn_beta_fast",
        "beta_slow": "yarn_beta_slow", "attention_factor": "attn_factor",
      ]
      return file["\(architecture).rope.scaling.\(names[name] ?? name)"]?.double
    case .config(let config): return config["rope_scaling"]?[name]?.double
    }
  }
}
