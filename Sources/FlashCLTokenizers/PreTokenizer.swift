/// Cuts text into the words that a tokeniser then works on one by one: steps, each applied to every piece of
/// the last.
public struct PreTokenizer: Sendable, Equatable {
  public enum Step: Sendable, Equatable {
    /// Parts numbers (`\p{N}`) from the rest, each digit for itself or run by run.
    case digits(individual: Bool)
    /// Cuts at the matches of a regular expression, which cover the whole text.
    case split(SplitPattern)
    /// Cuts at the matches of a string or simple pattern; inverted, the matches are what lies between them.
    case splitAt(TextPattern, SplitBehavior, inverted: Bool)
    /// Puts a space before every piece that does not begin with one.
    case prefixSpace
    /// BERT's words: cut at whitespace, which is dropped, and around each punctuation mark.
    case bert
    /// Cut at whitespace, which is dropped.
    case whitespaceSplit
    /// `\w+|[^\w\s]+`: words and runs of symbols, whitespace dropped.
    case words
    /// Cut at each punctuation mark.
    case punctuation(SplitBehavior)
    /// SentencePiece's words: spaces become `mark`, one is put before the text, and each word begins with it.
    case metaspace(mark: Unicode.Scalar, PrefixScheme, split: Bool)
  }

  /// Which pieces get a mark before them if they have none.
  public enum PrefixScheme: String, Sendable { case always, first, never }

  public var steps: [Step]

  public init(_ steps: [Step]) { self.steps = steps }

  /// The words of `text`, in order; none is empty.
  func words(of text: AlignedText) -> [AlignedText] {
    var words = text.isEmpty ? [] : [text]
    for step in steps {
      words = words.flatMap { step.apply($0) }
    }
    return words
  }
}

/// What becomes of the matches that a text is cut at.
public enum SplitBehavior: String, Sendable {
  case removed = "Removed"
  case isolated = "Isolated"
  case mergedWithPrevious = "MergedWithPrevious"
  case mergedWithNext = "MergedWithNext"
  case contiguous = "Contiguous"

  /// The pieces of `text` cut at `matches`, which lie in it from left to right; none is empty.
  func pieces(of text: Range<Int>, at matches: [Range<Int>], inverted: Bool = false) -> [Range<Int>] {
    var parts: [(range: Range<Int>, isMatch: Bool)] = []
    var done = text.lowerBound
    for match in matches {
      if done < match.lowerBound { parts.append((done..<match.lowerBound, inverted)) }
      parts.append((match, !inverted))
      done = match.upperBound
    }
    if done < text.upperBound { parts.append((done..<text.upperBound, inverted)) }
    switch self {
    case .removed: return parts.filter { !$0.isMatch }.map(\.range)
    case .isolated: return parts.map(\.range)
    case .contiguous: return Self.merge(parts) { $0.isMatch == $1.isMatch }
    case .mergedWithPrevious: return Self.merge(parts) { !$0.isMatch && $1.isMatch }
    case .mergedWithNext: return Self.merge(parts) { $0.isMatch && !$1.isMatch }
    }
  }

  private static func merge(
    _ parts: [(range: Range<Int>, isMatch: Bool)],
    where belong: ((range: Range<Int>, isMatch: Bool), (range: Range<Int>, isMatch: Bool)) -> Bool
  ) -> [Range<Int>] {
    var merged: [Range<Int>] = []
    for (index, part) in parts.enumerated() {
      if index > 0, let last = merged.last, belong(parts[index - 1], part) {
        merged[merged.count - 1] = last.lowerBound..<part.range.upperBound
      } else {
        merged.append(part.range)
      }
    }
    return merged
  }
}

extension PreTokenizer.Step {
  /// The steps of `tokenizer.json`'s `ByteLevel` pre-tokeniser.
  public static func byteLevel(addPrefixSpace: Bool, useRegex: Bool) -> [Self] {
    (addPrefixSpace ? [.prefixSpace] : []) + (useRegex ? [.split(.gpt2)] : [])
  }

  /// The step of `tokenizer.json`'s `Split` pre-tokeniser with a regular expression.
  ///
  /// The known long patterns match every character, so that isolated matches and removed gaps (`Removed`,
  /// inverted) give the same pieces, and are scanned by hand. Throws `TokenizerError.unsupported` for what
  /// `ScalarExpression` does not read.
  public static func split(regex: String, behavior: String, invert: Bool) throws -> Self {
    guard let choice = SplitBehavior(rawValue: behavior) else {
      throw TokenizerError.unsupported(
        part: "Split behaviour", value: behavior,
        known: ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
    }
    if let pattern = SplitPattern(rawValue: regex), choice == (invert ? .removed : .isolated) {
      return .split(pattern)
    }
    return .splitAt(try TextPattern(regex: regex), choice, inverted: invert)
  }

  fileprivate func apply(_ text: AlignedText) -> [AlignedText] {
    let scalars = text.scalars
    func cut(_ behavior: SplitBehavior, at matches: [Range<Int>], inverted: Bool = false) -> [AlignedText] {
      behavior.pieces(of: scalars.indices, at: matches, inverted: inverted).map { text[$0] }
    }
    func each(_ isMatch: (Unicode.Scalar) -> Bool) -> [Range<Int>] {
      scalars.indices.filter { isMatch(scalars[$0]) }.map { $0..<$0 + 1 }
    }
    switch self {
    case .digits(let individual):
      return scalars.runs { left, right in
        left.isNumber == right.isNumber && !(individual && left.isNumber)
      }.map { text[$0] }
    case .split(let pattern):
      return pattern.split(scalars).map { text[$0.indices] }
    case .splitAt(let pattern, let behavior, let inverted):
      return cut(behavior, at: pattern.matches(in: scalars), inverted: inverted)
    case .prefixSpace:
      return [scalars.first == " " ? text : text.prepending([" "])]
    case .bert:
      return scalars.runs { left, right in
        left.isSpace == right.isSpace && !left.isPunctuation && !right.isPunctuation
      }.filter { !scalars[$0.lowerBound].isSpace }.map { text[$0] }
    case .whitespaceSplit:
      return cut(.removed, at: each(\.isSpace))
    case .words:
      return scalars.runs { left, right in
        left.isSpace == right.isSpace && left.isWordCharacter == right.isWordCharacter
      }.filter { !scalars[$0.lowerBound].isSpace }.map { text[$0] }
    case .punctuation(let behavior):
      return cut(behavior, at: each(\.isPunctuation))
    case .metaspace(let mark, let scheme, let split):
      var marked = text.map { $0 == " " ? mark : $0 }
      let isFirst = text.spans.first?.start == 0
      if scheme == .always || scheme == .first && isFirst, marked.scalars.first != mark {
        marked = marked.prepending([mark])
      }
      guard split else { return [marked] }
      let marks = marked.indices.filter { marked.scalars[$0] == mark }.map { $0..<$0 + 1 }
      return SplitBehavior.mergedWithNext.pieces(of: marked.indices, at: marks).map { marked[$0] }
    }
  }
}

extension ArraySlice<Unicode.Scalar> {
  /// The slice cut wherever two neighbours do not belong together.
  fileprivate func runs(_ belong: (Unicode.Scalar, Unicode.Scalar) -> Bool) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var start = startIndex
    for index in indices.dropFirst() where !belong(self[index - 1], self[index]) {
      runs.append(start..<index)
      start = index
    }
    if start < endIndex { runs.append(start..<endIndex) }
    return runs
  }
}
