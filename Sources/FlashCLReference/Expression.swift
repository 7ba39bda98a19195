import FlashCL

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// A `ScoreExpression` that can be evaluated: its truth in Swift, or else its text, read as C reads it.
struct Expression {
  /// What the expression is for; a mask sees no score.
  enum Use: String {
    case score = "scoreMod"
    case mask = "maskMod"
  }

  private let evaluate: (_ score: Double, Pair) throws -> Double

  init(_ expression: ScoreExpression, of use: Use) throws {
    if let truth = expression.truth {
      evaluate = { truth($0, $1.b, $1.h, $1.i, $1.j) }
    } else {
      var parser = try Parser(expression, use)
      let node = try parser.parse()
      evaluate = { try node.value(Parser.Variables(score: $0, pair: $1)) }
    }
  }

  func value(score: Double, _ pair: Pair) throws -> Double { try evaluate(score, pair) }
}

/// Reads an expression of C from left to right, and makes of each part a node that knows its type and its value.
///
/// int and uint have 32 bits and wrap around. A float is computed in Double, so that the answer is what a device's
/// float comes near to.
private struct Parser {
  struct Variables {
    let score: Double
    let pair: Pair
  }

  /// C's types, the later ones taking the earlier with them where two meet.
  enum Kind: String, Comparable {
    case int, uint, float

    static func < (a: Kind, b: Kind) -> Bool { a != b && (a == .int || b == .float) }

    /// A whole number as this type holds it.
    func wrap(_ n: Int64) -> Double {
      self == .int ? Double(Int32(truncatingIfNeeded: n)) : Double(UInt32(truncatingIfNeeded: n))
    }

    /// Any number as this type holds it: fractions are cut off, and what no int or uint can hold becomes the nearest.
    func cast(_ x: Double, from kind: Kind) -> Double {
      if self == .float { return x }
      if kind != .float { return wrap(Int64(x)) }
      let (low, high) = self == .int ? (-0x1p31, 0x1p31 - 1) : (0, 0x1p32 - 1)
      return x.isNaN ? 0 : min(max(x.rounded(.towardZero), low), high)
    }
  }

  struct Node {
    let kind: Kind
    let depth: Int
    let value: (Variables) throws -> Double

    func cast(_ kind: Kind) -> Node {
      let (value, old) = (value, self.kind)
      return kind == old ? self : Node(kind: kind, depth: depth) { kind.cast(try value($0), from: old) }
    }
  }

  private let name: String
  private let text: [Character]
  private let hasScore: Bool
  private var constants: [String: (values: [Double], kind: Kind)] = [:]
  private var place = 0
  private var nesting = 0

  init(_ expression: ScoreExpression, _ use: Expression.Use) throws {
    name = "\(use.rawValue) '\(expression.text)'"
    text = [Character](expression.text)
    hasScore = use == .score
    for (constant, tensor) in expression.constants {
      constants[constant] = (try tensor.load(), tensor.type == .i32 ? .int : .float)
    }
  }

  mutating func parse() throws -> Node {
    let node = try ternary()
    skipSpaces()
    if place < text.count { throw failure("unexpected '\(text[place])'", at: place) }
    return node
  }

  private func failure(_ what: String, at place: Int) -> FlashCLError {
    .shape("\(name): \(what) at column \(place + 1)")
  }

  // MARK: - Words

  private mutating func skipSpaces() {
    while place < text.count, text[place].isWhitespace { place += 1 }
  }

  private mutating func take(_ symbol: String) -> Bool {
    skipSpaces()
    guard text[place...].starts(with: symbol) else { return false }
    place += symbol.count
    return true
  }

  private mutating func expect(_ symbol: String) throws {
    guard take(symbol) else { throw failure("a '\(symbol)' is missing", at: place) }
  }

  private mutating func word() -> String {
    skipSpaces()
    let word = text[place...].prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    place += word.count
    return String(word)
  }

  /// Counts what is open; the stack is not endless.
  private mutating func nest() throws {
    guard nesting < 128 else {
      throw failure("too many parentheses, choices and signs within each other", at: place)
    }
    nesting += 1
  }

  // MARK: - Grammar, from what binds least to what binds most

  /// condition ? a : b
  private mutating func ternary() throws -> Node {
    try nest()
    defer { nesting -= 1 }
    let condition = try binary(0)
    guard take("?") else { return condition }
    let a = try ternary()
    try expect(":")
    let b = try ternary()
    let kind = max(a.kind, b.kind)
    let (first, second) = (a.cast(kind), b.cast(kind))
    return try node(kind, condition, first, second) {
      try condition.value($0) != 0 ? first.value($0) : second.value($0)
    }
  }

  /// Operators of two operands by rank, longer ones before those that they begin with.
  private static let ranks = [
    ["||"], ["&&"], ["|"], ["^"], ["&"], ["==", "!="], ["<=", ">=", "<", ">"], ["<<", ">>"], ["+", "-"],
    ["*", "/", "%"],
  ]

  private mutating func binary(_ rank: Int) throws -> Node {
    guard rank < Self.ranks.count else { return try unary() }
    var left = try binary(rank + 1)
    while let symbol = takeOperator(rank) {
      let start = place - symbol.count
      left = try combine(symbol, left, try binary(rank + 1), start)
    }
    return left
  }

  /// The next operator where it is of this rank: `<` is not the beginning of `<<`, `&` not that of `&&`.
  private mutating func takeOperator(_ rank: Int) -> String? {
    skipSpaces()
    let rest = text[place...]
    let all = Self.ranks.joined().filter { rest.starts(with: $0) }
    guard let symbol = all.max(by: { $0.count < $1.count }), Self.ranks[rank].contains(symbol) else {
      return nil
    }
    place += symbol.count
    return symbol
  }

  private func combine(_ symbol: String, _ left: Node, _ right: Node, _ start: Int) throws -> Node {
    let kind = max(left.kind, right.kind)
    let (a, b) = (left.cast(kind), right.cast(kind))
    func compare(_ test: @escaping (Double, Double) -> Bool) throws -> Node {
      try node(.int, a, b) { test(try a.value($0), try b.value($0)) ? 1 : 0 }
    }
    func compute(
      _ whole: @escaping (Int64, Int64) throws -> Int64, _ real: ((Double, Double) -> Double)? = nil,
      kind: Kind = kind
    ) throws -> Node {
      if kind != .float {
        return try node(kind, a, b) { kind.wrap(try whole(Int64(try a.value($0)), Int64(try b.value($0)))) }
      }
      guard let real else { throw failure("'\(symbol)' of a float", at: start) }
      return try node(kind, a, b) { real(try a.value($0), try b.value($0)) }
    }
    func divisor(_ n: Int64) throws -> Int64 {
      guard n != 0 else { throw failure("a whole number is divided by 0", at: start) }
      return n
    }
    switch symbol {
    case "||": return try node(.int, a, b) { try left.value($0) != 0 || right.value($0) != 0 ? 1 : 0 }
    case "&&": return try node(.int, a, b) { try left.value($0) != 0 && right.value($0) != 0 ? 1 : 0 }
    case "==": return try compare { $0 == $1 }
    case "!=": return try compare { $0 != $1 }
    case "<": return try compare { $0 < $1 }
    case ">": return try compare { $0 > $1 }
    case "<=": return try compare { $0 <= $1 }
    case ">=": return try compare { $0 >= $1 }
    case "|": return try compute { $0 | $1 }
    case "^": return try compute { $0 ^ $1 }
    case "&": return try compute { $0 & $1 }
    // The left operand alone gives a shift its type; OpenCL takes the amount modulo 32.
    case "<<", ">>":
      guard kind != .float else { throw failure("'\(symbol)' of a float", at: start) }
      return try node(left.kind, left, right) {
        let (n, amount) = (Int64(try left.value($0)), Int64(try right.value($0)) & 31)
        return left.kind.wrap(symbol == "<<" ? n << amount : n >> amount)
      }
    case "+": return try compute({ $0 &+ $1 }, { $0 + $1 })
    case "-": return try compute({ $0 &- $1 }, { $0 - $1 })
    case "*": return try compute({ $0 &* $1 }, { $0 * $1 })
    case "/": return try compute({ $0 / (try divisor($1)) }, { $0 / $1 })
    default: return try compute { $0 % (try divisor($1)) }
    }
  }

  private mutating func unary() throws -> Node {
    try nest()
    defer { nesting -= 1 }
    skipSpaces()
    let start = place
    guard let symbol = ["-", "+", "!", "~"].first(where: { text[start...].starts(with: $0) }) else {
      return try castOrPrimary()
    }
    place += 1
    let x = try unary()
    switch symbol {
    case "-" where x.kind == .float: return try node(.float, x) { -(try x.value($0)) }
    case "-": return try node(x.kind, x) { x.kind.wrap(-Int64(try x.value($0))) }
    case "+": return x
    case "!": return try node(.int, x) { try x.value($0) == 0 ? 1 : 0 }
    default:
      guard x.kind != .float else { throw failure("'~' of a float", at: start) }
      return try node(x.kind, x) { x.kind.wrap(~Int64(try x.value($0))) }
    }
  }

  /// (type) x, or a parenthesis, a number, a name
  private mutating func castOrPrimary() throws -> Node {
    let start = place
    guard take("(") else { return try primary() }
    if let kind = Kind(rawValue: word()), take(")") { return try unary().cast(kind) }
    place = start + 1
    let inner = try ternary()
    try expect(")")
    return inner
  }

  private mutating func primary() throws -> Node {
    skipSpaces()
    let start = place
    guard start < text.count else { throw failure("a value is missing", at: start) }
    if text[start].isASCII, text[start].isNumber || text[start] == "." { return try number() }
    let name = word()
    if let constant = constants[name] { return try element(of: constant, name, start) }
    func variable(_ value: @escaping (Variables) -> Int) throws -> Node {
      try node(.int) { Double(value($0)) }
    }
    func literal(_ kind: Kind, _ value: Double) throws -> Node { try node(kind) { _ in value } }
    switch name {
    case "score" where hasScore: return try node(.float) { $0.score }
    case "score": throw failure("a maskMod has no 'score'", at: start)
    case "b": return try variable { $0.pair.b }
    case "h": return try variable { $0.pair.h }
    case "i": return try variable { $0.pair.i }
    case "j": return try variable { $0.pair.j }
    case "true": return try literal(.int, 1)
    case "false": return try literal(.int, 0)
    case "INFINITY": return try literal(.float, .infinity)
    case "M_PI_F": return try literal(.float, Double(Float(Double.pi)))
    case "": throw failure("a value is missing before '\(text[start])'", at: start)
    default:
      guard take("(") else { throw failure("unknown name '\(name)'", at: start) }
      return try call(name, start)
    }
  }

  /// 12, 0x1F, 1.5f, 1e-3f, .5f; the suffixes are f, u and l.
  private mutating func number() throws -> Node {
    let start = place
    let isHexadecimal = text[start...].starts(with: "0x") || text[start...].starts(with: "0X")
    func belongs(_ i: Int) -> Bool {
      if "+-".contains(text[i]) { return !isHexadecimal && "eE".contains(text[i - 1]) }
      return text[i].isASCII && (text[i].isLetter || text[i].isNumber || text[i] == ".")
    }
    while place < text.count, belongs(place) { place += 1 }
    let digits = String(text[start..<place])
    let literal = digits.lowercased()
    let suffix = literal.reversed().prefix { "ul".contains($0) || ($0 == "f" && !isHexadecimal) }
    let body = String(literal.dropLast(suffix.count))
    let isOctal = body.count > 1 && body.first == "0"
    let whole = isHexadecimal ? Int64(body.dropFirst(2), radix: 16) : Int64(body, radix: isOctal ? 8 : 10)
    if let whole, !suffix.contains("f") {
      // A hexadecimal number that an int cannot hold is a uint.
      let kind: Kind = suffix.contains("u") || (isHexadecimal && whole > Int32.max) ? .uint : .int
      guard whole <= (kind == .int ? Int64(Int32.max) : Int64(UInt32.max)) else {
        throw failure("'\(digits)' is beyond 32 bits", at: start)
      }
      return try node(kind) { _ in Double(whole) }
    }
    // A float's literal is the float next to it.
    guard !isHexadecimal, suffix.isEmpty || String(suffix) == "f",
      body.contains(where: { ".e".contains($0) }),
      let value = suffix.isEmpty ? Double(padded(body)) : Float(padded(body)).map({ Double($0) })
    else { throw failure("'\(digits)' is no number", at: start) }
    return try node(.float) { _ in value }
  }

  /// Swift reads neither .5 nor 1. as C does.
  private func padded(_ digits: String) -> String {
    var digits = digits.replacing(".e", with: ".0e")
    if digits.hasPrefix(".") { digits = "0" + digits }
    return digits.hasSuffix(".") ? digits + "0" : digits
  }

  private mutating func element(of constant: (values: [Double], kind: Kind), _ name: String, _ start: Int)
    throws
    -> Node
  {
    guard take("[") else { throw failure("'\(name)' is an array and needs an [index]", at: start) }
    let index = try ternary()
    try expect("]")
    guard index.kind != .float else { throw failure("the index of '\(name)' is a float", at: start) }
    let parser = self
    return try node(constant.kind, index) {
      let n = try index.value($0)
      guard n >= 0, n < Double(constant.values.count) else {
        let pair = $0.pair
        throw parser.failure(
          "\(name)[\(Int(n))] of \(constant.values.count) elements, for b = \(pair.b), h = \(pair.h), i = \(pair.i), "
            + "j = \(pair.j),", at: start)
      }
      return constant.values[Int(n)]
    }
  }

  /// A function's call, after its parenthesis.
  private mutating func call(_ name: String, _ start: Int) throws -> Node {
    var arguments: [Node] = []
    if !take(")") {
      repeat { arguments.append(try ternary()) } while take(",")
      try expect(")")
    }
    let kind = arguments.map(\.kind).max() ?? .float
    func require(_ count: Int) throws {
      guard arguments.count == count else {
        throw failure("'\(name)' takes \(count) and is given \(arguments.count) arguments", at: start)
      }
    }
    if let function = Self.functions[name] {
      try require(1)
      let x = arguments[0].cast(.float)
      return try node(.float, x) { function(try x.value($0)) }
    }
    if let function = Self.functionsOfTwo[name] {
      try require(2)
      let common = name == "min" || name == "max" ? kind : .float  // these two are of whole numbers too
      let (a, b) = (arguments[0].cast(common), arguments[1].cast(common))
      return try node(common, a, b) { function(try a.value($0), try b.value($0)) }
    }
    switch name {
    case "clamp":
      try require(3)
      let (x, low, high) = (arguments[0].cast(kind), arguments[1].cast(kind), arguments[2].cast(kind))
      return try node(kind, x, low, high) { min(max(try x.value($0), try low.value($0)), try high.value($0)) }
    case "abs":
      try require(1)
      let x = arguments[0]
      guard kind != .float else { throw failure("'abs' is of whole numbers, 'fabs' of a float,", at: start) }
      return try node(.uint, x) { abs(try x.value($0)) }  // OpenCL's abs is unsigned
    case "isnan", "isinf":
      try require(1)
      let x = arguments[0]
      return try node(.int, x) {
        let x = try x.value($0)
        return name == "isnan" ? (x.isNaN ? 1 : 0) : (x.isInfinite ? 1 : 0)
      }
    case "convert_int", "convert_uint", "convert_float":
      try require(1)
      return arguments[0].cast(name == "convert_int" ? .int : name == "convert_uint" ? .uint : .float)
    default:
      throw FlashCLError.unsupported(
        "\(self.name): the reference does not know the function '\(name)' at column \(start + 1); an OpenCL device may"
      )
    }
  }

  private static let functions: [String: @Sendable (Double) -> Double] = [
    "fabs": { abs($0) }, "exp": { exp($0) }, "exp2": { exp2($0) }, "log": { log($0) }, "log2": { log2($0) },
    "sqrt": { $0.squareRoot() }, "rsqrt": { 1 / $0.squareRoot() }, "tanh": { tanh($0) }, "sin": { sin($0) },
    "cos": { cos($0) }, "floor": { $0.rounded(.down) }, "ceil": { $0.rounded(.up) },
    "trunc": { $0.rounded(.towardZero) }, "rint": { $0.rounded(.toNearestOrEven) },
    "round": { $0.rounded(.toNearestOrAwayFromZero) },
    "sign": { $0 > 0 ? 1 : $0 < 0 ? -1 : $0.isNaN ? 0 : $0 },
  ]

  private static let functionsOfTwo: [String: @Sendable (Double, Double) -> Double] = [
    "min": { $1 < $0 ? $1 : $0 }, "max": { $0 < $1 ? $1 : $0 }, "fmin": { .minimum($0, $1) },
    "fmax": { .maximum($0, $1) }, "pow": { pow($0, $1) }, "fmod": { fmod($0, $1) },
    "step": { $1 < $0 ? 0 : 1 },
  ]

  /// A node over others; one that evaluates more than 256 in a row could run out of stack.
  private func node(_ kind: Kind, _ parts: Node..., value: @escaping (Variables) throws -> Double) throws
    -> Node
  {
    let depth = (parts.map(\.depth).max() ?? 0) + 1
    guard depth <= 256 else { throw failure("more than 256 operations on one another", at: place) }
    return Node(kind: kind, depth: depth, value: value)
  }
}
