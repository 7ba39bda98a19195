import ArgumentParser
import FlashCL
import FlashCLFiles
import FlashCLModels
import FlashCLReference

struct Inspect: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Shows what a model file holds, and whether it can run.",
    discussion: """
      Reads the header alone: no weight, and no tokenizer. With --memory it tells what continuing a prompt takes on the device,
      found without loading or computing anything.
      Example: flashcl inspect SmolLM2.gguf --memory --prompt-tokens 512 --max-tokens 128 --device gpu
      """)

  @Argument(help: "A .gguf file, or a folder with config.json and model.safetensors.")
  var path: String
  @Flag(help: "Also show how much memory a run takes on the device.")
  var memory = false
  @Option(parsing: .unconditional, help: "With --memory: tokens of the prompt.")
  var promptTokens = 512
  @Option(parsing: .unconditional, help: "With --memory: the most tokens that follow.")
  var maxTokens = 256
  @OptionGroup var cache: CacheOption
  @OptionGroup var device: DeviceOption
  @OptionGroup var output: FormatOption

  func validate() throws {
    for (name, value) in [("prompt", promptTokens), ("max", maxTokens)] where value < 1 {
      throw ValidationError("--\(name)-tokens must be 1 or more, not \(value)")
    }
  }

  func run() throws {
    let source = try ModelSource.open(path)
    let plan = memory ? try self.plan(source) : nil
    let report = try Report(source, plan)
    if output.isJSON { return try Output.json(report) }
    let unsupported =
      report.unsupported.isEmpty
      ? "everything is supported\n" : report.unsupported.map { "not supported: \($0)\n" }.joined()
    let metadata = report.metadata.members.map { [$0.key, $0.value.summary] }
    let tensors = report.tensors.map {
      [escaped($0.name), $0.type, $0.shape.map(String.init).joined(separator: " × "), size($0.bytes)]
    }
    try Output.write(
      """
      \(report.format), \(report.architecture ?? "no architecture"), \(fixed(Double(report.parameters) * 1e-6, 1)) million \
      parameters, \(size(report.tensor_bytes)) in \(count(tensors.count, "tensor"))
      \(unsupported)\(plan.map(words) ?? "")
      \(table(metadata))
      \(table(tensors, right: [3]))
      """)
  }

  private func plan(_ source: ModelSource) throws -> RunPlan {
    let backend = try device.backend()
    guard
      let plan = try RunPlan(
        source, prompt: promptTokens, tokens: maxTokens, cacheType: cache.cacheType, on: backend)
    else {
      throw Failure("\(path): memory is told of models that continue text, on OpenCL devices")
    }
    return plan
  }

  private func words(_ plan: RunPlan) -> String {
    """
    \(count(plan.prompt, "token")) and \(plan.tokens) more take \(size(plan.bytes)) on the device: weights \
    \(size(plan.weightBytes)), cache \(size(plan.cacheBytes)), activations \(size(plan.activationBytes))

    """
  }
}

private struct Report: Encodable {
  let path: String
  let format: String
  @Nullable var architecture: String?
  let parameters: Int
  let tensor_bytes: Int
  /// One sentence for each reason why the model cannot run.
  let unsupported: [String]
  let metadata: Metadata
  let tensors: [Tensor]
  /// With --memory: bytes on the device.
  var memory: PlannedMemory?

  struct Tensor: Encodable {
    let name: String
    let shape: [Int]
    let type: String
    let bytes: Int
    let supported: Bool
  }

  init(_ source: ModelSource, _ plan: RunPlan?) throws {
    memory = plan.map { PlannedMemory($0) }
    let file = source.tensors
    switch source {
    case .gguf(let gguf):
      (path, format) = (gguf.path, "GGUF version \(gguf.version)")
      metadata = Metadata(gguf.metadata.map { ($0.key, Metadata.Value($0.value)) })
    case .folder(let folder):
      (path, format) = (folder.path, "safetensors")
      metadata = Metadata((folder.config.object ?? []).map { ($0.key.string, Metadata.Value($0.value)) })
    }
    tensors = file.tensors.map {
      Tensor(
        name: $0.name, shape: $0.shape, type: $0.type?.rawValue ?? $0.typeName, bytes: $0.byteCount,
        supported: $0.type != nil)
    }
    parameters = file.tensors.reduce(0) { $0 + $1.elementCount }
    tensor_bytes = file.tensors.reduce(0) { $0 + $1.byteCount }

    var reasons: [String] = []
    var name: String?
    do {
      let checkpoint = try Checkpoint(source, on: ReferenceBackend())
      name = checkpoint.architecture
      if !Architectures.names.contains(checkpoint.architecture) {
        let known = Architectures.names.joined(separator: ", ")
        reasons.append("the architecture '\(checkpoint.architecture)'; known: \(known)")
      }
      try checkpoint.requireRopeScaling()
    } catch {
      reasons.append("\(error)")
    }
    architecture = name
    let strange = Dictionary(grouping: tensors.filter { !$0.supported }, by: \.type).sorted {
      $0.key < $1.key
    }
    for (type, tensors) in strange {
      reasons.append(
        "the type \(type) of \(count(tensors.count, "tensor")), such as \(escaped(tensors[0].name))")
    }
    unsupported = reasons
  }
}

/// What a file says of its model, in the file's order; arrays of GGUF, which may be vocabularies, by their length and type.
private struct Metadata: Encodable {
  let members: [(key: String, value: Value)]

  init(_ members: [(String, Value)]) { self.members = members.map { (key: $0.0, value: $0.1) } }

  struct Key: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    for (key, value) in members { try container.encode(value, forKey: Key(stringValue: key)) }
  }

  indirect enum Value: Encodable {
    case null
    case bool(Bool)
    case int(Int64)
    case unsigned(UInt64)
    case double(Double)
    case string(String)
    case array([Value])
    case object(Metadata)

    init(_ value: GGUF.Value) {
      switch value {
      case .bool(let value): self = .bool(value)
      case .unsigned(let value): self = .unsigned(value)
      case .signed(let value): self = .int(value)
      case .float(let value): self = .double(value)
      case .string(let value): self = .string(value.string)
      case .array(let list):
        self = .object(
          Metadata([("count", .int(Int64(list.count))), ("type", .string("\(list.elementType)"))]))
      }
    }

    init(_ value: JSON) {
      switch value {
      case .null: self = .null
      case .bool(let value): self = .bool(value)
      case .int(let value): self = .int(value)
      case .double(let value): self = .double(value)
      case .string(let value): self = .string(value.string)
      case .array(let values): self = .array(values.map(Value.init))
      case .object(let members): self = .object(Metadata(members.map { ($0.key.string, Value($0.value)) }))
      }
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .null: try container.encodeNil()
      case .bool(let value): try container.encode(value)
      case .int(let value): try container.encode(value)
      case .unsigned(let value): try container.encode(value)
      case .double(let value): try container.encode(value)
      case .string(let value): try container.encode(value)
      case .array(let values): try container.encode(values)
      case .object(let members): try container.encode(members)
      }
    }

    /// On one line, cut at 80 characters.
    var summary: String {
      let text =
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .int(let value): "\(value)"
        case .unsigned(let value): "\(value)"
        case .double(let value): "\(value)"
        case .string(let value): escaped(value)
        case .array(let values): "[" + values.map(\.summary).joined(separator: ", ") + "]"
        case .object(let object):
          "{" + object.members.map { "\(escaped($0.key)): \($0.value.summary)" }.joined(separator: ", ") + "}"
        }
      return text.count > 80 ? text.prefix(79) + "…" : text
    }
  }
}
