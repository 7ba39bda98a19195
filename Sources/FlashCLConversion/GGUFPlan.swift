import FlashCL
import FlashCLFiles
import FlashCLModels

/// What a folder becomes as a GGUF file: tensors under llama.cpp's names and in its arrangement, settings as metadata.
struct GGUFPlan {
  let tensors: [PlannedTensor]
  let metadata: GGUF.Metadata
  private let folder: ModelFolder
  private let architecture: String
  private let names: GGUFNames

  /// - Throws: `ModelError` for an architecture or a setting that the format has no words for.
  init(_ folder: ModelFolder, _ rule: TypeRule) throws {
    let name = folder.config["architectures"]?[0]?.string ?? "an unnamed architecture"
    guard let found = Architectures.gguf(ofClass: name) else {
      throw ModelError(
        "\(folder.path): GGUF's names of \(name) are not known; known: "
          + Architectures.classesWithGGUF.joined(separator: ", ") + "; folder to folder works for all")
    }
    (self.folder, architecture, names) = (folder, found.architecture, found.names)
    do {
      let facts = try Self.facts(of: folder, found.names)
      var plan = try Self.tensors(of: folder, found.names, found.architecture, facts, rule)
      var metadata = GGUF.Metadata()
      metadata.add("general.architecture", found.architecture)
      metadata.add("general.name", folder.path.split(separator: "/").last.map(String.init) ?? "model")
      let all = try Self.completed(facts, plan, of: folder, found.names)
      for (key, value) in all.sorted(by: { $0.key < $1.key }) {
        try metadata.add(setting: "\(found.architecture).\(key)", value)
      }
      if let factors = try RopeWords(folder.config).add(
        to: &metadata, found.architecture, rotary: all["rope.dimension_count"]?.int,
        base: all["rope.freq_base"]?.double)
      {
        plan.append(PlannedTensor(factors, name: "rope_freqs.weight"))
      }
      (tensors, self.metadata) = (plan, metadata)
    } catch let error as ModelError {
      throw ModelError("\(folder.path): \(error)")
    }
  }

  // MARK: Settings

  /// What config.json tells, by the metadata's names.
  private static func facts(of folder: ModelFolder, _ names: GGUFNames) throws -> [String: JSON] {
    let config = folder.config
    for (name, values) in names.fixed {
      guard let value = config.given(name), !values.contains(value) else { continue }
      throw ModelError(
        "GGUF cannot tell \(name) \(value.text.dropLast()): it takes \(values[0].text.dropLast()) for granted"
      )
    }
    var facts: [String: JSON] = [:]
    for (name, key) in names.settings {
      if let value = config.given(name) { facts[key] = value }
    }
    return facts.merging(try names.facts(config)) { $1 }
  }

  /// Facts with those that follow from others, or from the tensors.
  private static func completed(
    _ facts: [String: JSON], _ tensors: [PlannedTensor], of folder: ModelFolder, _ names: GGUFNames
  ) throws -> [String: JSON] {
    var facts = facts
    func rows(_ name: String) -> JSON? {
      tensors.first { $0.layout.name == name && $0.layout.shape.count > 1 }.map {
        JSON($0.layout.shape[$0.layout.shape.count - 2])
      }
    }
    for key in ["embedding_length", "block_count", "attention.head_count", "context_length"]
    where facts[key] == nil {
      throw ModelError("config.json does not tell \(names.settings.first { $0.value == key }?.key ?? key)")
    }
    facts["vocab_size"] = rows("token_embd.weight")
    facts["feed_forward_length"] =
      facts["feed_forward_length"] ?? rows("blk.0.ffn_up.weight") ?? rows("blk.0.ffn_up_exps.weight")
    facts["attention.head_count_kv"] = facts["attention.head_count_kv"] ?? facts["attention.head_count"]
    let heads = HeadLayout(facts)
    facts["attention.key_length"] = heads?.size.map { JSON($0) }
    facts["attention.value_length"] = facts["attention.key_length"]
    if names.settings["rope_theta"] != nil {
      let share =
        try names.rotaryShare.map { name, fallback in
          guard let share = folder.config.given(name)?.double ?? Optional(fallback), share > 0, share <= 1
          else {
            throw ModelError("config.json's \(name) is not above 0 and at most 1")
          }
          return share
        } ?? 1
      facts["rope.dimension_count"] = heads?.size.map { JSON(Int(Float($0) * Float(share))) }
      facts["rope.freq_base"] = facts["rope.freq_base"] ?? 10000
    }
    return facts
  }

  // MARK: Tensors

  private static func tensors(
    of folder: ModelFolder, _ names: GGUFNames, _ architecture: String, _ facts: [String: JSON],
    _ rule: TypeRule
  ) throws -> [PlannedTensor] {
    guard let heads = HeadLayout(facts) else {
      throw ModelError("config.json's attention heads do not divide into groups")
    }
    var plan: [PlannedTensor] = []
    var experts: [String: [Int: TensorEntry]] = [:]
    var order: [String] = []
    for entry in folder.weights.tensors {
      if names.isNoParameter(entry.name) { continue }
      guard let (name, stem, expert) = names.ggufName(of: entry.name) else {
        throw ModelError("the tensor \(entry.name) has no name in GGUF's architecture \(architecture)")
      }
      if let expert {
        if experts[name] == nil { order.append(name) }
        guard experts[name, default: [:]].updateValue(entry, forKey: expert) == nil else {
          throw ModelError("there are two tensors \(entry.name)")
        }
        continue
      }
      let arrangement = names.arrangements[stem]
      let rows = entry.shape.first ?? 1
      var isTransposed = false
      var (order, offset) = (PlannedTensor.Order.same, Float(0))
      switch arrangement {
      case .queryPairs: order = .rows(try heads.pairs(ofKeys: false, rows, toGGUF: true, of: entry.name))
      case .keyPairs: order = .rows(try heads.pairs(ofKeys: true, rows, toGGUF: true, of: entry.name))
      case .grouped: order = .rows(try heads.grouped(rows, toGGUF: true, of: entry.name))
      case .transposed where entry.shape.count == 2: (order, isTransposed) = (.transposed, true)
      case .fromOne: offset = 1
      case .transposed, nil: break
      }
      plan.append(
        try PlannedTensor(
          [entry], name: name, type: rule.type(of: name, entry.shape, transposed: isTransposed), order: order,
          adding: offset, in: folder.path))
    }
    for name in order { plan.append(try stacked(experts[name] ?? [:], name, rule, folder.path)) }
    return plan
  }

  /// The experts of a layer as one tensor, `[experts, outputs, inputs]`.
  private static func stacked(_ experts: [Int: TensorEntry], _ name: String, _ rule: TypeRule, _ path: String)
    throws
    -> PlannedTensor
  {
    let entries = try (0..<experts.count).map { number in
      guard let entry = experts[number] else {
        throw ModelError("the expert \(number) of \(name) is missing")
      }
      return entry
    }
    let rows = max(entries[0].shape.first ?? 1, 1)
    let shape = [entries.count] + entries[0].shape
    return try PlannedTensor(
      entries, name: name, shape: shape, type: rule.type(of: name, shape),
      order: .rows { ($0 / rows, $0 % rows) },
      in: path)
  }
}

extension HeadLayout {
  /// By the metadata's names; nil where the numbers make no heads.
  init?(_ facts: [String: JSON]) {
    guard let heads = facts["attention.head_count"]?.int, heads > 0,
      let keyHeads = facts["attention.head_count_kv"].map(\.int) ?? heads, keyHeads > 0, heads % keyHeads == 0
    else { return nil }
    self.heads = heads
    self.keyHeads = keyHeads
    size = facts["attention.key_length"]?.int ?? facts["embedding_length"]?.int.map { $0 / heads }
  }
}

extension GGUFNames {
  /// Buffers that transformers' older files hold beside the parameters.
  func isNoParameter(_ name: String) -> Bool {
    [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"]
      .contains(where: name.hasSuffix)
  }

  /// GGUF's name of a folder's tensor, what the table calls it, and which expert it is; with and without transformers' prefix.
  func ggufName(of name: String) -> (name: String, stem: String, expert: Int?)? {
    let prefix = "transformer."
    for name in [name, prefix + name, name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name] {
      guard let numbered = NumberedName(name), let found = tensors[numbered.stem] else { continue }
      let isExpert = numbered.numbers.count == 2
      return (numbered.renamed(found), numbered.stem, isExpert ? numbered.numbers[1] : nil)
    }
    return nil
  }
}

extension GGUF.Metadata {
  /// Numbers that llama.cpp keeps as f32.
  private static func isReal(_ key: String) -> Bool {
    ["epsilon", "freq_base", "freq_base_swa", "softcapping", "alibi_bias", "clamp_kqv", "scale"].contains(
      where: key.hasSuffix)
  }

  mutating func add(setting key: String, _ value: JSON) throws {
    if let flag = value.bool {
      add(key, flag)
    } else if Self.isReal(key), let number = value.double, number.isFinite {
      add(key, Float(number))
    } else if let count = value.int, (0...1 << 32 - 1).contains(count) {
      add(key, count)
    } else {
      throw ModelError(
        "config.json's value for \(key) is \(value.text.dropLast()), expected a number that fits")
    }
  }
}
