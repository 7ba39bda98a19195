/// What a normaliser or pre-tokeniser looks for: a string, or a run of one kind of character.
public enum TextPattern: Sendable, Equatable {
  /// One character: itself, or whitespace.
  public enum Kind: Sendable, Equatable {
    case scalar(Unicode.Scalar)
    /// `\s`
    case space
  }

  case literal(String)
  case run(Kind, atLeast: Int)

  /// Reads a regular expression that is a string without operators, or one character (or `\s`) with `+` or
  /// `{n,}` after it.
  ///
  /// Throws `TokenizerError.unsupported` for every other one.
  public init(regex: String) throws {
    func unsupported() -> TokenizerError {
      .unsupported(
        part: "pattern", value: regex, known: ["a string", "X+ and X{n,} of one character or \\s"])
    }
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
        default: throw unsupported()
        }
      case "+": least = 1
      case "{":
        guard rest.suffix(2) == [",", "}"], let count = Int(String(rest.dropLast(2))), count > 0
        else { throw unsupported() }
        least = count
        rest = []
      case "*", "?", ".", "[", "]", "(", ")", "|", "^", "$", "}": throw unsupported()
      default: kinds.append(.scalar(scalar))
      }
    }
    guard rest.isEmpty, let first = kinds.first, kinds.count == 1 || least == nil else { throw unsupported() }
    if let least {
      self = .run(first, atLeast: least)
      return
    }
    self = .literal(
      String(
        try kinds.map { kind in
          guard case .scalar(let scalar) = kind else { throw unsupported() }
          return scalar
        }))
  }

  /// The matches in `text`, from left to right; none is empty.
  func matches(in text: ArraySlice<Unicode.Scalar>) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var index = text.startIndex
    switch self {
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
