/// Recursive descent over tokens: statements here, expressions in an extension.
struct Parser {
  private let tokens: [Token]
  private var position = 0
  /// Statements and brackets inside each other.
  private var nesting = 0
  /// Loops around this place that `break` could leave.
  private var loops = 0
  /// Loops around this place, out of macros too.
  private var allLoops = 0
  /// For each macro around this place which of `MacroDefinition.specials` it reads, and which it has assigned before.
  var specials: [(read: Set<String>, assigned: Set<String>)] = []
  /// The names of each body around this place, the innermost last.
  var names = [Body.Names()]

  static let nestingLimit = 100
  /// Expressions inside each other; a chain of additions counts each.
  static let depthLimit = 250

  init(_ tokens: [Token]) { self.tokens = tokens }

  var token: Token { tokens[min(position, tokens.count - 1)] }
  var next: Token { tokens[min(position + 1, tokens.count - 1)] }

  mutating func advance() { position += 1 }

  func failure(_ message: String, at place: Place? = nil) -> TemplateError {
    Fault(message, .syntax).located(at: place ?? token.place)
  }

  func unsupported(_ what: String) -> TemplateError { Fault.unsupported(what).located(at: token.place) }

  mutating func skip(_ kind: Token.Kind) -> Bool {
    guard token.kind == kind else { return false }
    advance()
    return true
  }

  mutating func skip(_ symbol: String) -> Bool { skip(.symbol(symbol)) }

  mutating func expect(_ kind: Token.Kind) throws {
    guard !skip(kind) else { return }
    throw failure("expected \(Token(kind: kind, place: token.place).told), found \(token.told)")
  }

  mutating func expect(_ symbol: String) throws { try expect(.symbol(symbol)) }

  mutating func name() throws -> String {
    guard case .name(let name) = token.kind else { throw failure("expected a name, found \(token.told)") }
    advance()
    return name
  }

  mutating func nested<Result>(_ body: (inout Self) throws -> Result) throws -> Result {
    nesting += 1
    defer { nesting -= 1 }
    guard nesting <= Self.nestingLimit else {
      throw Fault("nested deeper than \(Self.nestingLimit)", .limit).located(at: token.place)
    }
    return try body(&self)
  }

  // MARK: - Statements

  mutating func template() throws -> Body {
    let body = try statements(until: [])
    guard token.kind == .end else { throw failure("unexpected \(next.told)", at: next.place) }
    return Body(statements: body, names: names[0])
  }

  /// What `statements` takes, with variables of its own, of which it is given `parameters`.
  mutating func body(
    _ parameters: Set<String> = [], _ statements: (inout Self) throws -> [Statement]
  ) throws -> Body {
    names.append(Body.Names(all: parameters))
    let body = try statements(&self)
    return Body(statements: body, names: names.removeLast())
  }

  mutating func stores(_ target: Target) {
    switch target {
    case .name(let name): names[names.count - 1].assign(name)
    case .attribute(let name, _): names[names.count - 1].all.insert(name)
    case .tuple(let parts): for part in parts { stores(part) }
    }
  }

  /// The statements up to a tag that begins with one of `ends`, whose name is then the current token.
  private mutating func statements(until ends: Set<String>) throws -> [Statement] {
    try nested { parser in
      var body: [Statement] = []
      let begin = parser.token.place
      while true {
        let place = parser.token.place
        switch parser.token.kind {
        case .text(let text):
          parser.advance()
          body.append(Statement(kind: .text(text), place: place))
        case .outputBegin:
          parser.advance()
          let value = try parser.tuple()
          try parser.expect(.outputEnd)
          body.append(Statement(kind: .output(value), place: place))
        case .blockBegin:
          if case .name(let name) = parser.next.kind, ends.contains(name) {
            parser.advance()
            return body
          }
          if ends.isEmpty, case .name(let name) = parser.next.kind,
            name.hasPrefix("end") || name == "else" || name == "elif"
          {
            return body
          }
          parser.advance()
          if let statement = try parser.statement() { body.append(statement) }
        default:
          guard ends.isEmpty else {
            throw parser.failure("there is no '\(ends.sorted().joined(separator: "' or '"))'", at: begin)
          }
          return body
        }
      }
    }
  }

  /// The statements up to `{% end %}`, whose tag is taken too.
  mutating func statements(until end: String) throws -> [Statement] {
    let body = try statements(until: [end])
    advance()
    try expect(.blockEnd)
    return body
  }

  /// A statement from its name on.
  private mutating func statement() throws -> Statement? {
    let place = token.place
    let kind: Statement.Kind
    switch try name() {
    case "if": kind = try condition()
    case "for": kind = try loop()
    case "set": kind = try assignment()
    case "macro": kind = try macro()
    case "call": kind = try callBlock()
    case "filter": kind = try filterBlock()
    case "with": kind = try withBlock()
    case "generation":
      try expect(.blockEnd)
      kind = .scope(try body { try $0.outsideLoops { try $0.statements(until: "endgeneration") } })
    case "break", "continue":
      guard loops > 0 else { throw failure("no loop is around this", at: place) }
      guard case .name(let word) = tokens[position - 1].kind else { return nil }
      try expect(.blockEnd)
      kind = word == "break" ? .leave : .skip
    case let other:
      let known = [
        "if", "for", "set", "macro", "call", "filter", "with", "break", "continue", "generation", "raw",
      ]
      throw Fault(
        "the tag '\(other)' is not supported; known: \(known.joined(separator: ", "))", .unsupported
      ).located(at: place)
    }
    return Statement(kind: kind, place: place)
  }

  mutating func outsideLoops<Result>(_ body: (inout Self) throws -> Result) throws -> Result {
    let around = loops
    loops = 0
    defer { loops = around }
    return try body(&self)
  }

  private mutating func condition() throws -> Statement.Kind {
    var branches: [(test: Expression, body: [Statement])] = []
    while true {
      let test = try tuple(withChoice: false)
      try expect(.blockEnd)
      names[names.count - 1].conditions += 1
      branches.append((test, try statements(until: ["elif", "else", "endif"])))
      names[names.count - 1].conditions -= 1
      switch try name() {
      case "elif": continue
      case "else":
        try expect(.blockEnd)
        names[names.count - 1].conditions += 1
        defer { names[names.count - 1].conditions -= 1 }
        return .condition(branches, otherwise: try statements(until: "endif"))
      default:
        try expect(.blockEnd)
        return .condition(branches, otherwise: [])
      }
    }
  }

  private mutating func loop() throws -> Statement.Kind {
    let target = try target(endsAtIn: true)
    try expect(.name("in"))
    let source = try tuple(withChoice: false)
    var test: Expression?
    if skip(.name("if")) {
      names.append(Body.Names())  // the loop's target is no name of the body around
      test = try expression()
      names.removeLast()
    }
    let isRecursive = skip(.name("recursive"))
    try expect(.blockEnd)
    loops += 1
    allLoops += 1
    let inner = try body(target.names) { try $0.statements(until: ["endfor", "else"]) }
    loops -= 1
    let hasElse = try name() == "else"
    try expect(.blockEnd)
    let otherwise = try body { parser in
      guard hasElse else { return [] }
      guard isRecursive else { return try parser.statements(until: "endfor") }
      return try parser.outsideLoops { try $0.statements(until: "endfor") }
    }
    allLoops -= 1
    return .loop(
      Loop(
        target: target, source: source, test: test, isRecursive: isRecursive, body: inner,
        otherwise: otherwise))
  }

  private mutating func assignment() throws -> Statement.Kind {
    let target = try target(endsAtIn: false)
    if skip("=") {
      let value = try tuple()
      try expect(.blockEnd)
      stores(target)
      return .set(target, value)
    }
    stores(target)
    var filters: [Application] = []
    while skip("|") { filters.append(try filterApplication()) }
    try expect(.blockEnd)
    return .capture(target, filters, try body { try $0.statements(until: "endset") })
  }

  /// A name, `namespace.attribute`, or several with commas between.
  mutating func target(endsAtIn: Bool) throws -> Target {
    var parts: [Target] = []
    var isTuple = false
    repeat {
      if !parts.isEmpty, token.kind == .name("in") || token.kind == .symbol("=") { break }
      if skip("(") {
        parts.append(try nested { try $0.target(endsAtIn: endsAtIn) })
        try expect(")")
      } else {
        let place = token.place
        let first = try name()
        if ["true", "false", "none", "True", "False", "None"].contains(first) {
          throw failure("nothing can be assigned to '\(first)'", at: place)
        }
        if first == "loop", allLoops > 0 || endsAtIn {
          throw failure("nothing can be assigned to 'loop' in a loop", at: place)
        }
        assigns(first)
        if !endsAtIn, skip(".") {
          parts.append(.attribute(of: first, try name()))
        } else {
          parts.append(.name(first))
        }
      }
      if token.kind == .symbol(",") { isTuple = true }
    } while skip(",")
    return isTuple ? .tuple(parts) : parts[0]
  }
}
