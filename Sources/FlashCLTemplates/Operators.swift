/// Python's operators.
extension Renderer {
  func unary(_ sign: String, _ value: Value) throws -> Value {
    if sign == "not" { return .bool(!value.isTrue) }
    if case .undefined(let reason) = value { throw Fault(reason) }
    switch value.number {
    case .int(let number)?:
      guard sign == "-" else { return .int(number) }
      let (result, overflow) = (0).subtractingReportingOverflow(number)
      if overflow { throw tooLarge }
      return .int(result)
    case .double(let number)?: return .double(sign == "-" ? -number : number)
    case nil: throw Fault("bad operand type for unary \(sign): '\(value.typeName)'")
    }
  }

  private var tooLarge: Fault { .unsupported("a whole number beyond 64 bits") }

  func binary(_ operation: String, _ left: Value, _ right: Value) throws -> Value {
    if operation == "%", case .string(let format) = left { return .string(try percents(format, right)) }
    for operand in [left, right] {
      if case .undefined(let reason) = operand { throw Fault(reason) }
    }
    if let a = left.number, let b = right.number {
      if case (.int(let a), .int(let b)) = (a, b) { return try whole(operation, a, b) }
      return try broken(operation, a.double, b.double)
    }
    switch (operation, left, right) {
    case ("+", .string(let a), .string(let b)): return .string(try checked(a + b))
    case ("+", .list(let a), .list(let b)) where a.isList && b.isList || a.isTuple && b.isTuple:
      try spend(a.items.count + b.items.count)
      return .list(try TemplateList(a.items + b.items, a.isList ? .list : .tuple))
    case ("*", .string(let text), _) where right.index != nil,
      ("*", _, .string(let text)) where left.index != nil:
      let count = max(right.index ?? left.index ?? 0, 0)
      guard count < 1 << 32, text.utf8.count < 1 << 30 else { throw Fault("the text is too long", .limit) }
      try spend(count * text.utf8.count / 16)
      return .string(try checked(String(repeating: text, count: text.isEmpty ? 0 : count)))
    case ("*", .list(let list), _) where right.index != nil && (list.isList || list.isTuple),
      ("*", _, .list(let list)) where left.index != nil && (list.isList || list.isTuple):
      let count = max(right.index ?? left.index ?? 0, 0)
      guard count < 1 << 20 else { throw Fault("the list is too long", .limit) }
      try spend(count * list.items.count)
      let items = (0..<(list.items.isEmpty ? 0 : count)).flatMap { _ in list.items }
      return .list(try TemplateList(items, list.isList ? .list : .tuple))
    default:
      throw Fault(
        "unsupported operand type(s) for \(operation): '\(left.typeName)' and '\(right.typeName)'")
    }
  }

  private func whole(_ operation: String, _ a: Int, _ b: Int) throws -> Value {
    let result: (Int, Bool)
    switch operation {
    case "+": result = a.addingReportingOverflow(b)
    case "-": result = a.subtractingReportingOverflow(b)
    case "*": result = a.multipliedReportingOverflow(by: b)
    case "/":
      // Beyond 2⁵³ Python divides the whole numbers themselves.
      guard a.magnitude <= 1 << 53, b.magnitude <= 1 << 53 else { throw tooLarge }
      return try broken("/", Double(a), Double(b))
    case "//", "%":
      guard b != 0 else { throw Fault("integer division or modulo by zero") }
      guard b != -1 else {
        return operation == "%" ? .int(0) : try unary("-", .int(a))
      }
      let (quotient, rest) = a.quotientAndRemainder(dividingBy: b)
      let isBelow = rest != 0 && (rest < 0) != (b < 0)
      return .int(operation == "//" ? quotient - (isBelow ? 1 : 0) : rest + (isBelow ? b : 0))
    case "**":
      guard b >= 0 else { throw Fault.unsupported("a negative power") }
      var (power, overflow) = (1, false)
      guard b <= 64 || (-1...1).contains(a) else { throw tooLarge }
      for _ in 0..<(b <= 64 ? b : b % 2 + 2) where !overflow {
        (power, overflow) = power.multipliedReportingOverflow(by: a)
      }
      result = (power, overflow)
    default: throw Fault.unsupported("the operator '\(operation)'")
    }
    if result.1 { throw tooLarge }
    return .int(result.0)
  }

  private func broken(_ operation: String, _ a: Double, _ b: Double) throws -> Value {
    switch operation {
    case "+": return .double(a + b)
    case "-": return .double(a - b)
    case "*": return .double(a * b)
    case "/":
      guard b != 0 else { throw Fault("division by zero") }
      return .double(a / b)
    case "//", "%":
      guard b != 0 else { throw Fault("float floor division or modulo by zero") }
      var rest = a.truncatingRemainder(dividingBy: b)
      var quotient = (a - rest) / b
      if rest != 0, (rest < 0) != (b < 0) { (rest, quotient) = (rest + b, quotient - 1) }
      return .double(operation == "%" ? rest : quotient.rounded())
    default: throw Fault.unsupported("the operator '\(operation)' of fractions")
    }
  }

  // MARK: Comparisons

  func compare(_ operation: String, _ left: Value, _ right: Value) throws -> Bool {
    switch operation {
    case "==": return try left.equals(right)
    case "!=": return try !left.equals(right)
    case "in": return try contains(right, left)
    case "not in": return try !contains(right, left)
    case "<": return try isLess(left, right, "<")
    case ">": return try isLess(right, left, ">")
    case "<=": return try isLess(left, right, "<=", orEqual: true)
    default: return try isLess(right, left, ">=", orEqual: true)
    }
  }

  func isLess(_ left: Value, _ right: Value, _ operation: String = "<", orEqual: Bool = false) throws -> Bool
  {
    for operand in [left, right] {
      if case .undefined(let reason) = operand { throw Fault(reason) }
    }
    if let a = left.number, let b = right.number { return a < b || orEqual && a == b }
    switch (left, right) {
    case (.string(let a), .string(let b)):
      // UTF-8 has the order of code points.
      return a.utf8.lexicographicallyPrecedes(b.utf8) || orEqual && a.utf8.elementsEqual(b.utf8)
    case (.list(let a), .list(let b)) where a.isList && b.isList || a.isTuple && b.isTuple:
      for (left, right) in zip(a.items, b.items) where try !left.equals(right) {
        return try isLess(left, right, operation)
      }
      return a.items.count < b.items.count || orEqual && a.items.count == b.items.count
    default:
      throw Fault("'\(operation)' not supported between '\(left.typeName)' and '\(right.typeName)'")
    }
  }

  func contains(_ container: Value, _ value: Value) throws -> Bool {
    switch container {
    case .string(let text):
      guard case .string(let part) = value else {
        if case .undefined(let reason) = value { throw Fault("'in <string>' requires string: \(reason)") }
        throw Fault("'in <string>' requires string as left operand, not \(value.typeName)")
      }
      try spend((text.utf8.count + part.utf8.count) / 16)
      return Array(text.utf8).firstRange(of: Array(part.utf8), from: 0) != nil
    case .dictionary(let dictionary): return try dictionary.value(of: value) != nil
    case .list, .undefined:
      for item in try elements(of: container) where try item.equals(value) { return true }
      return false
    default: throw Fault("argument of type '\(container.typeName)' is not iterable")
    }
  }
}

extension Array where Element: Equatable {
  /// The first occurrence of `part` that begins at `start` or later; an empty part is found at once.
  func firstRange(of part: [Element], from start: Int) -> Range<Int>? {
    guard start + part.count <= count else { return nil }
    guard let first = part.first else { return start..<start }
    for begin in start...(count - part.count) where self[begin] == first {
      if self[begin..<begin + part.count].elementsEqual(part) { return begin..<begin + part.count }
    }
    return nil
  }
}
