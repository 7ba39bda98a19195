import FlashCLFiles
import FlashCLTemplates
import FlashCLTokenizers

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// How a model's conversations are written: the Jinja template of its files, rendered as `transformers.apply_chat_template`
/// renders it.
public struct ChatTemplate: Sendable {
  /// By name; a single one is called "default".
  private let templates: [String: TextTemplate]
  /// `bos_token`, `eos_token` and the like, as the files spell them.
  private let special: [String: [String]]
  private let path: String

  private static let names = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// From chat_template.jinja, tokenizer_config.json or GGUF's metadata; throws `ModelError` where there is none, or none that
  /// can be parsed.
  public init(_ source: ModelSource) throws {
    let sources: [String: String]
    switch source {
    case .gguf(let file): (path, sources, special) = (file.path, Self.sources(file), Self.special(file))
    case .folder(let folder):
      (path, sources, special) = (folder.path, try Self.sources(folder), try Self.special(folder))
    }
    if sources.isEmpty {
      throw ModelError("\(path): the model has no chat template: it is not made for conversations")
    }
    let path = path
    templates = try sources.mapValues { text in
      do {
        return try TextTemplate(text)
      } catch {
        throw ModelError("\(path): the chat template cannot be used: \(error)")
      }
    }
  }

  private static func sources(_ file: GGUF) -> [String: String] {
    var sources: [String: String] = [:]
    for name in file["tokenizer.chat_templates"]?.array?.strings ?? [] {
      sources[name.string] = file["tokenizer.chat_template.\(name)"]?.string
    }
    if let text = file["tokenizer.chat_template"]?.string { sources["default"] = text }
    return sources
  }

  private static func sources(_ folder: ModelFolder) throws -> [String: String] {
    if let file = try folder.file("chat_template.jinja") {
      return ["default": withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }]
    }
    let value = try folder.json("tokenizer_config.json")?["chat_template"]
    if let text = value?.string { return ["default": text] }
    return Dictionary(
      (value?.array ?? []).compactMap { item in
        guard let name = item["name"]?.string, let text = item["template"]?.string else { return nil }
        return (name, text)
      }, uniquingKeysWith: { $1 })
  }

  private static func special(_ file: GGUF) -> [String: [String]] {
    let keys = [
      "bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "sep_token": "seperator",
      "pad_token": "padding", "cls_token": "cls", "mask_token": "mask",
    ]
    guard let tokens = file["tokenizer.ggml.tokens"]?.array?.strings else { return [:] }
    return keys.compactMapValues { key in
      guard let id = file["tokenizer.ggml.\(key)_token_id"]?.int, tokens.indices.contains(id) else {
        return nil
      }
      return [tokens[id].string]
    }
  }

  private static func special(_ folder: ModelFolder) throws -> [String: [String]] {
    var special: [String: [String]] = [:]
    func spelling(_ token: JSON) -> String? { token.string ?? token["content"]?.string }
    for file in ["special_tokens_map.json", "tokenizer_config.json"] {
      let json = try folder.json(file)
      for name in names {
        if let token = json?[name].flatMap(spelling) { special[name] = [token] }
      }
      if let list = json?["additional_special_tokens"]?.array {
        special["additional_special_tokens"] = list.compactMap(spelling)
      }
    }
    return special
  }

  /// The spelling of the token that ends a turn, where the files name it.
  public var endOfTurn: String? { special["eos_token"]?.first }

  /// The text that the model reads.
  ///
  /// - Parameters:
  ///   - addGenerationPrompt: end with what begins the assistant's answer.
  ///   - continueFinalMessage: end with the text of the last message, so that the model goes on with it.
  ///   - now: what `strftime_now` tells.
  ///
  /// Throws `ModelError`, with the template's own words where it refuses the conversation.
  public func render(
    _ conversation: Conversation, addGenerationPrompt: Bool, continueFinalMessage: Bool = false,
    now: TemplateTime = .local()
  ) throws -> String {
    if continueFinalMessage {
      guard !addGenerationPrompt else {
        throw ModelError("a final message that is continued leaves no place for another answer")
      }
      let (marked, text) = try conversation.marked()
      return try Conversation.cut(render(marked, addGenerationPrompt: false, now: now), after: text)
    }
    let name = conversation.tools != nil && templates["tool_use"] != nil ? "tool_use" : "default"
    if conversation.messages.isEmpty { throw ModelError("a conversation needs at least one message") }
    guard let template = templates[name] else {
      throw ModelError(
        "\(path): none of the chat templates is the default; there are: "
          + templates.keys.sorted().joined(separator: ", "))
    }
    do {
      var values: [String: TemplateValue] = ["documents": .none, "tools": .none]
      for (name, tokens) in special {
        let tokens = tokens.map { TemplateValue.string($0) }
        values[name] = name.hasSuffix("s") ? try TemplateValue(tokens) : tokens[0]
      }
      for (name, value) in conversation.variables { values[name] = try TemplateValue(value) }
      values["continue_final_message"] = nil  // no template is told of it
      values["messages"] = try TemplateValue(.array(conversation.messages))
      if let tools = conversation.tools { values["tools"] = try TemplateValue(.array(tools)) }
      values["add_generation_prompt"] = .bool(addGenerationPrompt)
      return try template.render(values, now: now)
    } catch let error as TemplateError {
      throw ModelError(
        error.kind == .raised
          ? "\(path): the chat template refuses the conversation: \(error.message)"
          : "\(path): the chat template fails: \(error)")
    }
  }
}

extension Tokenizer {
  /// The ids of a rendered conversation: the template's special tokens count, and none is added.
  public func ids(ofRendered text: String) throws -> [Int32] {
    try tokens(of: Array(text.utf8), special: true).ids
  }
}

extension TemplateValue {
  /// A JSON value; objects keep the order of their members.
  public init(_ json: JSON) throws {
    switch json {
    case .null: self = .none
    case .bool(let flag): self = .bool(flag)
    case .int(let number): self = .int(Int(number))
    case .double(let number): self = .double(number)
    case .string(let text): self = .string(text.string)
    case .array(let items): self = try TemplateValue(items.map { try TemplateValue($0) })
    case .object(let members):
      self = .dictionary(
        try TemplateDictionary(
          members.map { (key: .string($0.key.string), value: try TemplateValue($0.value)) }))
    }
  }
}

extension TemplateTime {
  /// This moment, in the time zone of the system.
  public static func local() -> TemplateTime {
    var moment = time(nil)
    var parts = tm()
    localtime_r(&moment, &parts)
    return TemplateTime(
      year: Int(parts.tm_year) + 1900, month: Int(parts.tm_mon) + 1, day: Int(parts.tm_mday),
      hour: Int(parts.tm_hour), minute: Int(parts.tm_min), second: Int(parts.tm_sec))
  }
}
