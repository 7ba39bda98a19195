/// `namespace(…)`: the only thing whose parts can be assigned.
final class Namespace: TemplateObject {
  var values: [String: Value]

  init(_ values: [String: Value]) { self.values = values }

  override var typeName: String { "Namespace" }
  override func attribute(_ name: String) -> Value? { values[name] }
}

/// `loop`: where a loop is.
final class LoopState: TemplateObject {
  private let source: [Value]
  private var isWanted: ((Value) throws -> Bool)?
  /// From 0, the outermost level of a recursive loop.
  private let depth: Int
  /// The text of the loop over something else, one level deeper.
  var recurse: ((Value) throws -> String)?
  private var position = 0
  /// Elements found wanted before their turn.
  private var ahead: [Value] = []
  private var index = -1
  private var previous, current: Value?
  private var lastChanged: [Value]?

  init(_ source: [Value], depth: Int, where isWanted: @escaping (Value) throws -> Bool) {
    self.source = source
    self.depth = depth
    self.isWanted = isWanted
  }

  override var typeName: String { "LoopContext" }

  func close() { (isWanted, recurse) = (nil, nil) }

  private func find() throws -> Value? {
    while position < source.count {
      position += 1
      if try isWanted?(source[position - 1]) ?? true { return source[position - 1] }
    }
    return nil
  }

  /// The next element, or nil at the end.
  func advance() throws -> Value? {
    guard let next = try ahead.isEmpty ? find() : ahead.removeFirst() else { return nil }
    (previous, current) = (current, next)
    index += 1
    return next
  }

  private func peek(all: Bool) throws -> Value? {
    while all || ahead.isEmpty, let next = try find() { ahead.append(next) }
    return ahead.first
  }

  private func length() throws -> Int {
    _ = try peek(all: true)
    return index + 1 + ahead.count
  }

  override func attribute(_ name: String) throws -> Value? {
    switch name {
    case "index": .int(index + 1)
    case "index0": .int(index)
    case "revindex": .int(try length() - index)
    case "revindex0": .int(try length() - index - 1)
    case "first": .bool(index == 0)
    case "last": .bool(try peek(all: false) == nil)
    case "length": .int(try length())
    case "depth": .int(depth + 1)
    case "depth0": .int(depth)
    case "previtem": previous ?? .undefined("there is no previous item")
    case "nextitem": try peek(all: false) ?? .undefined("there is no next item")
    case "cycle", "changed": .object(Method(name, of: .object(self)))
    default: nil
    }
  }

  func call(_ name: String, _ arguments: [Value]) throws -> Value {
    if name == "cycle" {
      guard !arguments.isEmpty else { throw Fault("no items for cycling given") }
      return arguments[index % arguments.count]
    }
    defer { lastChanged = arguments }
    guard let last = lastChanged, last.count == arguments.count else { return .bool(true) }
    for (old, new) in zip(last, arguments) where try !old.equals(new) { return .bool(true) }
    return .bool(false)
  }
}

/// A macro, with the variables around its definition.
final class Macro: TemplateObject {
  let definition: MacroDefinition
  let scope: Renderer.Scope

  init(_ definition: MacroDefinition, in scope: Renderer.Scope) {
    self.definition = definition
    self.scope = scope
  }

  override var typeName: String { "Macro" }
}

/// A method of a value.
final class Method: TemplateObject {
  let name: String
  let receiver: Value

  init(_ name: String, of receiver: Value) {
    self.name = name
    self.receiver = receiver
  }

  override var typeName: String { "builtin_function_or_method" }
}

/// A function that every template has.
final class GlobalFunction: TemplateObject {
  static let names = [
    "range", "dict", "namespace", "raise_exception", "strftime_now", "lipsum", "cycler", "joiner",
  ]
  let name: String

  init(_ name: String) { self.name = name }

  override var typeName: String { "function" }
}
