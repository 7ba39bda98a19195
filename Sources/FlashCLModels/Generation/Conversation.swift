import FlashCLFiles
import FlashCLTemplates

/// A conversation, as chat templates read it: messages that have a `role` and mostly a `content`, and tools they may call.
public struct Conversation: Sendable {
  public var messages: [JSON]
  /// Descriptions of functions; nil where there are none.
  public var tools: [JSON]?
  /// What else the template may ask for: `documents`, `enable_thinking`.
  public var variables: [String: JSON]
  /// True where the variables ask for what begins the assistant's answer.
  public var addsGenerationPrompt: Bool { variables["add_generation_prompt"]?.bool ?? false }
  /// True where they ask for a final message that is continued.
  public var continuesFinalMessage: Bool { variables["continue_final_message"]?.bool ?? false }

  public init(_ messages: [JSON] = [], tools: [JSON]? = nil, variables: [String: JSON] = [:]) {
    self.messages = messages
    self.tools = tools
    self.variables = variables
  }

  /// A list of messages, or an object with `messages`, `tools` and variables; `name` is what errors call it.
  public init(_ json: JSON, name: String) throws {
    guard let messages = json.array ?? json["messages"]?.array else {
      throw ModelError("\(name): expected a list of messages, or an object with the list 'messages'")
    }
    for (place, message) in messages.enumerated() {
      guard message.object != nil, message["role"]?.string != nil else {
        throw ModelError("\(name): message \(place + 1) is no object with a 'role' that is a string")
      }
    }
    self.messages = messages
    variables = [:]
    for member in json.object ?? [] where member.key.string != "messages" {
      variables[member.key.string] = member.value
    }
    for key in ["tools", "documents"] {
      guard let list = variables[key], !list.isNull else { continue }
      guard let items = list.array, items.allSatisfy({ $0.object != nil }) else {
        throw ModelError("\(name): '\(key)' is no list of objects")
      }
    }
    tools = variables.removeValue(forKey: "tools")?.array
  }

  /// What `init(_:name:)` reads: a list where there is nothing but messages.
  public var json: JSON {
    if tools == nil && variables.isEmpty { return .array(messages) }
    var members = variables.sorted { $0.key < $1.key }
    if let tools { members.insert(("tools", .array(tools)), at: 0) }
    members.insert(("messages", .array(messages)), at: 0)
    return .object(members.map { JSON.Member(key: ByteString($0.key), value: $0.value) })
  }

  public static func message(_ role: String, _ content: String) -> JSON {
    .object([
      JSON.Member(key: "role", value: .string(ByteString(role))),
      JSON.Member(key: "content", value: .string(ByteString(content))),
    ])
  }
}

/// A last message that the model goes on with, found again in the rendered text by a mark at its end.
extension Conversation {
  private static let mark = "CONTINUE_FINAL_MESSAGE_TAG"

  /// The conversation with the mark and a space at the end of its last text, and that text.
  func marked() throws -> (Conversation, text: String) {
    var text: String?
    func marked(_ json: JSON, _ key: String, _ change: (JSON) -> JSON?) -> JSON? {
      guard let members = json.object, let value = json[key], let changed = change(value) else { return nil }
      return .object(members.map { $0.key.string == key ? JSON.Member(key: $0.key, value: changed) : $0 })
    }
    func marked(_ json: JSON) -> JSON? {
      guard let string = json.string else { return nil }
      text = string
      return .string(ByteString(string + Self.mark + " "))
    }
    let last = messages.last.flatMap { message in
      marked(message, "content") { content in
        guard var parts = content.array else { return marked(content) }
        guard let place = parts.lastIndex(where: { $0["text"] != nil }),
          let part = marked(parts[place], "text", marked)
        else { return nil }
        parts[place] = part
        return .array(parts)
      }
    }
    guard let last, let text else { throw ModelError("the final message has no text to continue") }
    var conversation = self
    conversation.messages[messages.count - 1] = last
    return (conversation, text)
  }

  /// The rendered text up to the mark; where the template took the space after it, white space before it goes too.
  static func cut(_ rendered: String, after text: String) throws -> String {
    let scalars = Array(rendered.unicodeScalars)
    let mark = Array(Self.mark.unicodeScalars)
    func find(_ part: ArraySlice<Unicode.Scalar>) -> Int? {
      guard part.count <= scalars.count else { return nil }
      return (0...scalars.count - part.count).last { scalars[$0..<$0 + part.count].elementsEqual(part) }
    }
    func trimmed(_ scalars: [Unicode.Scalar]) -> ArraySlice<Unicode.Scalar> {
      let end = (scalars.lastIndex { !$0.isPythonSpace } ?? -1) + 1
      return scalars[..<end].drop { $0.isPythonSpace }
    }
    guard find(trimmed(Array(text.unicodeScalars))) != nil, let end = find(mark[...]) else {
      throw ModelError("the chat template changes the final message, so that it cannot be continued")
    }
    var result = scalars[..<end]
    if end + mark.count >= scalars.count || scalars[end + mark.count] != " " {
      while let scalar = result.last, scalar.isPythonSpace { result.removeLast() }
    }
    var view = String.UnicodeScalarView()
    view.append(contentsOf: result)
    return String(view)
  }
}
