/// Expressions, from the loosest binding to the tightest: choice, or, and, not, comparison, sum, `~`, product, power, sign,
/// and then what follows a primary: attributes, items, calls, filters and tests.
extension Parser {
  func node(_ kind: Expression.Kind, at place: Place, over parts: [Expression] = []) throws
    -> Expression
  {
    let depth = 1 + (parts.map(\.depth).max() ?? 0)
    guard depth <= Self.depthLimit else {
      throw Fault("an expression of more than \(Self.depthLimit) levels", .limit).located(at: place)
    }
    return Expression(kind: kind, place: place, depth: depth)
  }

  /// An expression, or several with commas between, which are a tuple.
  mutating func tuple(withChoice: Bool = true, inParentheses: Bool = false) throws -> Expression {
    let place = token.place
    var items: [Expression] = []
    var isTuple = false
    while true {
      if items.count > 0 || inParentheses, endsTuple { break }
      items.append(try withChoice ? expression() : disjunction())
      guard skip(",") else { break }
      isTuple = true
    }
    if !isTuple, let only = items.first { return only }
    return try node(.list(items, isTuple: true), at: place, over: items)
  }

  private var endsTuple: Bool {
    switch token.kind {
    case .outputEnd, .blockEnd, .symbol(")"), .name("in"): true
    default: false
    }
  }

  mutating func expression() throws -> Expression {
    try nested { parser in
      var value = try parser.disjunction()
      while parser.token.kind == .name("if") {
        let place = parser.token.place
        parser.advance()
        let test = try parser.disjunction()
        let no = parser.skip(.name("else")) ? try parser.expression() : nil
        value = try parser.node(
          .choice(test: test, yes: value, no: no), at: place, over: [value, test] + (no.map { [$0] } ?? []))
      }
      return value
    }
  }

  /// A chain of operators that bind alike, from left to right.
  private mutating func chain(
    _ operators: [Token.Kind], _ operand: (inout Self) throws -> Expression
  ) throws -> Expression {
    var left = try operand(&self)
    while operators.contains(token.kind) {
      let operation = token
      advance()
      let right = try operand(&self)
      let name: String
      switch operation.kind {
      case .symbol(let text), .name(let text): name = text
      default: throw failure("unexpected \(operation.told)", at: operation.place)
      }
      left = try node(.binary(name, left, right), at: operation.place, over: [left, right])
    }
    return left
  }

  private mutating func disjunction() throws -> Expression {
    try chain([.name("or")]) { parser in
      try parser.chain([.name("and")]) { try $0.negation() }
    }
  }

  private mutating func negation() throws -> Expression {
    let place = token.place
    guard token.kind == .name("not") else { return try comparison() }
    advance()
    return try nested { parser in
      let operand = try parser.negation()
      return try parser.node(.unary("not", operand), at: place, over: [operand])
    }
  }

  private mutating func comparison() throws -> Expression {
    let first = try sum()
    let place = token.place
    var rest: [(operation: String, operand: Expression)] = []
    while true {
      var operation: String?
      switch token.kind {
      case .symbol(let symbol) where ["==", "!=", "<", "<=", ">", ">="].contains(symbol): operation = symbol
      case .name("in"): operation = "in"
      case .name("not") where next.kind == .name("in"):
        advance()
        operation = "not in"
      default: break
      }
      guard let operation else { break }
      advance()
      rest.append((operation, try sum()))
    }
    if rest.isEmpty { return first }
    return try node(.comparison(first, rest), at: place, over: [first] + rest.map(\.operand))
  }

  private mutating func sum() throws -> Expression {
    try chain([.symbol("+"), .symbol("-")]) { try $0.concatenation() }
  }

  private mutating func concatenation() throws -> Expression {
    let place = token.place
    var parts = [try product()]
    while skip("~") { parts.append(try product()) }
    return parts.count == 1 ? parts[0] : try node(.concatenation(parts), at: place, over: parts)
  }

  private mutating func product() throws -> Expression {
    try chain(["*", "/", "//", "%"].map { .symbol($0) }) { parser in
      try parser.chain([.symbol("**")]) { try $0.signed() }
    }
  }

  private mutating func signed(withFilters: Bool = true) throws -> Expression {
    let place = token.place
    var value: Expression
    if case .symbol(let sign) = token.kind, sign == "-" || sign == "+" {
      advance()
      let operand = try nested { try $0.signed(withFilters: false) }
      value = try node(.unary(sign, operand), at: place, over: [operand])
    } else {
      value = try primary()
    }
    value = try postfix(value)
    return withFilters ? try applications(value) : value
  }

  mutating func primary() throws -> Expression {
    let place = token.place
    switch token.kind {
    case .name(let name):
      advance()
      switch name {
      case "true", "True": return try node(.literal(.bool(true)), at: place)
      case "false", "False": return try node(.literal(.bool(false)), at: place)
      case "none", "None": return try node(.literal(.none), at: place)
      default:
        reads(name)
        return try node(.name(name), at: place)
      }
    case .string(var text):
      advance()
      while case .string(let more) = token.kind {
        text += more
        advance()
      }
      return try node(.literal(.string(text)), at: place)
    case .integer(let value):
      advance()
      return try node(.literal(.int(value)), at: place)
    case .float(let value):
      advance()
      return try node(.literal(.double(value)), at: place)
    case .symbol("("):
      advance()
      let value = try nested { try $0.tuple(inParentheses: true) }
      try expect(")")
      return value
    case .symbol("["):
      advance()
      let items = try list(until: "]") { try $0.expression() }
      return try node(.list(items, isTuple: false), at: place, over: items)
    case .symbol("{"):
      advance()
      let members = try list(until: "}") { parser in
        let key = try parser.expression()
        try parser.expect(":")
        return (key: key, value: try parser.expression())
      }
      return try node(.dictionary(members), at: place, over: members.flatMap { [$0.key, $0.value] })
    default:
      throw failure("expected an expression, found \(token.told)")
    }
  }

  private mutating func list<Item>(until end: String, _ item: (inout Self) throws -> Item) throws -> [Item] {
    var items: [Item] = []
    while !skip(end) {
      if !items.isEmpty {
        try expect(",")
        if skip(end) { break }
      }
      items.append(try item(&self))
    }
    return items
  }
}
