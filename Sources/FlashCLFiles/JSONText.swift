// JSON values as Swift literals, and as text.

extension JSON: ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
  ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  public init(integerLiteral value: Int64) { self = .int(value) }
  public init(floatLiteral value: Double) { self = .double(value) }
  public init(stringLiteral value: String) { self = .string(ByteString(value)) }
  public init(arrayLiteral elements: JSON...) { self = .array(elements) }
  public init(dictionaryLiteral elements: (String, JSON)...) { self = .members(elements) }

  public init(_ value: Int) { self = .int(Int64(value)) }
  /// The shortest decimal number that is this one, as f32: 1e-05, and not 9.999999747378752e-06.
  public init(_ value: Float) { self = .double(Double("\(value)") ?? Double(value)) }
  public init(_ text: String) { self = .string(ByteString(text)) }

  /// The member of that name, unless it is null.
  public func given(_ key: String) -> JSON? { self[key].flatMap { $0.isNull ? nil : $0 } }

  /// An object with these members in this order.
  public static func members(_ members: [(String, JSON)]) -> JSON {
    .object(members.map { Member(key: ByteString($0.0), value: $0.1) })
  }

  /// The object with a member more, or with another value of it; this itself if it is no object.
  public func setting(_ key: String, to value: JSON) -> JSON {
    guard case .object(var members) = self else { return self }
    let member = Member(key: ByteString(key), value: value)
    if let place = members.firstIndex(where: { $0.key == member.key }) {
      members[place] = member
    } else {
      members.append(member)
    }
    return .object(members)
  }

  /// The document, indented by two spaces, with a line break at its end; bytes that are no UTF-8 become U+FFFD.
  public var text: String {
    var text = ""
    write(to: &text, indent: "\n")
    return text + "\n"
  }

  /// `indent` is a line break and the spaces of the line that this stands in.
  private func write(to text: inout String, indent: String) {
    switch self {
    case .null: text += "null"
    case .bool(let value): text += value ? "true" : "false"
    case .int(let value): text += "\(value)"
    case .double(let value):
      text += value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : "\(value)"
    case .string(let value): text += jsonQuoted(value.string)
    case .array(let values):
      Self.write(values, to: &text, ("[", "]"), indent) { $0.write(to: &$1, indent: $2) }
    case .object(let members):
      Self.write(members, to: &text, ("{", "}"), indent) { member, text, indent in
        text += "\(jsonQuoted(member.key.string)): "
        member.value.write(to: &text, indent: indent)
      }
    }
  }

  private static func write<Item>(
    _ items: [Item], to text: inout String, _ brackets: (String, String), _ indent: String,
    each: (Item, inout String, String) -> Void
  ) {
    text += brackets.0
    for (place, item) in items.enumerated() {
      text += place == 0 ? indent + "  " : "," + indent + "  "
      each(item, &text, indent + "  ")
    }
    text += items.isEmpty ? brackets.1 : indent + brackets.1
  }
}
