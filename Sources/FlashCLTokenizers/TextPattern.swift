/// What a normaliser or pre-tokeniser looks for: a string, a run of one kind of character, or an expression.
public enum TextPattern: Sendable, Equatable {
  /// One character: itself, or whitespace.
  public enum Kind: Sendable, Equatable {
    case scalar(Unicode.Scalar)
    /// `\s`
    case space
  }

  case literal(String)
  case run(Kind, atLeast: Int)
  case expression(ScalarExpression)

  /// Reads a regular expression; throws `TokenizerError.unsupported` for what `ScalarExpression` does not read.
  public init(regex: String) throws {
    self = try Self.simple(regex) ?? .expression(ScalarExpression(regex))
  }

  /// The pattern of an expression that is a string without operators, or one character (or `\s`) with `+` or
  /// `{n,}` after it; nil for every other one.
  private static func simple(_ regex: String) -> TextPattern? {
    var rest = Array(regex.unicodeScalars)[...]
    var kinds: [Kind] = []
    var least: Int?
    while least == nil, let scalar = rest.popFirst() {
      switch scalar {
      case "\\":
        switch rest.popFirst() {
        case "s": kinds.append(.space)
        case "n": kinds.append(.scalar("\n"))
        case "r": kinds.append(.scalar("\r"))
        case "t": kinds.append(.scalar("\t"))
        case let escaped? where escaped.isPunctuation: kinds.append(.scalar(escaped))
        default: return nil
        }
      case "+": least = 1
      case "{":
        guard rest.suffix(2) == [",", "}"], let count = Int(String(rest.dropLast(2))), count > 0
        else { return nil }
        least = count
        rest = []
      case "*", "?", ".", "[", "]", "(", ")", "|", "^", "$", "}": return nil
      default: kinds.append(.scalar(scalar))
      }
    }
    guard rest.isEmpty, let first = kinds.first, kinds.count == 1 || least == nil else { return nil }
    if let least { return .run(first, atLeast: least) }
    var string = String.UnicodeScalarView()
    for kind in kinds {
      guard case .scalar(let scalar) = kind else { return nil }
      string.append(scalar)
    }
    return .literal(String(string))
  }

  /// The matches in `text`, from left to right; none is empty.
  func matches(in text: ArraySlice<Unicode.Scalar>) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var index = text.startIndex
    switch self {
    case .expression(let expression): return expression.matches(in: text)
    case .literal(let string):
      let word = Array(string.unicodeScalars)
      guard let first = word.first else { return [] }
      while index < text.endIndex {
        if text[index] == first && text[index...].starts(with: word) {
          matches.append(index..<index + word.count)
          index += word.count
        } else {
          index += 1
        }
      }
    case .run(let kind, let least):
      func belongs(_ scalar: Unicode.Scalar) -> Bool {
        switch kind {
        case .scalar(let other): scalar == other
        case .space: scalar.isSpace
        }
      }
      while index < text.endIndex {
        let start = index
        while index < text.endIndex && belongs(text[index]) { index += 1 }
        if index - start >= least { matches.append(start..<index) }
        if index == start { index += 1 }
      }
    }
    return matches
  }
}
