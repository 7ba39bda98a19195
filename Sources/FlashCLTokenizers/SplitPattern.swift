/// A regular expression that byte-level tokenisers cut text with, recognised by its exact text and scanned by
/// hand.
public enum SplitPattern: String, Sendable, CaseIterable {
  case gpt2 = #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
  case llama3 =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  case qwen2 =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// The matches in `text`, which cover it.
  func split(_ text: ArraySlice<Unicode.Scalar>) -> [ArraySlice<Unicode.Scalar>] {
    let scanner = Scanner(text: text, pattern: self)
    var pieces: [ArraySlice<Unicode.Scalar>] = []
    var start = text.startIndex
    while start < text.endIndex {
      let end = scanner.matchEnd(from: start)
      pieces.append(text[start..<end])
      start = end
    }
    return pieces
  }
}

/// The alternatives of the patterns, in their order: the first that matches wins.
private struct Scanner {
  let text: ArraySlice<Unicode.Scalar>
  let pattern: SplitPattern

  func matchEnd(from start: Int) -> Int {
    contraction(from: start) ?? letters(from: start) ?? numbers(from: start) ?? symbols(from: start)
      ?? newlines(from: start) ?? spaces(from: start)
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d`, for llama3 and qwen2 in either case.
  private func contraction(from start: Int) -> Int? {
    guard text[start] == "'", let first = letter(at: start + 1) else { return nil }
    switch first {
    case "s", "t", "m", "d": return start + 2
    default: break
    }
    switch (first, letter(at: start + 2)) {
    case ("r", "e"), ("v", "e"), ("l", "l"): return start + 3
    default: return nil
    }
  }

  /// The scalar at `index`, folded to lower case where the pattern ignores case.
  private func letter(at index: Int) -> Unicode.Scalar? {
    guard index < text.endIndex else { return nil }
    let scalar = text[index]
    if pattern == .gpt2 { return scalar }
    // The long s (U+017F) folds to s; no other letter of the contractions has a fold outside ASCII.
    if scalar == "\u{17F}" { return "s" }
    return ("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) | 32) : scalar
  }

  /// ` ?\p{L}+`; llama3 and qwen2 allow any symbol or space but a newline in front:
  /// `[^\r\n\p{L}\p{N}]?\p{L}+`.
  private func letters(from start: Int) -> Int? {
    let lead = text[start]
    let isLead = pattern == .gpt2 ? lead == " " : !lead.isNewline && !lead.isLetter && !lead.isNumber
    return run(from: isLead ? start + 1 : start, while: \.isLetter)
  }

  /// ` ?\p{N}+`, `\p{N}{1,3}` or `\p{N}`.
  private func numbers(from start: Int) -> Int? {
    switch pattern {
    case .gpt2: run(from: text[start] == " " ? start + 1 : start, while: \.isNumber)
    case .llama3: run(from: start, while: \.isNumber).map { min($0, start + 3) }
    case .qwen2: text[start].isNumber ? start + 1 : nil
    }
  }

  /// ` ?[^\s\p{L}\p{N}]+`, for llama3 and qwen2 followed by `[\r\n]*`.
  private func symbols(from start: Int) -> Int? {
    guard let end = run(from: text[start] == " " ? start + 1 : start, while: \.isSymbol) else { return nil }
    return pattern == .gpt2 ? end : run(from: end, while: \.isNewline) ?? end
  }

  /// `\s*[\r\n]+`: a run of whitespace up to its last newline.
  private func newlines(from start: Int) -> Int? {
    guard pattern != .gpt2, let end = run(from: start, while: \.isSpace) else { return nil }
    return text[start..<end].lastIndex(where: \.isNewline).map { $0 + 1 }
  }

  /// `\s+(?!\S)|\s+`: a run of whitespace, which leaves its last character to a word that follows.
  private func spaces(from start: Int) -> Int {
    guard let end = run(from: start, while: \.isSpace) else {
      // Every scalar is a letter, a number, a symbol or a space, so that one alternative has matched before.
      return start + 1
    }
    return end == text.endIndex || end == start + 1 ? end : end - 1
  }

  /// The end of the longest run of at least one scalar of a class.
  private func run(from start: Int, while belongs: (Unicode.Scalar) -> Bool) -> Int? {
    var end = start
    while end < text.endIndex && belongs(text[end]) { end += 1 }
    return end > start ? end : nil
  }
}
