/// Cuts text into the words that a tokeniser then works on one by one: steps, each applied to every piece of
/// the last.
public struct PreTokenizer: Sendable, Equatable {
  public enum Step: Sendable, Equatable {
    /// Parts numbers (`\p{N}`) from the rest, each digit for itself or run by run.
    case digits(individual: Bool)
    /// Cuts at the matches of a regular expression, which cover the whole text.
    case split(SplitPattern)
    /// Puts a space before every piece that does not begin with one.
    case prefixSpace
    /// BERT's words: cut at whitespace, which is dropped, and around each punctuation mark.
    case bert
  }

  public var steps: [Step]

  public init(_ steps: [Step]) { self.steps = steps }

  /// The names that GGUF's `tokenizer.ggml.pre` uses, and what they mean.
  private static let named: [(names: [String], steps: [Step])] = [
    (["gpt-2", "gpt2"], [.split(.gpt2)]),
    (["smollm"], [.digits(individual: true), .split(.gpt2)]),
    (["llama-bpe", "llama3", "llama-v3"], [.split(.llama3)]),
    (["qwen2"], [.split(.qwen2)]),
  ]

  /// The pre-tokeniser that GGUF calls `name`; throws `TokenizerError.unsupported` and lists the known names.
  public init(named name: String) throws {
    guard let match = Self.named.first(where: { $0.names.contains(name) }) else {
      throw TokenizerError.unsupported(
        part: "pre-tokeniser", value: name, known: Self.named.flatMap(\.names))
    }
    self.init(match.steps)
  }

  /// The words of `text`, in order; none is empty.
  func words(of text: ArraySlice<Unicode.Scalar>) -> [ArraySlice<Unicode.Scalar>] {
    var words = text.isEmpty ? [] : [text]
    for step in steps {
      words = words.flatMap { step.apply($0) }
    }
    return words
  }
}

extension PreTokenizer.Step {
  /// The steps of `tokenizer.json`'s `ByteLevel` pre-tokeniser.
  public static func byteLevel(addPrefixSpace: Bool, useRegex: Bool) -> [Self] {
    (addPrefixSpace ? [.prefixSpace] : []) + (useRegex ? [.split(.gpt2)] : [])
  }

  /// The step of `tokenizer.json`'s `Split` pre-tokeniser with a regular expression.
  ///
  /// The known patterns match every character, so that isolated matches and removed gaps (`Removed`,
  /// inverted) give the same pieces. Throws `TokenizerError.unsupported` for every other behaviour or
  /// pattern.
  public static func split(regex: String, behavior: String, invert: Bool) throws -> Self {
    guard (behavior == "Isolated" && !invert) || (behavior == "Removed" && invert) else {
      throw TokenizerError.unsupported(
        part: "Split behaviour", value: invert ? "\(behavior), inverted" : behavior,
        known: ["Isolated", "Removed, inverted"])
    }
    return .split(try SplitPattern(regex: regex))
  }

  fileprivate func apply(_ text: ArraySlice<Unicode.Scalar>) -> [ArraySlice<Unicode.Scalar>] {
    switch self {
    case .digits(let individual):
      return text.runs { left, right in
        left.isNumber == right.isNumber && !(individual && left.isNumber)
      }
    case .split(let pattern):
      return pattern.split(text)
    case .prefixSpace:
      return [text.first == " " ? text : [" "] + text]
    case .bert:
      return text.runs { left, right in
        left.isSpace == right.isSpace && !left.isPunctuation && !right.isPunctuation
      }.filter { !$0[$0.startIndex].isSpace }
    }
  }
}

extension ArraySlice<Unicode.Scalar> {
  /// The slice cut wherever two neighbours do not belong together.
  fileprivate func runs(_ belong: (Unicode.Scalar, Unicode.Scalar) -> Bool) -> [Self] {
    var runs: [Self] = []
    var start = startIndex
    for index in indices.dropFirst() where !belong(self[index - 1], self[index]) {
      runs.append(self[start..<index])
      start = index
    }
    if start < endIndex { runs.append(self[start...]) }
    return runs
  }
}
