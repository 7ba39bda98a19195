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

  var all: [Expression] { positional + named.map(\.value) }
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
    case capture(Target, [Application], [Statement])
    case macro(MacroDefinition)
    /// A body with variables of its own.
    case scope([Statement])
    case leave
    case skip
  }
}

struct Loop: Sendable {
  let target: Target
  let source: Expression
  let test: Expression?
  let body: [Statement]
  let otherwise: [Statement]
}

struct MacroDefinition: Sendable {
  let name: String
  let parameters: [(name: String, fallback: Expression?)]
  let body: [Statement]
}
