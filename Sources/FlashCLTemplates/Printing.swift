/// Values as text: Python's `str` and `repr`, and JSON.
extension Renderer {
  /// Python's `str`.
  func text(of value: Value) throws -> String {
    switch value {
    case .string(let text): text
    case .undefined: ""
    default: try repr(value)
    }
  }

  /// Python's `repr`.
  func repr(_ value: Value) throws -> String {
    try spend()
    switch value {
    case .none: return "None"
    case .bool(let flag): return flag ? "True" : "False"
    case .int(let number): return "\(number)"
    case .double(let number): return Self.text(of: number)
    case .string(let text): return try checked(Self.quoted(text))
    case .undefined: return "Undefined"
    case .dictionary(let dictionary):
      let members = try dictionary.members.map { "\(try repr($0.key)): \(try repr($0.value))" }
      return try checked("{\(members.joined(separator: ", "))}")
    case .list(let list):
      let items = try list.items.map(repr).joined(separator: ", ")
      switch list.kind {
      case .list: return try checked("[\(items)]")
      case .tuple, .group: return try checked(list.items.count == 1 ? "(\(items),)" : "(\(items))")
      case .range, .view, .iterator: throw Fault.unsupported("printing a \(list.typeName)")
      }
    case .object(let object): throw Fault.unsupported("printing a \(object.typeName)")
    }
  }

  /// A number with the fewest digits that mean it, exponents below 1e-4 and from 1e16 on.
  static func text(of number: Double) -> String {
    if number.isNaN { return "nan" }
    if number.isInfinite { return number < 0 ? "-inf" : "inf" }
    // Swift finds the same digits, but changes to exponents elsewhere.
    let told = "\(number.magnitude)".split(separator: "e")
    let parts = told[0].split(separator: ".")
    let whole = parts[0] == "0" ? "" : String(parts[0])
    var digits = whole + (parts.count > 1 ? String(parts[1]) : "")
    /// Digits before the point.
    var point = whole.utf8.count + (told.count > 1 ? Int(told[1]) ?? 0 : 0)
    while digits.hasPrefix("0") {
      digits.removeFirst()
      point -= 1
    }
    while digits.hasSuffix("0") { digits.removeLast() }
    let sign = number.sign == .minus ? "-" : ""
    if digits.isEmpty { return sign + "0.0" }
    let exponent = point - 1
    if exponent < -4 || exponent >= 16 {
      let rest = digits.dropFirst()
      let power = exponent.magnitude < 10 ? "0\(exponent.magnitude)" : "\(exponent.magnitude)"
      return "\(sign)\(digits.prefix(1))\(rest.isEmpty ? "" : ".")\(rest)e\(exponent < 0 ? "-" : "+")\(power)"
    }
    if point <= 0 { return "\(sign)0." + String(repeating: "0", count: -point) + digits }
    let zeros = String(repeating: "0", count: max(0, point - digits.utf8.count))
    let (before, after) = (digits.prefix(point) + zeros, digits.dropFirst(point))
    return "\(sign)\(before).\(after.isEmpty ? "0" : after)"
  }

  /// A string in Python's quotes: double ones only where it has single ones and no double ones.
  private static func quoted(_ text: String) -> String {
    let quote: Unicode.Scalar =
      text.unicodeScalars.contains("'") && !text.unicodeScalars.contains("\"") ? "\"" : "'"
    var result = String(quote)
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\", quote:
        result.unicodeScalars.append("\\")
        result.unicodeScalars.append(scalar)
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      default:
        if scalar.isPythonPrintable {
          result.unicodeScalars.append(scalar)
        } else {
          let (letter, width) = scalar.value < 0x100 ? ("x", 2) : scalar.value < 0x10000 ? ("u", 4) : ("U", 8)
          result += "\\\(letter)\(hexadecimal(scalar.value, width))"
        }
      }
    }
    result.unicodeScalars.append(quote)
    return result
  }

  static func hexadecimal(_ value: UInt32, _ width: Int) -> String {
    let digits = String(value, radix: 16)
    return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
  }

  // MARK: - JSON

  /// How JSON is laid out.
  struct JSONStyle {
    var indent: String?
    var separators: (item: String, key: String)
    var sortsKeys = false
    var isASCII = false
  }

  /// What Python's `json.dumps` writes.
  func json(_ value: Value, _ style: JSONStyle, depth: Int = 0) throws -> String {
    try spend()
    func enclosed(_ open: String, _ items: [String], _ close: String) throws -> String {
      if items.isEmpty { return open + close }
      guard let indent = style.indent else {
        return try checked(open + items.joined(separator: style.separators.item) + close)
      }
      let (inner, outer) = (
        "\n" + String(repeating: indent, count: depth + 1), "\n" + String(repeating: indent, count: depth)
      )
      return try checked(
        open + inner + items.joined(separator: style.separators.item + inner) + outer + close)
    }
    switch value {
    case .none: return "null"
    case .bool(let flag): return flag ? "true" : "false"
    case .int(let number): return "\(number)"
    case .double(let number):
      if number.isNaN { return "NaN" }
      return number.isInfinite ? (number < 0 ? "-Infinity" : "Infinity") : Self.text(of: number)
    case .string(let text): return try checked(Self.jsonString(text, isASCII: style.isASCII))
    case .list(let list) where list.isList || list.isTuple:
      return try enclosed("[", list.items.map { try json($0, style, depth: depth + 1) }, "]")
    case .dictionary(let dictionary):
      var members = dictionary.members
      if style.sortsKeys { members = try sorted(members) { $0.key } }
      let parts = try members.map { key, value in
        let name: String
        switch key {
        case .string(let text): name = text
        case .none, .bool, .int, .double: name = try json(key, style)
        default: throw Fault("keys must be str, int, float, bool or None, not \(key.typeName)")
        }
        return Self.jsonString(name, isASCII: style.isASCII) + style.separators.key
          + (try json(value, style, depth: depth + 1))
      }
      return try enclosed("{", parts, "}")
    default: throw Fault("Object of type \(value.typeName) is not JSON serializable")
    }
  }

  private static func jsonString(_ text: String, isASCII: Bool) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case "\u{8}": result += "\\b"
      case "\u{C}": result += "\\f"
      default:
        if scalar.value < 0x20 || isASCII && scalar.value > 0x7E {
          for unit in String(scalar).utf16 { result += "\\u" + hexadecimal(UInt32(unit), 4) }
        } else {
          result.unicodeScalars.append(scalar)
        }
      }
    }
    return result + "\""
  }
}

extension Unicode.Scalar {
  /// Python's `str.isprintable`: no controls, formats, private or unassigned characters, and of all spaces only the first.
  var isPythonPrintable: Bool {
    if isASCII { return (32...126).contains(value) }
    switch properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator,
      .spaceSeparator:
      return false
    default: return true
    }
  }
}
