/// A constant of a template.
enum Literal: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case double(Double)
  case string(String)
}

/// What is evaluated to a value.
struct Expression: Sendable {
  let kind: Kind
  let place: Place
  /// Expressions inside each other.
  let depth: Int

  indirect enum Kind: Sendable {
    case literal(Literal)
    case name(String)
    case list([Expression], isTuple: Bool)
    case dictionary([(key: Expression, value: Expression)])
    case attribute(Expression, String)
    case item(Expression, Expression)
    case slice(Expression, [Expression?])
    case call(Expression, Arguments)
    case filter(Expression, Application)
    case test(Expression, Application)
    case unary(String, Expression)
    case binary(String, Expression, Expression)
    case concatenation([Expression])
    case comparison(Expression, [(operation: String, operand: Expression)])
    case choice(test: Expression, yes: Expression, no: Expression?)
  }
}

/// What a call is given.
struct Arguments: Sendable {
  var positional: [Expression] = []
  var named: [(name: String, value: Expression)] = []
  /// `*list` and `**dictionary` after them.
  var spread, spreadNamed: Expression?

  var all: [Expression] {
    positional + named.map(\.value) + [spread, spreadNamed].compactMap { $0 }
  }
}

/// A filter or test with its arguments.
struct Application: Sendable {
  let name: String
  let arguments: Arguments
  let place: Place
}

/// What an assignment or a loop gives values to.
indirect enum Target: Sendable {
  case name(String)
  case attribute(of: String, String)
  case tuple([Target])

  var names: Set<String> {
    switch self {
    case .name(let name): [name]
    case .attribute: []
    case .tuple(let parts): parts.reduce(into: []) { $0.formUnion($1.names) }
    }
  }
}

struct Statement: Sendable {
  let kind: Kind
  let place: Place

  enum Kind: Sendable {
    case text(String)
    case output(Expression)
    case condition([(test: Expression, body: [Statement])], otherwise: [Statement])
    case loop(Loop)
    case set(Target, Expression)
    /// The text of a body, filtered.
    case capture(Target, [Application], Body)
    case macro(MacroDefinition)
    /// A call that is given its body as the macro `caller`.
    case call(Expression, Arguments, MacroDefinition)
    /// The text of a body, filtered and written.
    case filtered([Application], Body)
    case with([(target: Target, value: Expression)], Body)
    /// A body with variables of its own.
    case scope(Body)
    case leave
    case skip
  }
}

/// Statements with variables of their own.
struct Body: Sendable {
  let statements: [Statement]
  let names: Names

  /// What a body does with names itself, not in a body inside it.
  struct Names: Sendable {
    /// All that it reads or assigns.
    var all: Set<String> = []
    /// What it assigns before it reads it, and under no condition. As in Jinja, where no body around it has such a name it is
    /// undefined until then, for the bodies inside too: what `render` was given under that name is hidden.
    var unset: Set<String> = []
    /// Conditions around this place.
    var conditions = 0

    mutating func assign(_ name: String) {
      if all.insert(name).inserted, conditions == 0 { unset.insert(name) }
    }
  }
}

struct Loop: Sendable {
  let target: Target
  let source: Expression
  let test: Expression?
  /// Whether the body may call `loop` with what to go through one level deeper.
  let isRecursive: Bool
  let body: Body
  let otherwise: Body
}

struct MacroDefinition: Sendable {
  /// What a macro can read without a parameter of that name: a call's body, and arguments that no parameter takes.
  static let specials: Set<String> = ["caller", "varargs", "kwargs"]

  let name: String
  let parameters: [(name: String, fallback: Expression?)]
  /// Which of `specials` the body reads.
  let reads: Set<String>
  let body: Body
}
