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
  /// llama.cpp's names of the architecture's parts.
  var names = GGUFNames()
  /// Called with the share of the layers that is loaded.
  public var progress: ((Double) -> Void)?
  let backend: any Backend
  private let settings: Settings
  private let tensors: Tensors

  private enum Settings {
    case gguf(GGUF)
    case config(JSON)
  }

  private enum Tensors {
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
      (format, path, settings) = (.huggingFace, folder.path, .config(folder.config))
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

  /// A switch of config.json; `fallback` where it is absent or null.
  func flag(_ name: String, default fallback: Bool) throws -> Bool {
    guard case .config(let config) = settings, let value = config[name], !value.isNull else {
      return fallback
    }
    guard let flag = value.bool else { throw error("the setting \(name) is neither true nor false") }
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
    if !has("rope_freqs.weight") { _ = try ropeScaling(rotary: 2, context: 1) }
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

// MARK: - Tensors

extension Checkpoint {
  /// True where a file has the tensor; a model of random weights has none beyond those that it must have.
  func has(_ name: String) -> Bool {
    if case .file(let file) = tensors { return file.entry(named: stored(name)) != nil }
    return false
  }

  /// The name that the file has for it.
  private func stored(_ name: String) -> String { format == .gguf ? names.tensor(name) : name }

  /// The tensor of that name, which must have this shape.
  private func entry(_ name: String, _ shape: [Int]) throws -> TensorEntry {
    let entry: TensorEntry?
    let name = stored(name)
    switch tensors {
    case .file(let file): entry = file.entry(named: name)
    case .random(let weights): entry = weights.entry(name, shape)
    }
    guard let entry else { throw error("the tensor \(name) is missing") }
    guard entry.shape == shape else {
      throw error("the tensor \(name) is \(entry.shape), expected \(shape)")
    }
    return entry
  }

  private func bytes(of entry: TensorEntry) throws -> UnsafeRawBufferPointer {
    switch tensors {
    case .file(let file): try file.bytes(of: entry)
    case .random(let weights): weights.bytes(of: entry)
    }
  }

  private func release(_ entry: TensorEntry) {
    switch tensors {
    case .file(let file): file.release(entry)
    case .random(let weights): weights.release(entry)
    }
  }

  /// Rows of a table with this many columns: how a vocabulary's size is found.
  func rows(_ name: String, columns: Int) throws -> Int {
    guard case .file(let file) = tensors else {
      return try size(name.contains("token_type") ? "type_vocab_size" : "vocab_size")
    }
    let name = stored(name)
    guard let entry = file.entry(named: name) else { throw error("the tensor \(name) is missing") }
    guard entry.shape.count == 2, entry.shape[1] == columns, entry.shape[0] > 0 else {
      throw error("the tensor \(name) is \(entry.shape), expected [rows, \(columns)]")
    }
    return entry.shape[0]
  }

  /// A vector of f32, whatever its storage.
  func vector(_ name: String, _ count: Int) throws -> Tensor { try tensor(name, [count]) }

  /// A tensor of f32, whatever its storage.
  func tensor(_ name: String, _ shape: [Int]) throws -> Tensor {
    try backend.tensor(try floats(name, shape), shape)
  }

  /// A layer norm's gain and bias.
  func norm(_ name: String, _ count: Int) throws -> (gain: Tensor, bias: Tensor) {
    (gain: try vector("\(name).weight", count), bias: try vector("\(name).bias", count))
  }

  /// The elements of a tensor of that shape, row-major.
  func floats(_ name: String, _ shape: [Int]) throws -> [Float] {
    let entry = try entry(name, shape)
    let count = shape.reduce(1, *)
    let bytes = try bytes(of: entry)
    let values: [Float]
    switch entry.type {
    case .f32: values = (0..<count).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
    case .f16:
      values = (0..<count).map { Float(bytes.loadUnaligned(fromByteOffset: 2 * $0, as: Float16.self)) }
    case .bf16:
      values = (0..<count).map {
        Float(bitPattern: UInt32(bytes.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self)) << 16)
      }
    default: throw error("the tensor \(name) is of type \(entry.typeName), expected f32, f16 or bf16")
    }
    guard values.allSatisfy(\.isFinite) else { throw error("the tensor \(name) holds NaN or infinity") }
    return values
  }

  /// A weight `[outputs, inputs]`, laid out for the backend.
  func weight(
    _ name: String, _ shape: [Int], order: WeightSource.Order = .outputsByInputs
  ) throws -> Weight {
    try prepare([Rows(name, [shape[0], shape[1]])], inputs: shape[1], order: order)
  }

  /// The rows of a table from `first` on, `[rows, columns]`: BART's positions begin with the third.
  func table(_ name: String, from first: Int, _ shape: [Int]) throws -> Weight {
    let entry = try entry(name, [first + shape[0], shape[1]])
    let bytes = try bytes(of: entry)
    guard let type = entry.type, ElementType.weights.contains(type), isFinite(bytes, type) else {
      throw error("the tensor \(name) of type \(entry.typeName) holds no finite numbers")
    }
    defer { release(entry) }
    return try backend.prepare([
      WeightSource(
        name: name, outputs: shape[0], inputs: shape[1], type: type,
        bytes: UnsafeRawBufferPointer(rebasing: bytes[type.bytes(first * shape[1])...]))
    ])
  }

  /// A weight that some files leave out; nil where it is missing.
  func optionalWeight(_ name: String, _ shape: [Int]) throws -> Weight? {
    has(name) ? try weight(name, shape) : nil
  }

  /// Rows of a matrix in the file: all of them, or some of heads that lie interleaved, or of one expert among several.
  struct Rows {
    let name: String  // without `.weight`
    /// Its axes in the file; the rows are those of all axes but the last.
    let stored: [Int]
    let range: Range<Int>

    init(_ name: String, _ stored: [Int], _ range: Range<Int>? = nil) {
      (self.name, self.stored) = (name, stored)
      self.range = range ?? 0..<stored.dropLast().reduce(1, *)
    }
  }

  /// Rows of weights with the same inputs as one, stacked by outputs.
  func weight(_ rows: [Rows], inputs: Int) throws -> Weight {
    try prepare(
      rows.map { Rows("\($0.name).weight", $0.stored, $0.range) }, inputs: inputs, order: .outputsByInputs)
  }

  /// The biases that belong to these rows; nil where none of them exists, 0 for a missing one.
  func bias(_ rows: [Rows]) throws -> Tensor? {
    guard rows.contains(where: { has("\($0.name).bias") }) else { return nil }
    let values = try rows.flatMap { rows in
      try has("\(rows.name).bias")
        ? Array(floats("\(rows.name).bias", [rows.stored.dropLast().reduce(1, *)])[rows.range])
        : [Float](repeating: 0, count: rows.range.count)
    }
    return try backend.tensor(values, [values.count])
  }

  /// Several weights with the same inputs as one, stacked by outputs; names are without `.weight`.
  func stacked(_ parts: [(name: String, outputs: Int)], inputs: Int) throws -> Weight {
    try weight(parts.map { Rows($0.name, [$0.outputs, inputs]) }, inputs: inputs)
  }

  /// The biases that belong to `stacked`; nil where none of them exists, 0 for a missing one.
  func stackedBias(_ parts: [(name: String, outputs: Int)]) throws -> Tensor? {
    try bias(parts.map { Rows($0.name, [$0.outputs, 1]) })
  }

  /// Weights that their file holds with more axes than two, each `stored`, as one, stacked by outputs.
  func stacked(_ names: [String], stored: [Int], outputs: Int, inputs: Int, order: WeightSource.Order) throws
    -> Weight
  {
    try prepare(names.map { Rows($0, stored, 0..<outputs) }, inputs: inputs, order: order, isWhole: true)
  }

  /// A weight `[outputs, inputs]` that was made of a file's tensors.
  func weight(_ values: [Float], named name: String, _ shape: [Int]) throws -> Weight {
    try values.withUnsafeBytes {
      try backend.prepare([
        WeightSource(name: name, outputs: shape[0], inputs: shape[1], type: .f32, bytes: $0)
      ])
    }
  }

  /// `isWhole`: the rows' number is that of outputs, whatever the tensor's axes are in the file.
  private func prepare(
    _ rows: [Rows], inputs: Int, order: WeightSource.Order, isWhole: Bool = false
  ) throws -> Weight {
    var entries: [TensorEntry] = []
    var checked: Set<String> = []
    let sources = try rows.map { rows in
      let isTransposed = order == .inputsByOutputs
      let entry = try entry(
        rows.name, isTransposed && !isWhole ? rows.stored.reversed() : rows.stored)
      guard let type = entry.type, type != .i32, !isTransposed || !type.isQuantised,
        inputs % type.blockLength == 0
      else {
        throw error("the weight \(entry.name) cannot be of type \(entry.typeName) with rows of \(inputs)")
      }
      var bytes = try bytes(of: entry)
      if checked.insert(entry.name).inserted {
        guard isFinite(bytes, type) else { throw error("the tensor \(entry.name) holds NaN or infinity") }
        entries.append(entry)
      }
      if !isTransposed && !isWhole {
        let bounds = type.bytes(rows.range.lowerBound * inputs)..<type.bytes(rows.range.upperBound * inputs)
        bytes = UnsafeRawBufferPointer(rebasing: bytes[bounds])
      }
      return try WeightSource(
        name: entry.name, outputs: rows.range.count, inputs: inputs, type: type, order: order, bytes: bytes)
    }
    let weight = try backend.prepare(sources)
    for entry in entries { release(entry) }
    return weight
  }

  /// True when no element, or no scale of a block, is NaN or infinite: its exponent bits are not all ones.
  private func isFinite(_ bytes: UnsafeRawBufferPointer, _ type: ElementType) -> Bool {
    func none<T: FixedWidthInteger>(_: T.Type, mask: T, at first: Int = 0, step: Int) -> Bool {
      var found = false
      for place in stride(from: first, to: bytes.count, by: step) {
        found = found || bytes.loadUnaligned(fromByteOffset: place, as: T.self) & mask == mask
      }
      return !found
    }
    return switch type {
    case .f32: none(UInt32.self, mask: 0x7f80_0000, step: 4)
    case .f16: none(UInt16.self, mask: 0x7c00, step: 2)
    case .bf16: none(UInt16.self, mask: 0x7f80, step: 2)
    case .i32, .bool: true
    default:
      type.scaleOffsets.allSatisfy { none(UInt16.self, mask: 0x7c00, at: $0, step: type.blockBytes) }
    }
  }
}
