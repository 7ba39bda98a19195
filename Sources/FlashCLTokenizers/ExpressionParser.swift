/// Reads regular expressions.
struct ExpressionParser {
  typealias Element = ScalarExpression.Element

  private let source: String
  private var rest: ArraySlice<Unicode.Scalar>
  private var depth = 0

  init(_ source: String) {
    self.source = source
    rest = Array(source.unicodeScalars)[...]
  }

  private func unsupported(_ what: String) -> TokenizerError {
    .unsupported(
      part: "pattern", value: "\(what) in \(source)",
      known: ["characters, classes, \\s \\d \\w \\p{…}, ? * + {n,m}, |, (…), (?:…), (?i:…), (?=…), (?!…), $"])
  }

  mutating func expression() throws -> [[Element]] {
    let alternatives = try choices(ignoresCase: false)
    guard rest.isEmpty else { throw unsupported("a lone )") }
    for alternative in alternatives where Self.least(alternative) == 0 {
      throw unsupported("an alternative that may be empty")
    }
    return alternatives
  }

  /// The fewest characters that a sequence matches.
  private static func least(_ sequence: [Element]) -> Int {
    sequence.reduce(0) { sum, element in
      switch element {
      case .run(_, let count, _): sum + min(count.lowerBound, 1 << 20)
      case .group(let choices, let isOptional): sum + (isOptional ? 0 : choices.map(least).min() ?? 0)
      case .look, .lineEnd: sum
      }
    }
  }

  private mutating func skip(_ text: String) -> Bool {
    guard rest.starts(with: text.unicodeScalars) else { return false }
    rest = rest.dropFirst(text.unicodeScalars.count)
    return true
  }

  private mutating func choices(ignoresCase: Bool) throws -> [[Element]] {
    depth += 1
    defer { depth -= 1 }
    guard depth <= 20 else { throw unsupported("deep nesting") }
    var choices: [[Element]] = [[]]
    while let next = rest.first, next != ")" {
      if skip("|") {
        choices.append([])
      } else {
        choices[choices.count - 1].append(try element(ignoresCase: ignoresCase))
      }
    }
    return choices
  }

  private mutating func element(ignoresCase: Bool) throws -> Element {
    if skip("$") { return .lineEnd }
    if skip("(") { return try group(ignoresCase: ignoresCase) }
    var kind: ScalarExpression.Class
    if skip("[") {
      kind = try set()
    } else {
      kind = ScalarExpression.Class([try item(inSet: false)])
    }
    kind.complete(ignoringCase: ignoresCase)
    let count = try quantifier()
    if skip("?") { throw unsupported("a lazy quantifier") }
    return .run(kind, count ?? 1...1, isPossessive: count != nil && skip("+"))
  }

  private mutating func group(ignoresCase: Bool) throws -> Element {
    let look = skip("?!") ? true : skip("?=") ? false : nil
    var folds = ignoresCase
    if look == nil {
      if skip("?i:") {
        folds = true
      } else if !skip("?:"), rest.first == "?" {
        throw unsupported("a group (?")
      }
    }
    let choices = try choices(ignoresCase: folds)
    guard skip(")") else { throw unsupported("an open group") }
    if let look { return .look(choices, isNegative: look) }
    switch try quantifier() {
    case nil: return .group(choices, isOptional: false)
    case 0...1: return .group(choices, isOptional: true)
    default: throw unsupported("a repeated group")
    }
  }

  private mutating func quantifier() throws -> ClosedRange<Int>? {
    if skip("?") { return 0...1 }
    if skip("*") { return 0...Int.max }
    if skip("+") { return 1...Int.max }
    guard skip("{") else { return nil }
    let text = String(String.UnicodeScalarView(rest.prefix { $0 != "}" }))
    rest = rest.dropFirst(text.unicodeScalars.count)
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    guard skip("}"), let least = parts.first.flatMap({ Int($0) }), least >= 0, parts.count <= 2,
      let most = parts.count == 1 ? least : parts[1].isEmpty ? Int.max : Int(parts[1]), most >= max(least, 1)
    else { throw unsupported("{\(text)}") }
    return least...most
  }

  /// The inside of brackets, from after the first.
  private mutating func set() throws -> ScalarExpression.Class {
    var kind = ScalarExpression.Class([], isNegated: skip("^"))
    repeat {
      if rest.first == "[" || rest.starts(with: "&&".unicodeScalars) { throw unsupported("a set in a set") }
      let first = try item(inSet: true)
      guard rest.first == "-", let after = rest.dropFirst().first, after != "]" else {
        kind.items.append(first)
        continue
      }
      rest.removeFirst()
      guard case .range(let low) = first, case .range(let high) = try item(inSet: true), low.count == 1,
        high.count == 1, low.lowerBound <= high.lowerBound
      else { throw unsupported("a broken range") }
      kind.items.append(.range(low.lowerBound...high.lowerBound))
    } while !rest.isEmpty && rest.first != "]"
    guard skip("]") else { throw unsupported("an open set") }
    return kind
  }

  /// One character, or a class by its name.
  private mutating func item(inSet: Bool) throws -> ScalarExpression.Item {
    guard let scalar = rest.popFirst() else { throw unsupported("the end") }
    func one(_ scalar: Unicode.Scalar) -> ScalarExpression.Item { .range(scalar.value...scalar.value) }
    guard scalar == "\\" else {
      if !inSet, "*+?{}.^]".unicodeScalars.contains(scalar) { throw unsupported("\(scalar)") }
      return one(scalar)
    }
    guard let letter = rest.popFirst() else { throw unsupported("a lone \\") }
    switch letter {
    case "n": return one("\n")
    case "r": return one("\r")
    case "t": return one("\t")
    case "s", "d", "w": return .category("\(letter)", isNegated: false)
    case "S", "D", "W": return .category("\(letter)".lowercased(), isNegated: true)
    case "p", "P":
      guard skip("{") else { throw unsupported("\\\(letter)") }
      let isNegated = skip("^") != (letter == "P")
      let name = String(String.UnicodeScalarView(rest.prefix { $0 != "}" }))
      rest = rest.dropFirst(name.unicodeScalars.count)
      guard skip("}") else { throw unsupported("\\p{\(name)") }
      return try .category(name, isNegated: isNegated, in: source)
    case "u", "x", "U":
      let width = letter == "x" ? 2 : letter == "u" ? 4 : 8
      let digits = String(String.UnicodeScalarView(rest.prefix(width)))
      guard digits.utf8.count == width, digits.first != "+", let code = UInt32(digits, radix: 16),
        let scalar = Unicode.Scalar(code)
      else { throw unsupported("\\\(letter)") }
      rest = rest.dropFirst(width)
      return one(scalar)
    default:
      guard letter.isPunctuation || letter == " " else { throw unsupported("\\\(letter)") }
      return one(letter)
    }
  }
}
