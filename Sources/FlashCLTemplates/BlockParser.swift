/// Macros, and blocks whose body is given to something.
extension Parser {
  mutating func macro() throws -> Statement.Kind {
    let name = try name()
    assigns(name)
    let parameters = try signature()
    try expect(.blockEnd)
    let (body, reads) = try macroBody(until: "endmacro")
    return .macro(MacroDefinition(name: name, parameters: parameters, reads: reads, body: body))
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

  private mutating func macroBody(until end: String) throws -> ([Statement], Set<String>) {
    specials.append((read: [], assigned: []))
    let body = try outsideLoops { try $0.body(until: end) }
    return (body, specials.removeLast().read)
  }

  /// Told of each name that is read, in the order of the template.
  mutating func reads(_ name: String) {
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
    let parameters = token.kind == .symbol("(") ? try signature() : []
    let place = token.place
    guard case .call(let function, let arguments) = try expression().kind else {
      throw failure("expected a call", at: place)
    }
    try expect(.blockEnd)
    let (body, reads) = try macroBody(until: "endcall")
    return .call(
      function, arguments, MacroDefinition(name: "caller", parameters: parameters, reads: reads, body: body))
  }

  mutating func filterBlock() throws -> Statement.Kind {
    var filters = [try filterApplication()]
    while skip("|") { filters.append(try filterApplication()) }
    try expect(.blockEnd)
    return .filtered(filters, try outsideLoops { try $0.body(until: "endfilter") })
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
    return .with(variables, try body(until: "endwith"))
  }
}
