/// A regular expression over Unicode scalars, as far as tokenisers use them to cut text: alternatives of characters,
/// classes with quantifiers, groups and looks ahead.
///
///     [^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+(?!\S)|\s+
///
/// Quantifiers are for single characters and classes (greedy, or possessive with a `+` after them), `?` for groups too.
/// Alternatives are tried from left to right and runs from their longest, as backtracking engines do. `$` is the end of a
/// line.
public struct ScalarExpression: Sendable, Equatable {
  /// One kind of character.
  enum Item: Sendable, Equatable {
    case range(ClosedRange<UInt32>)
    /// By the letters after `\` or inside `\p{}`.
    case category(String, isNegated: Bool)
  }

  struct Class: Sendable, Equatable {
    var items: [Item]
    var isNegated = false
    var ignoresCase = false
    /// Which of ASCII belong, once that is worked out.
    private var ascii: [Bool] = []

    init(_ items: [Item], isNegated: Bool = false) {
      self.items = items
      self.isNegated = isNegated
    }

    mutating func complete(ignoringCase: Bool) {
      ignoresCase = ignoringCase
      ascii = (UInt8(0)..<128).map { holds(Unicode.Scalar($0)) }
    }

    func contains(_ scalar: Unicode.Scalar) -> Bool {
      scalar.value < ascii.count ? ascii[Int(scalar.value)] : holds(scalar)
    }

    private func holds(_ scalar: Unicode.Scalar) -> Bool {
      let found = items.contains { $0.contains(scalar) } || ignoresCase && foldedMatch(scalar)
      return found != isNegated
    }

    private func foldedMatch(_ scalar: Unicode.Scalar) -> Bool {
      // The long s (U+017F) and the Kelvin sign fold to letters of ASCII; no other character does.
      let plain: UInt32 =
        switch scalar.value {
        case 0x17F: 0x73
        case 0x212A: 0x6B
        default: scalar.value
        }
      guard plain < 128, let ascii = Unicode.Scalar(plain), ascii.isLetter else { return false }
      return [plain | 32, plain & ~32, plain | 32 == 0x73 ? 0x17F : plain].compactMap(Unicode.Scalar.init)
        .contains { folded in items.contains { $0.contains(folded) } }
    }
  }

  indirect enum Element: Sendable, Equatable {
    case run(Class, ClosedRange<Int>, isPossessive: Bool)
    case group([[Element]], isOptional: Bool)
    case look([[Element]], isNegative: Bool)
    case lineEnd
  }

  private let alternatives: [[Element]]

  /// Reads an expression; throws `TokenizerError.unsupported`, which names the part, for what is not known here, and for
  /// expressions that match nothing at all.
  public init(_ expression: String) throws {
    var parser = ExpressionParser(expression)
    alternatives = try parser.expression()
  }

  /// The matches in `text`, from left to right; none is empty.
  func matches(in text: ArraySlice<Unicode.Scalar>) -> [Range<Int>] {
    var matches: [Range<Int>] = []
    var hopeless = [Int](repeating: text.startIndex, count: alternatives.count)
    var start = text.startIndex
    while start < text.endIndex {
      var end: Int?
      for (place, alternative) in alternatives.enumerated() where end == nil && start >= hopeless[place] {
        end = Self.end(of: alternative[...], at: start, in: text) { $0 }
        if end == nil, let stop = Self.runEnd(alternative, at: start, in: text) { hopeless[place] = stop }
      }
      if let end, end > start {
        matches.append(start..<end)
        start = end
      } else {
        start += 1
      }
    }
    return matches
  }

  /// Where an alternative that is one run and a look cannot begin any more, after it failed at `start`: its ends would be the
  /// same, and all of them failed. Without this a long run takes quadratic time.
  private static func runEnd(_ alternative: [Element], at start: Int, in text: ArraySlice<Unicode.Scalar>)
    -> Int?
  {
    guard case .run(let kind, let count, _)? = alternative.first, count == 1...Int.max else { return nil }
    for element in alternative.dropFirst() {
      switch element {
      case .look, .lineEnd: continue
      case .run, .group: return nil
      }
    }
    return text[start...].firstIndex { !kind.contains($0) } ?? text.endIndex
  }

  /// Where a sequence that begins at `start` ends if `rest` accepts what is after it, or nil.
  private static func end(
    of sequence: ArraySlice<Element>, at start: Int, in text: ArraySlice<Unicode.Scalar>,
    _ rest: (Int) -> Int?
  ) -> Int? {
    guard let element = sequence.first else { return rest(start) }
    let others = sequence.dropFirst()
    switch element {
    case .run(let kind, let count, let isPossessive):
      var end = start
      while end < text.endIndex, end - start < count.upperBound, kind.contains(text[end]) { end += 1 }
      guard end - start >= count.lowerBound else { return nil }
      if others.isEmpty || isPossessive { return Self.end(of: others, at: end, in: text, rest) }
      while true {
        if let found = Self.end(of: others, at: end, in: text, rest) { return found }
        if end - start == count.lowerBound { return nil }
        end -= 1
      }
    case .group(let choices, let isOptional):
      for choice in choices {
        if let found = Self.end(
          of: choice[...], at: start, in: text, { Self.end(of: others, at: $0, in: text, rest) })
        {
          return found
        }
      }
      return isOptional ? Self.end(of: others, at: start, in: text, rest) : nil
    case .look(let choices, let isNegative):
      let found = choices.contains { Self.end(of: $0[...], at: start, in: text) { $0 } != nil }
      return found != isNegative ? Self.end(of: others, at: start, in: text, rest) : nil
    case .lineEnd:
      let isEnd = start == text.endIndex || text[start] == "\n"
      return isEnd ? Self.end(of: others, at: start, in: text, rest) : nil
    }
  }
}

extension ScalarExpression.Item {
  /// General categories by their names in `\p{}`; one letter stands for all that begin with it.
  private static let categories: [String: Set<Unicode.GeneralCategory>] = {
    let all: [String: Unicode.GeneralCategory] = [
      "Lu": .uppercaseLetter, "Ll": .lowercaseLetter, "Lt": .titlecaseLetter, "Lm": .modifierLetter,
      "Lo": .otherLetter, "Mn": .nonspacingMark, "Mc": .spacingMark, "Me": .enclosingMark,
      "Nd": .decimalNumber,
      "Nl": .letterNumber, "No": .otherNumber, "Pc": .connectorPunctuation, "Pd": .dashPunctuation,
      "Ps": .openPunctuation, "Pe": .closePunctuation, "Pi": .initialPunctuation, "Pf": .finalPunctuation,
      "Po": .otherPunctuation, "Sm": .mathSymbol, "Sc": .currencySymbol, "Sk": .modifierSymbol,
      "So": .otherSymbol, "Zs": .spaceSeparator, "Zl": .lineSeparator, "Zp": .paragraphSeparator,
      "Cc": .control,
      "Cf": .format, "Co": .privateUse,
    ]
    var sets = all.mapValues { Set([$0]) }
    for letter in ["L", "M", "N", "P", "S", "Z"] {
      sets[letter] = Set(all.filter { $0.key.hasPrefix(letter) }.values)
    }
    return sets
  }()

  static func category(_ name: String, isNegated: Bool, in expression: String) throws -> Self {
    guard ["s", "d", "w"].contains(name) || categories[name] != nil else {
      throw TokenizerError.unsupported(
        part: "pattern", value: "\\p{\(name)} in \(expression)", known: categories.keys.sorted())
    }
    return .category(name, isNegated: isNegated)
  }

  func contains(_ scalar: Unicode.Scalar) -> Bool {
    switch self {
    case .range(let range): return range.contains(scalar.value)
    case .category(let name, let isNegated):
      let belongs =
        switch name {
        case "s": scalar.isSpace
        case "L": scalar.isLetter
        case "N": scalar.isNumber
        case "w": scalar.isWordCharacter
        case "d": scalar.properties.generalCategory == .decimalNumber
        default: Self.categories[name]?.contains(scalar.properties.generalCategory) ?? false
        }
      return belongs != isNegated
    }
  }
}
