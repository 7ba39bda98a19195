/// Walks through a template's statements; one for each rendering.
final class Renderer {
  /// Variables of a body, with those around it.
  final class Scope {
    var variables: [String: Value] = [:]
    let around: Scope?
    private let names: Set<String>

    init(_ around: Scope?, _ body: Body? = nil) {
      self.around = around
      names = body?.names.all ?? []
      for name in body?.names.unset ?? [] where !(around?.has(name) ?? false) {
        variables[name] = .undefined("'\(name)' is undefined")
      }
    }

    /// Whether this body or one around it has a variable of that name, which may not have a value yet.
    private func has(_ name: String) -> Bool {
      names.contains(name) || (around?.has(name) ?? false)
    }

    subscript(name: String) -> Value? {
      var scope: Scope? = self
      while let current = scope {
        if let value = current.variables[name] { return value }
        scope = current.around
      }
      return nil
    }
  }

  /// What a statement does to the loop around it.
  enum Flow { case onward, leave, skip }

  var scope: Scope
  let now: TemplateTime?
  private let limits: TemplateLimits
  private var steps = 0
  private var depth = 0
  /// The text so far, of the template or of the macro or captured body that is being rendered.
  private var output = ""
  /// Scopes that macros hold on to, which hold on to them: emptied at the end.
  private var captured: [Scope] = []

  init(_ variables: [String: Value], now: TemplateTime?, limits: TemplateLimits) {
    self.now = now
    self.limits = limits
    let globals = Scope(nil)
    for name in GlobalFunction.names { globals.variables[name] = .object(GlobalFunction(name)) }
    globals.variables.merge(variables) { $1 }
    scope = globals
  }

  func render(_ body: Body) throws -> String {
    defer { for scope in captured { scope.variables = [:] } }
    try inner(Scope(scope, body)) { _ = try run(body.statements) }
    return output
  }

  // MARK: Limits

  func spend(_ count: Int = 1) throws {
    steps += count
    guard steps <= limits.steps else {
      throw Fault("the template took more than \(limits.steps) steps", .limit)
    }
  }

  /// Counts a new string.
  func checked(_ text: String) throws -> String {
    let count = text.utf8.count
    guard count <= limits.bytes else { throw Fault("a text of more than \(limits.bytes) bytes", .limit) }
    try spend(count / 16)
    return text
  }

  func nested<Result>(_ body: () throws -> Result) throws -> Result {
    depth += 1
    defer { depth -= 1 }
    guard depth <= limits.depth else { throw Fault("nested deeper than \(limits.depth)", .limit) }
    return try body()
  }

  /// Gives errors of `body` the place where they came up.
  func located<Result>(_ place: Place, _ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch let fault as Fault {
      throw fault.located(at: place)
    }
  }

  // MARK: Statements

  func run(_ body: [Statement]) throws -> Flow {
    for statement in body {
      let flow = try located(statement.place) { try nested { try run(statement.kind) } }
      if flow != .onward { return flow }
    }
    return .onward
  }

  private func run(_ statement: Statement.Kind) throws -> Flow {
    try spend()
    switch statement {
    case .text(let text): try write(text)
    case .output(let expression): try write(printed(expression))
    case .condition(let branches, let otherwise):
      for (test, body) in branches where try evaluate(test).isTrue { return try run(body) }
      return try run(otherwise)
    case .loop(let loop):
      let source = try evaluate(loop.source)
      guard loop.isRecursive else { return try run(loop, over: source, in: scope) }
      try write(rendered(loop, over: source, in: scope, depth: 0))
    case .set(let target, let expression): try assign(evaluate(expression), to: target)
    case .capture(let target, let filters, let body):
      var value = Value.string(try capture(in: Scope(scope, body)) { try self.run(body.statements) })
      for filter in filters { value = try apply(filter, to: value) }
      try assign(value, to: target)
    case .macro(let definition):
      captured.append(scope)
      scope.variables[definition.name] = .object(Macro(definition, in: scope))
    case .call(let function, let arguments, let body):
      captured.append(scope)
      var given = try values(of: arguments)
      try given.add("caller", .object(Macro(body, in: scope)))
      try write(text(of: call(evaluate(function), given)))
    case .filtered(let filters, let body):
      var value = Value.string(try capture(in: Scope(scope, body)) { try self.run(body.statements) })
      for filter in filters { value = try apply(filter, to: value) }
      try write(text(of: value))
    case .with(let variables, let body):
      let values = try variables.map { try evaluate($0.value) }
      return try inner(Scope(scope, body)) {
        for (variable, value) in zip(variables, values) { try assign(value, to: variable.target) }
        return try run(body.statements)
      }
    case .scope(let body): try inner(Scope(scope, body)) { _ = try run(body.statements) }
    case .leave: return .leave
    case .skip: return .skip
    }
    return .onward
  }

  private func write(_ text: String) throws {
    output += text
    guard output.utf8.count <= limits.bytes else {
      throw Fault("a text of more than \(limits.bytes) bytes", .limit)
    }
    try spend(text.utf8.count / 16)
  }

  func inner<Result>(_ inner: Scope, _ body: () throws -> Result) throws -> Result {
    let around = scope
    scope = inner
    defer { scope = around }
    return try body()
  }

  /// The text that `body` writes, with variables of its own.
  func capture(in inner: Scope, _ body: () throws -> Flow) throws -> String {
    let before = output
    output = ""
    defer { output = before }
    return try self.inner(inner) {
      _ = try body()
      return output
    }
  }

  func assign(_ value: Value, to target: Target) throws {
    switch target {
    case .name(let name): scope.variables[name] = value
    case .attribute(let name, let attribute):
      guard case .object(let object)? = scope[name], let namespace = object as? Namespace else {
        throw Fault("cannot assign attribute on non-namespace object")
      }
      _ = try TemplateList([value])  // throws for what only variables may hold
      namespace.values[attribute] = value
    case .tuple(let targets):
      let values = try elements(of: value)
      guard values.count == targets.count else {
        throw Fault("\(targets.count) values are wanted, and there are \(values.count)")
      }
      for (target, value) in zip(targets, values) { try assign(value, to: target) }
    }
  }

  /// The text of a recursive loop, or of one of its deeper levels: they all see the variables `around` the loop.
  private func rendered(_ loop: Loop, over source: Value, in around: Scope, depth: Int) throws -> String {
    try capture(in: around) { try run(loop, over: source, in: around, depth: depth) }
  }

  private func run(_ loop: Loop, over source: Value, in around: Scope, depth: Int = 0) throws -> Flow {
    let state = LoopState(try elements(of: source), depth: depth) { [unowned self] item in
      guard let test = loop.test else { return true }
      return try inner(Scope(around)) {
        try assign(item, to: loop.target)
        return try evaluate(test).isTrue
      }
    }
    if loop.isRecursive {
      state.recurse = { [unowned self] in
        try rendered(loop, over: $0, in: around, depth: depth + 1)
      }
    }
    defer { state.close() }
    // As in Jinja: an iteration that `break` or `continue` cut short does not count.
    var isWhole = false
    var flow = Flow.onward
    while flow != .leave, let item = try state.advance() {
      try spend()
      flow = try inner(Scope(around, loop.body)) {
        scope.variables["loop"] = .object(state)
        try assign(item, to: loop.target)
        return try run(loop.body.statements)
      }
      if flow == .onward { isWhole = true }
    }
    return isWhole ? .onward : try inner(Scope(around, loop.otherwise)) { try run(loop.otherwise.statements) }
  }
}
