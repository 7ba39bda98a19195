import FlashCL
import FlashCLFiles
import FlashCLModels

/// What a GGUF file becomes as a folder: tensors under transformers' names and in its arrangement, config.json, and the files
/// of the tokenizer.
struct FolderPlan {
  let tensors: [PlannedTensor]
  /// Beside the weights, by name.
  let files: [(name: String, bytes: [UInt8])]

  /// - Throws: `ModelError` for an architecture that transformers' names are not known of.
  init(_ file: GGUF, _ rule: TypeRule, type: ElementType) throws {
    let architecture = file["general.architecture"]?.string ?? "an unnamed architecture"
    guard let names = Architectures.gguf(of: architecture), !names.classes.isEmpty else {
      throw ModelError(
        "\(file.path): transformers' names of \(architecture) are not known; GGUF to GGUF works for all")
    }
    var facts: [String: JSON] = [:]
    for key in Set(names.settings.values) {
      guard let value = file["\(architecture).\(key)"] else { continue }
      facts[key] =
        value.bool.map { .bool($0) } ?? value.int.map { JSON($0) } ?? value.double.map { JSON(Float($0)) }
    }
    guard let heads = HeadLayout(facts) else {
      throw ModelError("\(file.path): the attention heads do not divide into groups")
    }
    do {
      tensors = try Self.tensors(of: file, names, heads, rule)
      let config = try Self.config(of: file, architecture, names, facts, heads, type)
      files =
        [("config.json", Array(config.text.utf8))]
        + (try TokenizerFolder(file, modelType: config["model_type"]?.string))
        .files
    } catch let error as ModelError {
      throw ModelError("\(file.path): \(error)")
    }
  }

  // MARK: Settings

  private static func config(
    of file: GGUF, _ architecture: String, _ names: GGUFNames, _ facts: [String: JSON], _ heads: HeadLayout,
    _ type: ElementType
  ) throws -> JSON {
    var members = names.members(file)
    for (name, values) in names.fixed where members[name] == nil { members[name] = values[0] }
    for (name, key) in names.settings where name != "rotary" && members[name] == nil {
      members[name] = facts[key]
    }
    members["vocab_size"] = file.entry(named: "token_embd.weight")?.shape.first.map { JSON($0) }
    let rotary = file["\(architecture).rope.dimension_count"]?.int ?? heads.size
    if let share = names.rotaryShare, let rotary, let size = heads.size {
      members[share.name] = JSON(Float(rotary) / Float(size))
    }
    members["rope_scaling"] = try RopeWords.member(
      of: file, architecture, rotary: rotary, base: file["\(architecture).rope.freq_base"]?.double ?? 10000)
    for name in ["bos", "eos", "pad"] {
      let key = name == "pad" ? "padding" : name
      members["\(name)_token_id"] = file["tokenizer.ggml.\(key)_token_id"]?.int.map { JSON($0) }
    }
    members["tie_word_embeddings"] = .bool(file.entry(named: "output.weight") == nil)
    members["dtype"] = JSON(type.torchName)
    let first = ["architectures", "model_type"]
    return .members(
      first.compactMap { name in members[name].map { (name, $0) } }
        + members.filter { !first.contains($0.key) }.sorted { $0.key < $1.key }.map { ($0.key, $0.value) })
  }

  // MARK: Tensors

  private static func tensors(of file: GGUF, _ names: GGUFNames, _ heads: HeadLayout, _ rule: TypeRule) throws
    -> [PlannedTensor]
  {
    let others = names.others(file)
    var folderNames: [String: String] = [:]
    for (folder, gguf) in names.tensors where !others.contains(folder) { folderNames[gguf] = folder }
    return try file.tensors.filter { $0.name != "rope_freqs.weight" }.flatMap { entry -> [PlannedTensor] in
      guard let numbered = NumberedName(entry.name), let stem = folderNames[numbered.stem] else {
        throw ModelError("the tensor \(entry.name) has no name in a folder")
      }
      // A head is no part of the stack that the prefix stands for.
      let prefix = stem == "lm_head" || stem == "embed_out" ? "" : names.prefix
      let rows = entry.shape.first ?? 1
      if stem.split(separator: "{}", omittingEmptySubsequences: false).count == 3 {
        return try experts(of: entry, numbered, prefix + stem, rule, file.path)
      }
      var (order, offset) = (PlannedTensor.Order.same, Float(0))
      switch names.arrangements[stem] {
      case .queryPairs: order = .rows(try heads.pairs(ofKeys: false, rows, toGGUF: false, of: entry.name))
      case .keyPairs: order = .rows(try heads.pairs(ofKeys: true, rows, toGGUF: false, of: entry.name))
      case .grouped: order = .rows(try heads.grouped(rows, toGGUF: false, of: entry.name))
      case .transposed where entry.shape.count == 2: order = .transposed
      case .fromOne: offset = -1
      case .transposed, nil: break
      }
      return [
        try PlannedTensor(
          [entry], name: prefix + numbered.renamed(stem), type: rule.type(of: entry.name, entry.shape),
          order: order,
          adding: offset, in: file.path)
      ]
    }
  }

  /// A layer's experts, each for itself.
  private static func experts(
    of entry: TensorEntry, _ numbered: NumberedName, _ stem: String, _ rule: TypeRule, _ path: String
  ) throws -> [PlannedTensor] {
    guard entry.shape.count == 3 else {
      throw ModelError("the tensor \(entry.name) is \(entry.shape), expected [experts, outputs, inputs]")
    }
    let shape = Array(entry.shape.dropFirst())
    return try (0..<entry.shape[0]).map { expert in
      try PlannedTensor(
        [entry], name: numbered.renamed(stem, expert), shape: shape, type: rule.type(of: entry.name, shape),
        order: .rows { (0, expert * shape[0] + $0) }, in: path)
    }
  }
}

extension ElementType {
  /// What config.json calls it.
  var torchName: String {
    switch self {
    case .f16: "float16"
    case .bf16: "bfloat16"
    default: "float32"
    }
  }
}
