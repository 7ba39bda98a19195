/// Methods of Python's strings, lists and dictionaries, and the functions that every template has.
extension Renderer {
  /// Each method of strings that is here, with its parameters.
  private static let stringMethods: [String: [String]] = [
    "capitalize": [], "center": ["width", "fillchar"], "count": ["sub"], "endswith": ["suffix"],
    "find": ["sub"], "index": ["sub"], "isalnum": [], "isalpha": [],
    "isdigit": [], "islower": [], "isspace": [], "isupper": [], "join": ["iterable"],
    "ljust": ["width", "fillchar"], "lower": [],
    "lstrip": ["chars"], "partition": ["sep"], "removeprefix": ["prefix"], "removesuffix": ["suffix"],
    "replace": ["old", "new", "count"], "rfind": ["sub"], "rindex": ["sub"], "rjust": ["width", "fillchar"],
    "rpartition": ["sep"],
    "rsplit": ["sep", "maxsplit"],
    "rstrip": ["chars"], "split": ["sep", "maxsplit"], "splitlines": ["keepends"], "startswith": ["prefix"],
    "strip": ["chars"], "title": [], "upper": [], "zfill": ["width"],
  ]
  private static let dictionaryMethods: [String: [String]] = [
    "copy": [], "get": ["key", "default"], "items": [], "keys": [], "values": [],
  ]
  private static let listMethods: [String: [String]] = ["copy": [], "count": ["value"], "index": ["value"]]

  /// What Python has and this module does not, so that it is no undefined attribute.
  private static let missingMethods: [String: Set<String>] = [
    "str": [
      "casefold", "encode", "expandtabs", "format_map", "isascii", "isdecimal", "isidentifier", "isnumeric",
      "isprintable", "istitle", "maketrans", "swapcase", "translate",
    ],
    "dict": ["clear", "fromkeys", "pop", "popitem", "setdefault", "update"],
    "list": ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"],
    "int": [
      "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "imag",
      "numerator",
      "real", "to_bytes",
    ],
    "float": ["as_integer_ratio", "conjugate", "fromhex", "hex", "imag", "is_integer", "real"],
    "range": ["count", "index", "start", "step", "stop"],
    "dict view": ["isdisjoint", "mapping"],
    "generator": [
      "close", "gi_code", "gi_frame", "gi_running", "gi_suspended", "gi_yieldfrom", "send", "throw",
    ],
    "Macro": ["arguments", "catch_kwargs", "catch_varargs", "caller", "name"],
  ]

  /// An attribute that the type of a value has, or nil.
  func method(_ name: String, of value: Value) throws -> Value? {
    if name.hasPrefix("__") { throw Fault.unsupported("the attribute '\(name)'") }
    let own: Bool
    switch value {
    case .string: own = name == "format" || Self.stringMethods[name] != nil
    case .dictionary: own = Self.dictionaryMethods[name] != nil
    case .list(let list):
      if list.isGroup, name == "grouper" || name == "list" { return list.items[name == "list" ? 1 : 0] }
      own = (list.isList || list.isTuple && name != "copy") && Self.listMethods[name] != nil
    case .object(let object):
      if let found = try object.attribute(name) { return found }
      own = false
    default: own = false
    }
    if own { return .object(Method(name, of: value)) }
    let type = if case .bool = value { "int" } else { value.typeName }
    guard Self.missingMethods[type]?.contains(name) != true else {
      throw Fault.unsupported("'\(name)' of a \(value.typeName)")
    }
    return nil
  }

  func call(_ method: Method, _ given: Given) throws -> Value {
    let name = method.name
    try spend(4)
    switch method.receiver {
    case .string(let text):
      if name == "format" { return .string(try braces(text, given)) }
      try given.check("'\(name)'", Self.stringMethods[name] ?? [])
      try spend(text.utf8.count / 8)
      return try call(name, on: text, given)
    case .dictionary(let dictionary):
      try given.check("'\(name)'", Self.dictionaryMethods[name] ?? [])
      switch name {
      case "get":
        guard let key = given.value(0, "key") else { throw Fault("'get' needs a key") }
        return try dictionary.value(of: key) ?? given.value(1, "default") ?? .none
      case "keys": return .list(try TemplateList(dictionary.keys, .view))
      case "values": return .list(try TemplateList(dictionary.values, .view))
      case "items":
        return .list(
          try TemplateList(
            dictionary.members.map { .list(try TemplateList([$0.key, $0.value], .tuple)) }, .view))
      default: return method.receiver
      }
    case .list(let list):
      try given.check("'\(name)'", Self.listMethods[name] ?? [])
      if name == "copy" { return method.receiver }
      guard let value = given.value(0, "value") else { throw Fault("'\(name)' needs a value") }
      let places = try list.items.indices.filter { try list.items[$0].equals(value) }
      if name == "count" { return .int(places.count) }
      guard let first = places.first else { throw Fault("the value is not in the list") }
      return .int(first)
    default: throw Fault.unsupported("the method '\(name)'")
    }
  }

  private func call(_ name: String, on text: String, _ given: Given) throws -> Value {
    func string(_ place: Int, _ parameter: String) throws -> String {
      guard case .string(let value)? = given.value(place, parameter) else {
        throw Fault("'\(name)' needs a string, not \(given.value(place, parameter)?.typeName ?? "nothing")")
      }
      return value
    }
    func list(_ items: [String], _ kind: TemplateList.Kind = .list) throws -> Value {
      try spend(items.count)
      return .list(try TemplateList(items.map { .string($0) }, kind))
    }
    switch name {
    case "strip", "lstrip", "rstrip":
      let characters = try given.value(0, "chars").map(Self.characters) ?? nil
      return .string(Text.stripped(text, characters, left: name != "rstrip", right: name != "lstrip"))
    case "upper": return .string(text.uppercased())
    case "lower": return .string(Text.lowercased(text))
    case "title": return .string(Text.titled(text))
    case "capitalize": return .string(Text.capitalized(text))
    case "startswith", "endswith":
      let isPrefix = name == "startswith"
      var candidates: [Value] = []
      switch given.value(0, isPrefix ? "prefix" : "suffix") {
      case .list(let list)? where list.isTuple: candidates = list.items
      case let value?: candidates = [value]
      case nil: break
      }
      if candidates.isEmpty, given.isEmpty { throw Fault("'\(name)' needs a string") }
      let bytes = Array(text.utf8)
      return .bool(
        try candidates.contains { candidate in
          guard case .string(let part) = candidate else {
            throw Fault("'\(name)' needs a string, not \(candidate.typeName)")
          }
          return isPrefix
            ? bytes.starts(with: part.utf8) : bytes.reversed().starts(with: part.utf8.reversed())
        })
    case "split", "rsplit":
      var separator: String?
      switch given.value(0, "sep") ?? .none {
      case .none: break
      default: separator = try string(0, "sep")
      }
      guard let limit = (given.value(1, "maxsplit") ?? .int(-1)).index else {
        throw Fault("a number of cuts must be whole")
      }
      return try list(
        Text.split(text, separator, limit: limit < 0 ? .max : limit, fromRight: name == "rsplit"))
    case "splitlines":
      return try list(Text.lines(text, keepsEnds: given.value(0, "keepends")?.isTrue ?? false))
    case "partition", "rpartition":
      let separator = try string(0, "sep")
      let parts = try Text.split(text, separator, limit: 1, fromRight: name == "rpartition")
      if parts.count == 2 { return try list([parts[0], separator, parts[1]], .tuple) }
      return try list(name == "partition" ? [text, "", ""] : ["", "", text], .tuple)
    case "replace":
      return try replaced(text, string(0, "old"), string(1, "new"), given.value(2, "count") ?? .none)
    case "removeprefix":
      let part = try string(0, "prefix")
      return .string(
        text.utf8.starts(with: part.utf8)
          ? String(text.unicodeScalars.dropFirst(part.unicodeScalars.count)) : text)
    case "removesuffix":
      let part = try string(0, "suffix")
      let ends = text.utf8.reversed().starts(with: part.utf8.reversed())
      return .string(ends ? String(text.unicodeScalars.dropLast(part.unicodeScalars.count)) : text)
    case "join":
      let parts = try elements(of: given.value(0, "iterable") ?? .none).map { part -> String in
        guard case .string(let part) = part else {
          throw Fault("'join' needs strings, and found \(part.typeName)")
        }
        return part
      }
      return .string(try checked(parts.joined(separator: text)))
    case "center", "ljust", "rjust", "zfill":
      guard let width = given.value(0, "width")?.index, width < 100_000 else {
        throw Fault("'\(name)' needs a width")
      }
      let fill = given.value(1, "fillchar") == nil ? " " : try string(1, "fillchar")
      guard fill.unicodeScalars.count == 1 else { throw Fault("a text is filled up with one character") }
      try spend(max(0, width) / 16)
      return .string(padded(text, width, name, fill))
    case "index", "rindex":
      let found = try call(name == "index" ? "find" : "rfind", on: text, given)
      if found.index == -1 { throw Fault("substring not found") }
      return found
    case "find", "rfind", "count":
      let part = Array(try string(0, "sub").unicodeScalars)
      let scalars = Array(text.unicodeScalars)
      if name == "count", part.isEmpty { return .int(scalars.count + 1) }
      var (last, count, start): (Int, Int, Int) = (-1, 0, 0)
      while let match = scalars.firstRange(of: part, from: start) {
        (last, count) = (match.lowerBound, count + 1)
        if name == "find" { break }
        start = name == "count" ? match.upperBound : match.lowerBound + 1
      }
      return .int(name == "count" ? count : last)
    case "isupper": return .bool(Text.isCased(text, \.isUppercase))
    case "islower": return .bool(Text.isCased(text, \.isLowercase))
    default: return .bool(!text.isEmpty && text.unicodeScalars.allSatisfy { Self.belongs($0, to: name) })
    }
  }

  private func padded(_ text: String, _ width: Int, _ name: String, _ fill: String) -> String {
    let room = max(0, width - text.unicodeScalars.count)
    switch name {
    case "ljust": return text + String(repeating: fill, count: room)
    case "rjust": return String(repeating: fill, count: room) + text
    case "center": return Text.centered(text, width, fill)
    default:  // zeros after a sign
      let hasSign = text.hasPrefix("-") || text.hasPrefix("+")
      return text.prefix(hasSign ? 1 : 0) + String(repeating: "0", count: room)
        + text.dropFirst(hasSign ? 1 : 0)
    }
  }

  static func belongs(_ scalar: Unicode.Scalar, to name: String) -> Bool {
    let properties = scalar.properties
    let isLetter =
      switch properties.generalCategory {
      case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
      default: false
      }
    switch name {
    case "isspace": return scalar.isPythonSpace
    case "isalpha": return isLetter
    case "isdigit": return properties.numericType == .decimal || properties.numericType == .digit
    default: return isLetter || properties.numericType != nil
    }
  }

  // MARK: - Functions

  func call(_ function: String, _ given: Given) throws -> Value {
    switch function {
    case "range": return try range(given)
    case "raise_exception":
      try given.check("raise_exception", ["message"])
      throw Fault(try given.value(0, "message").map(text) ?? "", .raised)
    case "strftime_now":
      try given.check("strftime_now", ["format"])
      guard case .string(let format)? = given.value(0, "format") else {
        throw Fault("strftime_now needs a format")
      }
      guard let now else { throw Fault.unsupported("strftime_now without a time") }
      return .string(try checked(now.text(format)))
    case "namespace", "dict":
      var members = given.named.map { (key: Value.string($0.name), value: $0.value) }
      guard given.positional.count <= 1 else { throw Fault("\(function) takes one dictionary") }
      switch given.positional.first {
      case .dictionary(let dictionary)?: members = dictionary.members + members
      case nil: break
      default: throw Fault.unsupported("\(function) of something else than a dictionary")
      }
      let dictionary = try TemplateDictionary(members)
      if function == "dict" { return .dictionary(dictionary) }
      var values: [String: Value] = [:]
      for (key, value) in dictionary.members {
        if case .string(let name) = key { values[name] = value }
      }
      return .object(Namespace(values))
    default: throw Fault.unsupported("the function '\(function)'")
    }
  }

  private func range(_ given: Given) throws -> Value {
    let bounds = try given.positional.map { value in
      guard let index = value.index else {
        throw Fault("'\(value.typeName)' object cannot be interpreted as an integer")
      }
      return index
    }
    guard given.named.isEmpty, (1...3).contains(bounds.count) else {
      throw Fault("range takes one to three whole numbers")
    }
    let (start, end) = bounds.count == 1 ? (0, bounds[0]) : (bounds[0], bounds[1])
    let step = bounds.count == 3 ? bounds[2] : 1
    guard step != 0 else { throw Fault("range() arg 3 must not be zero") }
    guard [start, end, step].allSatisfy({ $0.magnitude < 1 << 53 }) else {
      throw Fault.unsupported("a range of such numbers")
    }
    let count = max(0, (end - start + step - step.signum()) / step)
    guard count <= 100_000 else { throw Fault("a range of more than 100000 numbers", .limit) }
    try spend(count)
    return .list(try TemplateList(stride(from: start, to: end, by: step).map { .int($0) }, .range))
  }
}
