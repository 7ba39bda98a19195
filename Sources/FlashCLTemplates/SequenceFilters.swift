/// Jinja's filters of lists and dictionaries.
extension Renderer {
  func sequenceFilter(
    _ name: String, _ value: Value, _ given: Given, _ flag: (Int, String, Bool) -> Bool
  ) throws -> Value {
    switch name {
    case "length", "count": return .int(try length(of: value))
    case "list": return .list(try TemplateList(elements(of: value)))
    case "first": return try elements(of: value).first ?? .undefined("No first item, sequence was empty.")
    case "last":
      if case .list(let list) = value, list.isIterator { throw Fault("'generator' object is not reversible") }
      return try elements(of: value).last ?? .undefined("No last item, sequence was empty.")
    case "reverse":
      if case .string(let text) = value { return .string(String(text.unicodeScalars.reversed())) }
      return try TemplateList.iterator(elements(of: value).reversed())
    case "items":
      switch value {
      case .undefined: return try TemplateList.iterator([])
      case .dictionary(let dictionary): return try TemplateList.iterator(pairs(dictionary))
      default: throw Fault("Can only get item pairs from a mapping.")
      }
    case "dictsort":
      guard case .dictionary(let dictionary) = value else {
        throw Fault("'\(value.typeName)' object has no items to sort")
      }
      let place: Int
      switch given.value(1, "by") ?? .string("key") {
      case .string("key"): place = 0
      case .string("value"): place = 1
      default: throw Fault("You can only sort by either \"key\" or \"value\"")
      }
      let folds = !flag(0, "case_sensitive", false)
      return .list(
        try TemplateList(
          sorted(pairs(dictionary), reverse: flag(2, "reverse", false)) { pair in
            guard case .list(let pair) = pair else { return pair }
            return Self.folded(pair.items[place], folds)
          }))
    case "join":
      var items = try elements(of: value)
      if let attribute = given.value(1, "attribute"), attribute.isTrue {
        items = try items.map { try self.path(attribute, of: $0) }
      }
      let separator = try given.value(0, "d").map(text) ?? ""
      return .string(try checked(items.map(text).joined(separator: separator)))
    case "sort":
      let attribute = given.value(2, "attribute")
      let folds = !flag(1, "case_sensitive", false)
      if case .string(let path)? = attribute, path.utf8.contains(UInt8(ascii: ",")) {
        throw Fault.unsupported("sorting by several attributes")
      }
      return .list(
        try TemplateList(
          sorted(elements(of: value), reverse: flag(0, "reverse", false)) {
            Self.folded(try key(attribute, of: $0), folds)
          }))
    case "unique":
      let folds = !flag(0, "case_sensitive", false)
      var (seen, items): ([Value], [Value]) = ([], [])
      for item in try elements(of: value) {
        let key = Self.folded(try key(given.value(1, "attribute"), of: item), folds)
        try spend(seen.count)
        // What has no hash is refused.
        if !key.isUndefined { _ = try TemplateDictionary([(key: key, value: .none)]) }
        if try seen.contains(where: { try $0.equals(key) }) { continue }
        seen.append(key)
        items.append(item)
      }
      return try TemplateList.iterator(items)
    case "min", "max":
      let folds = !flag(0, "case_sensitive", false)
      let attribute = given.value(1, "attribute")
      var best: (key: Value, item: Value)?
      for item in try elements(of: value) {
        let key = Self.folded(try key(attribute, of: item), folds)
        guard let current = best else {
          best = (key, item)
          continue
        }
        if try name == "min" ? isLess(key, current.key) : isLess(current.key, key) { best = (key, item) }
      }
      return best?.item ?? .undefined("No aggregated item, sequence was empty.")
    case "sum":
      return try elements(of: value).reduce(given.value(1, "start") ?? .int(0)) {
        try binary("+", $0, try key(given.value(0, "attribute"), of: $1))
      }
    case "groupby":
      guard let attribute = given.value(0, "attribute"), attribute.isTrue || attribute.index != nil else {
        throw Fault("the filter 'groupby' needs an attribute")
      }
      let fallback = given.value(1, "default") ?? .none
      let folds = !flag(2, "case_sensitive", false)
      let items = try elements(of: value).map { item in
        let key = try path(attribute, of: item, else: fallback)
        return (key: key, folded: Self.folded(key, folds), item: item)
      }
      var groups: [(key: Value, folded: Value, items: [Value])] = []
      for (key, folded, item) in try sorted(items, by: { $0.folded }) {
        if let last = groups.last, try last.folded.equals(folded) {
          groups[groups.count - 1].items.append(item)
        } else {
          groups.append((key, folded, [item]))
        }
      }
      return .list(
        try TemplateList(
          groups.map { .list(try TemplateList([$0.key, .list(TemplateList($0.items))], .group)) }))
    case "batch":
      guard let count = given.value(0, "linecount")?.index, (1...100_000).contains(count) else {
        throw Fault("the filter 'batch' needs a number of items")
      }
      let items = try elements(of: value)
      return try TemplateList.iterator(
        stride(from: 0, to: items.count, by: count).map { begin in
          var row = Array(items[begin..<min(begin + count, items.count)])
          if let fill = given.value(1, "fill_with"), !fill.isNone {
            try spend(count - row.count)
            row += [Value](repeating: fill, count: count - row.count)
          }
          return .list(try TemplateList(row))
        })
    case "slice":
      guard let count = given.value(0, "slices")?.index, (1...100_000).contains(count) else {
        throw Fault("the filter 'slice' needs a number of slices")
      }
      let items = try elements(of: value)
      let (each, longer) = items.count.quotientAndRemainder(dividingBy: count)
      var begin = 0
      return try TemplateList.iterator(
        (0..<count).map { number in
          var part = Array(items[begin..<begin + each + (number < longer ? 1 : 0)])
          begin += part.count
          if let fill = given.value(1, "fill_with"), !fill.isNone, number >= longer { part.append(fill) }
          return .list(try TemplateList(part))
        })
    case "map": return try mapped(value, given)
    case "select", "reject", "selectattr", "rejectattr": return try selected(name, value, given)
    default: throw Fault.unsupported("the filter '\(name)'")
    }
  }

  private func pairs(_ dictionary: TemplateDictionary) throws -> [Value] {
    try spend(dictionary.count)
    return try dictionary.members.map { .list(try TemplateList([$0.key, $0.value], .tuple)) }
  }

  func length(of value: Value) throws -> Int {
    switch value {
    case .string(let text):
      try spend(text.utf8.count / 16)
      return text.unicodeScalars.count
    case .list(let list) where !list.isIterator: return list.items.count
    case .dictionary(let dictionary): return dictionary.count
    case .undefined: return 0
    default: throw Fault("object of type '\(value.typeName)' has no len()")
    }
  }

  /// Elements in the order of their keys, equal ones as they came.
  func sorted<Item>(_ items: [Item], reverse: Bool = false, by key: (Item) throws -> Value) throws -> [Item] {
    let keyed = try items.map { (key: try key($0), item: $0) }
    try spend(items.count * 8)
    return try keyed.enumerated().sorted { left, right in
      let (first, second) = reverse ? (right, left) : (left, right)
      if try isLess(first.element.key, second.element.key) { return true }
      if try isLess(second.element.key, first.element.key) { return false }
      return left.offset < right.offset
    }.map(\.element.item)
  }

  /// What is compared without regard to case, unless `folds` is false.
  private static func folded(_ value: Value, _ folds: Bool) -> Value {
    if folds, case .string(let text) = value { .string(Text.lowercased(text)) } else { value }
  }

  private func key(_ attribute: Value?, of item: Value) throws -> Value {
    guard let attribute, attribute.isTrue || attribute.index != nil else { return item }
    return try path(attribute, of: item)
  }

  /// The item of a key, or of several with dots between, each of what the last one gave; `fallback` where there is none.
  private func path(_ path: Value, of value: Value, else fallback: Value = .none) throws -> Value {
    var keys = [path]
    if case .string(let text) = path {
      keys = text.split(separator: ".", omittingEmptySubsequences: false).map { part in
        let isNumber = !part.isEmpty && part.utf8.allSatisfy { (48...57).contains($0) }
        return (isNumber ? Int(part) : nil).map { .int($0) } ?? .string(String(part))
      }
    }
    return try keys.reduce(value) { value, key in
      let found = try item(key, of: value)
      if found.isUndefined, case .none = fallback { return found }
      return found.isUndefined ? fallback : found
    }
  }

  private func mapped(_ value: Value, _ given: Given) throws -> Value {
    if given.positional.isEmpty, let attribute = given.named.first(where: { $0.name == "attribute" })?.value {
      try given.check("the filter 'map'", ["", "attribute", "default"])
      let fallback = given.named.first { $0.name == "default" }?.value ?? .none
      return try TemplateList.iterator(
        elements(of: value).map { try path(attribute, of: $0, else: fallback) })
    }
    guard case .string(let name)? = given.positional.first else {
      throw Fault("map requires a filter argument")
    }
    let rest = Given(positional: Array(given.positional.dropFirst()), named: given.named)
    return try TemplateList.iterator(elements(of: value).map { try filter(name, $0, rest) })
  }

  private func selected(_ filter: String, _ value: Value, _ given: Given) throws -> Value {
    var arguments = given.positional[...]
    var attribute: Value?
    if filter.hasSuffix("attr") {
      attribute = arguments.popFirst()
      if attribute == nil { throw Fault("Missing parameter for attribute name") }
    }
    let wanted = filter.hasPrefix("select")
    let test = arguments.popFirst()
    let rest = Given(positional: Array(arguments), named: given.named)
    return try TemplateList.iterator(
      elements(of: value).filter { item in
        let subject = try attribute.map { try path($0, of: item) } ?? item
        guard let test else { return subject.isTrue == wanted }
        guard case .string(let name) = test else { throw Fault("a test's name must be a string") }
        return try self.test(name, subject, rest) == wanted
      })
  }
}
