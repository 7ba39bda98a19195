/// Macros, and blocks whose body is given to something.
extension Parser {
  mutating func macro() throws -> Statement.Kind {
    let name = try name()
    assigns(name)
    stores(.name(name))
    names.append(Body.Names())
    let parameters = try signature()
    try expect(.blockEnd)
    return .macro(try definition(name, parameters, until: "endmacro"))
  }

  /// `(name, name=default, …)`
  private mutating func signature() throws -> [(name: String, fallback: Expression?)] {
    var parameters: [(name: String, fallback: Expression?)] = []
    try expect("(")
    while !skip(")") {
      if !parameters.isEmpty { try expect(",") }
      let place = token.place
      let parameter = try name()
      if MacroDefinition.specials.contains(parameter) {
        throw Fault.unsupported("a parameter '\(parameter)'").located(at: place)
      }
      if skip("=") {
        parameters.append((parameter, try expression()))
      } else {
        if parameters.last?.fallback != nil {
          throw failure("the parameter '\(parameter)' needs a default, as one before has")
        }
        parameters.append((parameter, nil))
      }
    }
    return parameters
  }

  /// A macro from its body on, whose names are begun.
  private mutating func definition(
    _ name: String, _ parameters: [(name: String, fallback: Expression?)], until end: String
  ) throws -> MacroDefinition {
    names[names.count - 1].all.formUnion(parameters.map(\.name))
    specials.append((read: [], assigned: []))
    let body = try outsideLoops { try $0.statements(until: end) }
    return MacroDefinition(
      name: name, parameters: parameters, reads: specials.removeLast().read,
      body: Body(statements: body, names: names.removeLast()))
  }

  /// Told of each name that is read, in the order of the template.
  mutating func reads(_ name: String) {
    names[names.count - 1].all.insert(name)
    guard MacroDefinition.specials.contains(name) else { return }
    for index in specials.indices where !specials[index].assigned.contains(name) {
      specials[index].read.insert(name)
    }
  }

  /// Told of each name that is assigned: what a macro assigns first is no special of it.
  mutating func assigns(_ name: String) {
    guard MacroDefinition.specials.contains(name) else { return }
    for index in specials.indices { specials[index].assigned.insert(name) }
  }

  /// `{% call(parameters) macro(arguments) %}`
  mutating func callBlock() throws -> Statement.Kind {
    names.append(Body.Names())
    let parameters = token.kind == .symbol("(") ? try signature() : []
    let inner = names.removeLast()
    let place = token.place
    guard case .call(let function, let arguments) = try expression().kind else {
      throw failure("expected a call", at: place)
    }
    try expect(.blockEnd)
    names.append(inner)
    return .call(function, arguments, try definition("caller", parameters, until: "endcall"))
  }

  mutating func filterBlock() throws -> Statement.Kind {
    var filters = [try filterApplication()]
    while skip("|") { filters.append(try filterApplication()) }
    try expect(.blockEnd)
    return .filtered(filters, try body { try $0.outsideLoops { try $0.statements(until: "endfilter") } })
  }

  mutating func withBlock() throws -> Statement.Kind {
    var variables: [(target: Target, value: Expression)] = []
    while token.kind != .blockEnd {
      if !variables.isEmpty { try expect(",") }
      let place = token.place
      let target = try target(endsAtIn: false)
      if case .attribute = target { throw failure("'with' cannot assign to an attribute", at: place) }
      try expect("=")
      variables.append((target, try expression()))
    }
    try expect(.blockEnd)
    return .with(
      variables, try body(Target.tuple(variables.map(\.target)).names) { try $0.statements(until: "endwith") }
    )
  }
}
