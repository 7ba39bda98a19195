/// What filters and functions take arguments by: place or name.
extension Renderer.Given {
  /// The argument at a place or of a name; nil where neither is given. Those that no parameter names are refused by
  /// `filter` before.
  func value(_ place: Int, _ name: String) -> Value? {
    positional.indices.contains(place) ? positional[place] : named.last { $0.name == name }?.value
  }

  /// Throws unless every argument belongs to one of the parameters.
  func check(_ function: String, _ parameters: [String]) throws {
    guard positional.count <= parameters.count else {
      throw Fault("\(function) takes at most \(parameters.count) arguments, not \(positional.count)")
    }
    for (name, _) in named {
      guard let place = parameters.firstIndex(of: name), place >= positional.count else {
        throw Fault("\(function) got an unexpected argument '\(name)'")
      }
    }
  }
}

/// Jinja's filters.
extension Renderer {
  /// Each filter that is here, with its parameters; nil where it checks them itself.
  private static let filters: [String: [String]?] = [
    "abs": [], "attr": ["name"], "batch": ["linecount", "fill_with"], "capitalize": [], "center": ["width"],
    "count": [], "default": ["default_value", "boolean"],
    "d": ["default_value", "boolean"], "dictsort": ["case_sensitive", "by", "reverse"], "first": [],
    "e": [], "escape": [], "float": ["default"], "format": nil,
    "groupby": ["attribute", "default", "case_sensitive"],
    "indent": ["width", "first", "blank"], "int": ["default", "base"], "items": [],
    "join": ["d", "attribute"], "last": [], "length": [], "list": [], "lower": [], "map": nil,
    "max": ["case_sensitive", "attribute"], "min": ["case_sensitive", "attribute"], "reject": nil,
    "rejectattr": nil, "replace": ["old", "new", "count"], "reverse": [], "round": ["precision", "method"],
    "safe": [], "select": nil, "selectattr": nil, "slice": ["slices", "fill_with"],
    "sort": ["reverse", "case_sensitive", "attribute"], "string": [],
    "sum": ["attribute", "start"], "title": [],
    "tojson": ["ensure_ascii", "indent", "separators", "sort_keys"], "trim": ["chars"],
    "truncate": ["length", "killwords", "end", "leeway"], "unique": ["case_sensitive", "attribute"],
    "upper": [], "wordcount": [],
  ]

  func filter(_ name: String, _ value: Value, _ given: Given) throws -> Value {
    guard let parameters = Self.filters[name] else {
      let known = Self.filters.keys.sorted().joined(separator: ", ")
      throw Fault("the filter '\(name)' is not supported; known: \(known)", .unsupported)
    }
    if let parameters { try given.check("the filter '\(name)'", parameters) }
    func flag(_ place: Int, _ name: String, _ fallback: Bool = false) -> Bool {
      given.value(place, name).map(\.isTrue) ?? fallback
    }
    switch name {
    // Text
    case "capitalize": return .string(try Text.capitalized(text(of: value)))
    case "lower": return .string(try Text.lowercased(text(of: value)))
    case "upper": return .string(try text(of: value).uppercased())
    case "title": return .string(try Text.titleWords(text(of: value)))
    case "string": return .string(try text(of: value))
    case "trim":
      let characters = try given.value(0, "chars").map(Self.characters) ?? nil
      return .string(try Text.stripped(text(of: value), characters))
    case "replace":
      guard let old = given.value(0, "old"), let new = given.value(1, "new") else {
        throw Fault("the filter 'replace' needs what to replace, and by what")
      }
      let count = given.value(2, "count") ?? .none
      return try replaced(text(of: value), text(of: old), text(of: new), count)
    case "indent":
      guard case .string(let text) = value else { throw Fault("the filter 'indent' needs a string") }
      return try indented(text, given)
    case "tojson": return .string(try json(value, jsonStyle(given)))
    case "safe", "e", "escape":
      throw Fault.unsupported("'\(name)' anywhere but at the end of what is printed")
    case "format":
      guard given.positional.isEmpty || given.named.isEmpty else {
        throw Fault("can't handle positional and keyword arguments at the same time")
      }
      return .string(
        try percents(
          text(of: value),
          given.named.isEmpty
            ? .list(TemplateList(given.positional, .tuple))
            : .dictionary(TemplateDictionary(given.named.map { (key: .string($0.name), value: $0.value) }))))
    case "center":
      guard let width = (given.value(0, "width") ?? .int(80)).index, width < 100_000 else {
        throw Fault("the filter 'center' needs a width")
      }
      try spend(max(0, width) / 16)
      return .string(Text.centered(try text(of: value), width))
    case "truncate": return try truncated(value, given)
    case "wordcount":
      let words = try text(of: value).unicodeScalars.split { $0 != "_" && !Self.belongs($0, to: "isalnum") }
      return .int(words.count)
    // Numbers
    case "abs":
      guard let number = value.number else { throw Fault("bad operand type for abs(): '\(value.typeName)'") }
      return number.double < 0 ? try unary("-", value) : try unary("+", value)
    case "int": return try integer(value, given)
    case "round": return try rounded(value, given)
    case "float":
      if case .undefined(let reason) = value { throw Fault(reason) }
      if let number = value.number { return .double(number.double) }
      if case .string(let text) = value, let number = Text.double(text) { return .double(number) }
      return given.value(0, "default") ?? .double(0)
    // Any value
    case "default", "d":
      guard value.isUndefined || flag(1, "boolean") && !value.isTrue else { return value }
      return given.value(0, "default_value") ?? .string("")
    case "attr":
      guard case .string(let name)? = given.value(0, "name") else {
        throw Fault("the filter 'attr' needs a name")
      }
      if let found = try method(name, of: value) { return found }
      if case .undefined(let reason) = value { throw Fault(reason) }
      return .undefined("'\(value.typeName) object' has no attribute '\(name)'")
    default: return try sequenceFilter(name, value, given, flag)
    }
  }

  static func characters(_ value: Value) throws -> Set<Unicode.Scalar>? {
    switch value {
    case .none: return nil
    case .string(let text): return Set(text.unicodeScalars)
    default: throw Fault("characters to strip must be a string, not \(value.typeName)")
    }
  }

  func replaced(_ text: String, _ old: String, _ new: String, _ count: Value) throws -> Value {
    let limit: Int
    switch count {
    case .none: limit = .max
    default:
      guard let index = count.index else { throw Fault("a count must be a whole number") }
      limit = index < 0 ? .max : index
    }
    let text = Array(text.unicodeScalars)
    let (old, new) = (Array(old.unicodeScalars), Array(new.unicodeScalars))
    try spend(text.count / 4)
    var (result, done, made): ([Unicode.Scalar], Int, Int) = ([], 0, 0)
    while made < limit,
      let match = text.firstRange(of: old, from: old.isEmpty ? done + (made > 0 ? 1 : 0) : done)
    {
      result += text[done..<match.lowerBound] + new
      done = match.upperBound
      made += 1
      try spend(new.count / 16 + 1)
    }
    return .string(try checked(String(result + text[done...])))
  }

  private func indented(_ text: String, _ given: Given) throws -> Value {
    let margin: String
    switch given.value(0, "width") ?? .int(4) {
    case .string(let text): margin = text
    case let width:
      guard let count = width.index, count < 1000 else { throw Fault("the filter 'indent' needs a width") }
      margin = String(repeating: " ", count: max(0, count))
    }
    let lines = Text.lines(text + "\n", keepsEnds: false)
    let blank = given.value(2, "blank")?.isTrue ?? false
    try spend(lines.count)
    var result = lines.first ?? ""
    for line in lines.dropFirst() { result += "\n" + (blank || !line.isEmpty ? margin : "") + line }
    if given.value(1, "first")?.isTrue ?? false { result = margin + result }
    return .string(try checked(result))
  }

  private func truncated(_ value: Value, _ given: Given) throws -> Value {
    guard let length = (given.value(0, "length") ?? .int(255)).index,
      let leeway = (given.value(3, "leeway") ?? .int(5)).index,
      case .string(let end) = given.value(2, "end") ?? .string("..."), leeway >= 0,
      length >= end.unicodeScalars.count
    else { throw Fault("the filter 'truncate' needs a length that its end fits in") }
    guard case .string(let text) = value else { throw Fault.unsupported("cutting a \(value.typeName)") }
    let scalars = Array(text.unicodeScalars)
    try spend(scalars.count / 16)
    if scalars.count <= length + leeway { return value }
    let kept = String(scalars[..<(length - end.unicodeScalars.count)])
    if given.value(1, "killwords")?.isTrue ?? false { return .string(kept + end) }
    return .string(try Text.split(kept, " ", limit: 1, fromRight: true)[0] + end)
  }

  private func jsonStyle(_ given: Given) throws -> JSONStyle {
    var style = JSONStyle(separators: (", ", ": "))
    switch given.value(1, "indent") ?? .none {
    case .none: break
    case .string(let text): style.indent = text
    case let width:
      guard let count = width.index, count < 1000 else { throw Fault("tojson's indent must be a number") }
      style.indent = String(repeating: " ", count: max(0, count))
    }
    if style.indent != nil { style.separators.item = "," }
    if case .list(let pair)? = given.value(2, "separators") {
      guard pair.items.count == 2, case .string(let item) = pair.items[0],
        case .string(let key) = pair.items[1]
      else { throw Fault("tojson's separators must be two strings") }
      style.separators = (item, key)
    }
    style.isASCII = given.value(0, "ensure_ascii")?.isTrue ?? false
    style.sortsKeys = given.value(3, "sort_keys")?.isTrue ?? false
    return style
  }

  private func integer(_ value: Value, _ given: Given) throws -> Value {
    if case .undefined(let reason) = value { throw Fault(reason) }
    if let base = given.value(1, "base"), base.index != 10 { throw Fault.unsupported("another base than 10") }
    var number: Double?
    switch value {
    case .bool, .int: return .int(value.index ?? 0)
    case .double(let fraction): number = fraction
    case .string(let text):
      if let whole = Text.int(text) { return .int(whole) }
      number = Text.double(text)
    default: break
    }
    guard let number, number.isFinite else { return given.value(0, "default") ?? .int(0) }
    guard let whole = Int(exactly: number.rounded(.towardZero)) else {
      throw Fault.unsupported("a whole number beyond 64 bits")
    }
    return .int(whole)
  }
}
