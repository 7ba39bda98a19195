/// Jinja's tests: what follows `is`.
extension Renderer {
  private static let tests: [String: Int] = [
    "boolean": 0, "callable": 0, "escaped": 0, "defined": 0, "divisibleby": 1, "eq": 1, "equalto": 1,
    "even": 0, "false": 0,
    "float": 0, "ge": 1, "greaterthan": 1, "gt": 1, "in": 1, "integer": 0, "iterable": 0, "le": 1,
    "lessthan": 1,
    "lower": 0, "lt": 1, "mapping": 0, "ne": 1, "none": 0, "number": 0, "odd": 0, "sameas": 1, "sequence": 0,
    "string": 0, "true": 0, "undefined": 0, "upper": 0, "==": 1, "!=": 1, "<": 1, "<=": 1, ">": 1, ">=": 1,
  ]

  private static let comparisons = [
    "eq": "==", "equalto": "==", "ne": "!=", "lt": "<", "lessthan": "<", "le": "<=", "gt": ">",
    "greaterthan": ">",
    "ge": ">=", "==": "==", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">=",
  ]

  func test(_ name: String, _ value: Value, _ given: Given) throws -> Bool {
    guard let count = Self.tests[name] else {
      let known = Self.tests.keys.sorted().joined(separator: ", ")
      throw Fault("the test '\(name)' is not supported; known: \(known)", .unsupported)
    }
    guard given.named.isEmpty, given.positional.count == count else {
      throw Fault("the test '\(name)' takes \(count) argument\(count == 1 ? "" : "s")")
    }
    if let operation = Self.comparisons[name] { return try compare(operation, value, given.positional[0]) }
    switch name {
    case "defined": return !value.isUndefined
    case "undefined": return value.isUndefined
    case "none": if case .none = value { return true }
    case "boolean": if case .bool = value { return true }
    case "true": if case .bool(true) = value { return true }
    case "false": if case .bool(false) = value { return true }
    case "integer": if case .int = value { return true }
    case "float": if case .double = value { return true }
    case "number": return value.number != nil
    case "string": if case .string = value { return true }
    case "mapping": if case .dictionary = value { return true }
    case "sequence":
      switch value {
      case .string, .dictionary, .undefined: return true
      case .list(let list): return list.isIndexed
      default: return false
      }
    case "iterable":
      switch value {
      case .string, .dictionary, .undefined, .list: return true
      case .object(let object): return object is LoopState
      default: return false
      }
    case "callable":
      switch value {
      case .object(let object):
        return object is Macro || object is Method || object is GlobalFunction || object is LoopState
      case .undefined: return true
      default: return false
      }
    case "odd", "even", "divisibleby":
      let divisor = name == "divisibleby" ? given.positional[0] : .int(2)
      let rest = try binary("%", value, divisor)
      return try rest.equals(.int(name == "odd" ? 1 : 0))
    case "lower": return try Text.isCased(text(of: value), \.isLowercase)
    case "upper": return try Text.isCased(text(of: value), \.isUppercase)
    case "in": return try contains(given.positional[0], value)
    case "sameas":
      switch (value, given.positional[0]) {
      case (.none, .none): return true
      case (.bool(let a), .bool(let b)): return a == b
      case (.none, _), (.bool, _), (_, .none), (_, .bool): return false
      default: throw Fault.unsupported("'sameas' of other things than true, false and none")
      }
    default: break
    }
    return false
  }
}
