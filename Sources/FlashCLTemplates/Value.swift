/// A value in a template, with Python's meaning of equality, truth and order.
public enum TemplateValue {
  case none
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
  case list(TemplateList)
  case dictionary(TemplateDictionary)
  /// What is not there, told in words; printed as nothing.
  case undefined(String)
  /// Namespaces, macros, methods and `loop`: what only templates make.
  case object(TemplateObject)

  /// A list of values.
  public init(_ items: [TemplateValue]) throws { self = .list(try TemplateList(items)) }
}

typealias Value = TemplateValue

/// What a template makes that is no data.
public class TemplateObject {
  init() {}

  /// Python's name of the type, for messages.
  var typeName: String { "object" }

  /// The attribute of that name, or nil.
  func attribute(_ name: String) throws -> Value? { nil }
}

/// Elements in order: Python's lists and tuples, and what only loops go through.
public struct TemplateList {
  enum Kind {
    case list, tuple
    /// A tuple of `grouper` and `list`, as `groupby` makes it.
    case group
    /// Of numbers; and keys or items of a dictionary.
    case range, view
    /// The result of a lazy filter, which can be gone through once.
    case iterator(Spent)
  }

  /// Whether an iterator was gone through.
  final class Spent { var isSpent = false }

  let items: [TemplateValue]
  let kind: Kind
  let depth: Int

  /// Lists may lie this deep inside each other.
  static let depthLimit = 200

  init(_ items: [TemplateValue], _ kind: Kind = .list) throws {
    self.items = items
    self.kind = kind
    depth = try TemplateList.depth(over: items)
  }

  static func depth(over items: [TemplateValue]) throws -> Int {
    var depth = 1
    for item in items {
      switch item {
      case .list(let list): depth = max(depth, list.depth + 1)
      case .dictionary(let dictionary): depth = max(depth, dictionary.depth + 1)
      case .object(let object): throw Fault.unsupported("a \(object.typeName) inside a list or dictionary")
      default: break
      }
    }
    if depth > depthLimit { throw Fault("values lie deeper than \(depthLimit) inside each other", .limit) }
    return depth
  }

  static func iterator(_ items: [TemplateValue]) throws -> TemplateValue {
    .list(try TemplateList(items, .iterator(Spent())))
  }

  var typeName: String {
    switch kind {
    case .list: "list"
    case .tuple, .group: "tuple"
    case .range: "range"
    case .view: "dict view"
    case .iterator: "generator"
    }
  }

  /// True for what has places: not for views and iterators.
  var isIndexed: Bool {
    switch kind {
    case .list, .tuple, .group, .range: true
    case .view, .iterator: false
    }
  }

  var isIterator: Bool { if case .iterator = kind { true } else { false } }
  var isGroup: Bool { if case .group = kind { true } else { false } }
  var isTuple: Bool { if case .tuple = kind { true } else { isGroup } }
  var isList: Bool { if case .list = kind { true } else { false } }
}

/// Keys with values, in the order in which they came.
public struct TemplateDictionary {
  private(set) var keys: [TemplateValue] = []
  private(set) var values: [TemplateValue] = []
  private var places: [Key: Int] = [:]
  let depth: Int

  /// Of two equal keys the first stays, with the last one's value. Throws for keys that are lists or dictionaries.
  public init(_ members: [(key: TemplateValue, value: TemplateValue)]) throws {
    depth = try TemplateList.depth(over: members.map(\.value))
    for (key, value) in members {
      let wrapped = try Key(key)
      if let place = places[wrapped] {
        values[place] = value
      } else {
        places[wrapped] = keys.count
        keys.append(key)
        values.append(value)
      }
    }
  }

  var count: Int { keys.count }
  var members: [(key: TemplateValue, value: TemplateValue)] { Array(zip(keys, values)).map { ($0, $1) } }

  /// The value of a key, or nil; throws for what cannot be a key.
  func value(of key: TemplateValue) throws -> TemplateValue? { places[try Key(key)].map { values[$0] } }

  subscript(key: String) -> TemplateValue? { places[.text(Array(key.utf8))].map { values[$0] } }

  /// A key, equal as in Python: 1, 1.0 and True are one.
  private enum Key: Hashable {
    case text([UInt8])
    case number(Double)
    case large(Int)
    case none
    case tuple([Key])

    init(_ value: TemplateValue) throws {
      switch value {
      case .string(let text): self = .text(Array(text.utf8))
      case .bool(let flag): self = .number(flag ? 1 : 0)
      case .int(let number): self = Double(exactly: number).map { .number($0) } ?? .large(number)
      case .double(let number): self = .number(number)
      case .none: self = .none
      case .list(let list) where list.isTuple: self = .tuple(try list.items.map(Key.init))
      default: throw Fault("unhashable type: '\(value.typeName)'")
      }
    }
  }
}

// MARK: - Truth, names, equality

extension TemplateValue {
  var typeName: String {
    switch self {
    case .none: "NoneType"
    case .bool: "bool"
    case .int: "int"
    case .double: "float"
    case .string: "str"
    case .list(let list): list.typeName
    case .dictionary: "dict"
    case .undefined: "Undefined"
    case .object(let object): object.typeName
    }
  }

  var isTrue: Bool {
    switch self {
    case .none, .undefined: false
    case .bool(let flag): flag
    case .int(let number): number != 0
    case .double(let number): number != 0
    case .string(let text): !text.isEmpty
    case .list(let list): list.isIterator || !list.items.isEmpty
    case .dictionary(let dictionary): dictionary.count > 0
    case .object: true
    }
  }

  var isNone: Bool { if case .none = self { true } else { false } }
  var isUndefined: Bool { if case .undefined = self { true } else { false } }

  /// Python's `==`; throws for what is compared by identity there.
  func equals(_ other: TemplateValue) throws -> Bool {
    if let (a, b) = TemplateValue.numbers(self, other) { return a == b }
    switch (self, other) {
    case (.none, .none), (.undefined, .undefined): return true
    case (.string(let a), .string(let b)): return a.utf8.elementsEqual(b.utf8)
    case (.list(let a), .list(let b)):
      guard a.isIndexed && b.isIndexed else {
        throw Fault.unsupported("comparing a \(a.typeName) with a \(b.typeName)")
      }
      guard a.typeName == b.typeName else { return false }
      guard a.items.count == b.items.count else { return false }
      for (left, right) in zip(a.items, b.items) where try !left.equals(right) { return false }
      return true
    case (.dictionary(let a), .dictionary(let b)):
      guard a.count == b.count else { return false }
      for (key, value) in a.members {
        guard let own = try b.value(of: key), try own.equals(value) else { return false }
      }
      return true
    case (.object(let a), .object(let b)):
      if a === b { return true }
      throw Fault.unsupported("comparing a \(a.typeName) with a \(b.typeName)")
    default: return false
    }
  }

  /// Two numbers (or truth values), if both are.
  private static func numbers(_ a: TemplateValue, _ b: TemplateValue) -> (Number, Number)? {
    guard let a = a.number, let b = b.number else { return nil }
    return (a, b)
  }

  var number: Number? {
    switch self {
    case .bool(let flag): .int(flag ? 1 : 0)
    case .int(let value): .int(value)
    case .double(let value): .double(value)
    default: nil
    }
  }

  /// A whole number; true and false count as 1 and 0.
  var index: Int? { if case .int(let value)? = number { value } else { nil } }
}

/// A number, compared without loss.
enum Number: Equatable {
  case int(Int)
  case double(Double)

  var double: Double {
    switch self {
    case .int(let value): Double(value)
    case .double(let value): value
    }
  }

  static func == (a: Self, b: Self) -> Bool {
    switch (a, b) {
    case (.int(let a), .int(let b)): a == b
    case (.int(let a), .double(let b)), (.double(let b), .int(let a)): Int(exactly: b) == a
    case (.double(let a), .double(let b)): a == b
    }
  }

  static func < (a: Self, b: Self) -> Bool {
    switch (a, b) {
    case (.int(let a), .int(let b)): a < b
    // Beyond 2⁵³ a Double is whole, so that it compares as a whole number where it fits.
    case (.int(let a), .double(let b)):
      Int(exactly: b.rounded(.down)).map { b == b.rounded(.down) ? a < $0 : a <= $0 } ?? (Double(a) < b)
    case (.double(let a), .int(let b)):
      Int(exactly: a.rounded(.up)).map { a == a.rounded(.up) ? $0 < b : $0 <= b } ?? (a < Double(b))
    case (.double(let a), .double(let b)): a < b
    }
  }
}
