/// What follows a primary: attributes, items, slices, calls, filters and tests.
extension Parser {
  mutating func postfix(_ value: Expression) throws -> Expression {
    var value = value
    while true {
      let place = token.place
      if skip(".") {
        if case .integer(let index) = token.kind {
          advance()
          let key = try node(.literal(.int(index)), at: place)
          value = try node(.item(value, key), at: place, over: [value])
        } else {
          value = try node(.attribute(value, try name()), at: place, over: [value])
        }
      } else if skip("[") {
        value = try subscripted(value, at: place)
      } else if token.kind == .symbol("(") {
        value = try called(value)
      } else {
        return value
      }
    }
  }

  private mutating func called(_ value: Expression) throws -> Expression {
    let place = token.place
    let arguments = try arguments()
    return try node(.call(value, arguments), at: place, over: [value] + arguments.all)
  }

  private mutating func subscripted(_ value: Expression, at place: Place) throws -> Expression {
    var parts: [Expression?] = []
    var isSlice = false
    var current: Expression?
    while !skip("]") {
      if skip(":") {
        isSlice = true
        parts.append(current)
        current = nil
      } else if current == nil {
        current = try expression()
      } else {
        throw token.kind == .symbol(",")
          ? unsupported("an index of several parts") : failure("expected ']', found \(token.told)")
      }
    }
    guard isSlice else {
      guard let current else { throw failure("an index is missing", at: place) }
      return try node(.item(value, current), at: place, over: [value, current])
    }
    parts.append(current)
    guard parts.count <= 3 else { throw failure("a slice has at most three parts", at: place) }
    return try node(.slice(value, parts), at: place, over: [value] + parts.compactMap { $0 })
  }

  private mutating func arguments() throws -> Arguments {
    try expect("(")
    var arguments = Arguments()
    var isFirst = true
    while !skip(")") {
      if !isFirst {
        try expect(",")
        if skip(")") { break }
      }
      isFirst = false
      guard arguments.spreadNamed == nil else { throw failure("an argument after '**'") }
      if skip("**") {
        arguments.spreadNamed = try expression()
      } else if token.kind == .symbol("*") {
        guard arguments.spread == nil else { throw failure("a second argument with '*'") }
        advance()
        arguments.spread = try expression()
      } else if case .name(let name) = token.kind, next.kind == .symbol("=") {
        advance()
        advance()
        arguments.named.append((name, try expression()))
      } else {
        guard arguments.named.isEmpty, arguments.spread == nil else {
          throw failure("an argument without a name after one with a name or '*'")
        }
        arguments.positional.append(try expression())
      }
    }
    return arguments
  }

  mutating func applications(_ value: Expression) throws -> Expression {
    var value = value
    while true {
      let place = token.place
      if skip("|") {
        let filter = try filterApplication()
        value = try node(.filter(value, filter), at: place, over: [value] + filter.arguments.all)
      } else if skip(.name("is")) {
        let isNegated = skip(.name("not"))
        let test = try testApplication()
        value = try node(.test(value, test), at: place, over: [value] + test.arguments.all)
        if isNegated { value = try node(.unary("not", value), at: place, over: [value]) }
      } else if token.kind == .symbol("(") {
        value = try called(value)
      } else {
        return value
      }
    }
  }

  mutating func filterApplication() throws -> Application {
    let place = token.place
    let name = try name()
    let arguments = token.kind == .symbol("(") ? try arguments() : Arguments()
    return Application(name: name, arguments: arguments, place: place)
  }

  private mutating func testApplication() throws -> Application {
    let place = token.place
    var name = ""
    if case .symbol(let symbol) = token.kind { throw failure("expected a test, found '\(symbol)'") }
    name = try self.name()
    var arguments = Arguments()
    switch token.kind {
    case .symbol("("): arguments = try self.arguments()
    case .name("else"), .name("or"), .name("and"): break
    case .name("is"): throw failure("tests cannot be chained")
    case .name("if"), .name("in"), .name("not"): throw failure("unexpected \(token.told) after a test")
    case .name, .string, .integer, .float, .symbol("["), .symbol("{"):
      arguments.positional = [try postfix(primary())]
    default: break
    }
    return Application(name: name, arguments: arguments, place: place)
  }
}
