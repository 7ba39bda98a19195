/// Expressions to values.
extension Renderer {
  func evaluate(_ expression: Expression) throws -> Value {
    try located(expression.place) {
      try spend()
      return try nested { try value(of: expression.kind) }
    }
  }

  private func value(of kind: Expression.Kind) throws -> Value {
    switch kind {
    case .literal(let literal): return value(of: literal)
    case .name(let name): return try variable(name)
    case .list(let items, let isTuple):
      return .list(try TemplateList(items.map(evaluate), isTuple ? .tuple : .list))
    case .dictionary(let members):
      return .dictionary(
        try TemplateDictionary(members.map { (key: try evaluate($0.key), value: try evaluate($0.value)) }))
    case .attribute(let object, let name): return try attribute(name, of: evaluate(object))
    case .item(let object, let key): return try item(evaluate(key), of: evaluate(object))
    case .slice(let object, let parts): return try slice(evaluate(object), parts)
    case .call(let function, let arguments): return try call(evaluate(function), values(of: arguments))
    case .filter(let operand, let filter): return try apply(filter, to: evaluate(operand))
    case .test(let operand, let test):
      let arguments = try values(of: test.arguments)
      let operand = try evaluate(operand)
      return try located(test.place) { .bool(try self.test(test.name, operand, arguments)) }
    case .unary(let sign, let operand): return try unary(sign, evaluate(operand))
    case .binary("and", let left, let right):
      let value = try evaluate(left)
      return value.isTrue ? try evaluate(right) : value
    case .binary("or", let left, let right):
      let value = try evaluate(left)
      return value.isTrue ? value : try evaluate(right)
    case .binary(let operation, let left, let right):
      return try binary(operation, evaluate(left), evaluate(right))
    case .concatenation(let parts): return .string(try checked(parts.map(printed).joined()))
    case .comparison(let first, let rest):
      var left = try evaluate(first)
      for (operation, operand) in rest {
        let right = try evaluate(operand)
        guard try compare(operation, left, right) else { return .bool(false) }
        left = right
      }
      return .bool(true)
    case .choice(let test, let yes, let no):
      if try evaluate(test).isTrue { return try evaluate(yes) }
      return try no.map(evaluate)
        ?? .undefined("the inline if-expression evaluated to false and no else section was defined")
    }
  }

  private func value(of literal: Literal) -> Value {
    switch literal {
    case .none: .none
    case .bool(let flag): .bool(flag)
    case .int(let number): .int(number)
    case .double(let number): .double(number)
    case .string(let text): .string(text)
    }
  }

  private func variable(_ name: String) throws -> Value {
    if let value = scope[name] { return value }
    if name == "self" || name == "super" {
      throw Fault.unsupported("the variable '\(name)'")
    }
    return .undefined("'\(name)' is undefined")
  }

  /// An expression's text where it is printed or joined: there `safe` changes nothing, and `escape` no more than characters.
  func printed(_ expression: Expression) throws -> String {
    if case .filter(let operand, let filter) = expression.kind, filter.arguments.all.isEmpty {
      if filter.name == "safe" { return try printed(operand) }
      if ["e", "escape"].contains(filter.name) {
        let value = try evaluate(operand)
        return try located(filter.place) { try checked(Text.escaped(text(of: value))) }
      }
    }
    let value = try evaluate(expression)
    return try located(expression.place) { try text(of: value) }
  }

  // MARK: - Parts of values

  /// The elements that a loop goes through: of a dictionary its keys, of a string its characters.
  func elements(of value: Value) throws -> [Value] {
    switch value {
    case .list(let list):
      try spend(list.items.count)
      if case .iterator(let state) = list.kind {
        if state.isSpent {
          throw Fault.unsupported("going twice through the result of a filter without 'list'")
        }
        state.isSpent = true
      }
      return list.items
    case .dictionary(let dictionary):
      try spend(dictionary.count)
      return dictionary.keys
    case .string(let text):
      try spend(text.utf8.count)
      return text.unicodeScalars.map { .string(String($0)) }
    case .undefined: return []
    default: throw Fault("'\(value.typeName)' object is not iterable")
    }
  }

  /// `value.name`: a method or attribute, else the item of that key.
  func attribute(_ name: String, of value: Value) throws -> Value {
    if let found = try method(name, of: value) { return found }
    switch value {
    case .undefined(let reason): throw Fault(reason)
    case .dictionary(let dictionary): if let found = dictionary[name] { return found }
    default: break
    }
    return missing(name, of: value)
  }

  private func missing(_ name: String, of value: Value) -> Value {
    if case .none = value { return .undefined("'None' has no attribute '\(name)'") }
    return .undefined("'\(value.typeName) object' has no attribute '\(name)'")
  }

  /// `value[key]`: the item of that key or place, else the attribute of that name.
  func item(_ key: Value, of value: Value) throws -> Value {
    switch value {
    case .undefined(let reason): throw Fault(reason)
    case .dictionary(let dictionary):
      switch key {
      case .list(let list) where !list.isTuple: break
      case .dictionary, .undefined, .object: break
      default: if let found = try dictionary.value(of: key) { return found }
      }
    case .list(let list) where list.isIndexed:
      if let index = key.index, let place = Self.place(index, in: list.items.count) {
        return list.items[place]
      }
    case .string(let text):
      if let index = key.index {
        try spend(text.utf8.count / 16)
        let scalars = text.unicodeScalars
        if let place = Self.place(index, in: scalars.count) {
          return .string(String(scalars[scalars.index(scalars.startIndex, offsetBy: place)]))
        }
      }
    default: break
    }
    if case .string(let name) = key {
      return try method(name, of: value) ?? missing(name, of: value)
    }
    return .undefined("'\(value.typeName) object' has no element \(try repr(key))")
  }

  private static func place(_ index: Int, in count: Int) -> Int? {
    let place = index < 0 ? index + count : index
    return (0..<count).contains(place) ? place : nil
  }

  private func slice(_ value: Value, _ parts: [Expression?]) throws -> Value {
    var bounds: [Int?] = []
    for part in parts {
      let bound = try part.map(evaluate) ?? .none
      if case .none = bound {
        bounds.append(nil)
      } else if let index = bound.index {
        bounds.append(index)
      } else {
        throw Fault("slice indices must be integers or None, not '\(bound.typeName)'")
      }
    }
    func places(_ count: Int) throws -> [Int] {
      let step = bounds.count > 2 ? bounds[2] ?? 1 : 1
      guard step != 0 else { throw Fault("slice step cannot be zero") }
      func bound(_ index: Int?, _ fallback: Int) -> Int {
        guard let index else { return fallback }
        let place = index < 0 ? index.addingReportingOverflow(count).partialValue : index
        return step > 0 ? min(max(place, 0), count) : min(max(place, -1), count - 1)
      }
      let start = bound(bounds[0], step > 0 ? 0 : count - 1)
      let end = bound(bounds[1], step > 0 ? count : -1)
      try spend(count / 4)
      return Array(stride(from: start, to: end, by: min(max(step, -count - 1), count + 1)))
    }
    switch value {
    case .string(let text):
      let scalars = Array(text.unicodeScalars)
      return .string(String(try places(scalars.count).lazy.map { scalars[$0] }))
    case .list(let list) where list.isIndexed:
      return .list(
        try TemplateList(places(list.items.count).map { list.items[$0] }, list.isGroup ? .tuple : list.kind))
    case .undefined(let reason): throw Fault(reason)
    default: throw Fault("'\(value.typeName)' object has no slices")
    }
  }

  // MARK: - Calls

  /// The values that a function, filter or test is given.
  struct Given {
    var positional: [Value] = []
    var named: [(name: String, value: Value)] = []

    var isEmpty: Bool { positional.isEmpty && named.isEmpty }

    mutating func add(_ name: String, _ value: Value) throws {
      guard !named.contains(where: { $0.name == name }) else { throw Fault("two values for '\(name)'") }
      named.append((name, value))
    }
  }

  func values(of arguments: Arguments) throws -> Given {
    var given = Given(positional: try arguments.positional.map(evaluate))
    if let list = arguments.spread { given.positional += try elements(of: evaluate(list)) }
    for (name, value) in arguments.named { try given.add(name, evaluate(value)) }
    if let value = try arguments.spreadNamed.map(evaluate) {
      guard case .dictionary(let dictionary) = value else {
        throw Fault("argument after ** must be a mapping, not \(value.typeName)")
      }
      for (key, value) in dictionary.members {
        guard case .string(let name) = key else { throw Fault("keywords must be strings") }
        try given.add(name, value)
      }
    }
    return given
  }

  func apply(_ filter: Application, to value: Value) throws -> Value {
    let arguments = try values(of: filter.arguments)
    return try located(filter.place) { try self.filter(filter.name, value, arguments) }
  }

  func call(_ function: Value, _ given: Given) throws -> Value {
    switch function {
    case .object(let macro as Macro): return try call(macro, given)
    case .object(let loop as LoopState):
      guard let recurse = loop.recurse else {
        throw Fault("The loop must have the 'recursive' marker to be called recursively.")
      }
      guard given.named.isEmpty, given.positional.count == 1 else {
        throw Fault("'loop' is called with what to go through")
      }
      return .string(try recurse(given.positional[0]))
    case .object(let function as GlobalFunction): return try call(function.name, given)
    case .object(let method as Method):
      if case .object(let loop as LoopState) = method.receiver {
        return try loop.call(method.name, given.positional)
      }
      return try call(method, given)
    case .undefined(let reason): throw Fault(reason)
    default: throw Fault("'\(function.typeName)' object is not callable")
    }
  }

  private func call(_ macro: Macro, _ given: Given) throws -> Value {
    let (name, parameters) = (macro.definition.name, macro.definition.parameters)
    let reads = macro.definition.reads
    var rest = given.named
    let inner = Scope(macro.scope, macro.definition.body)
    let text = try capture(in: inner) {
      for (place, parameter) in parameters.enumerated() {
        if place < given.positional.count {
          inner.variables[parameter.name] = given.positional[place]
        } else if let found = rest.firstIndex(where: { $0.name == parameter.name }) {
          inner.variables[parameter.name] = rest.remove(at: found).value
        } else {
          inner.variables[parameter.name] =
            try parameter.fallback.map(evaluate)
            ?? .undefined("parameter '\(parameter.name)' was not provided")
        }
      }
      if reads.contains("caller") {
        let caller = rest.firstIndex { $0.name == "caller" }.map { rest.remove(at: $0).value } ?? .none
        if case .none = caller {
          inner.variables["caller"] = .undefined("No caller defined")
        } else {
          inner.variables["caller"] = caller
        }
      }
      if reads.contains("kwargs") {
        inner.variables["kwargs"] = .dictionary(
          try TemplateDictionary(rest.map { (key: .string($0.name), value: $0.value) }))
      } else if let (other, _) = rest.first {
        throw Fault("macro '\(name)' takes no keyword argument '\(other)'")
      }
      let more = given.positional.dropFirst(parameters.count)
      if reads.contains("varargs") {
        inner.variables["varargs"] = .list(try TemplateList(Array(more), .tuple))
      } else if !more.isEmpty {
        throw Fault("macro '\(name)' takes not more than \(parameters.count) argument(s)")
      }
      return try run(macro.definition.body.statements)
    }
    return .string(text)
  }
}
