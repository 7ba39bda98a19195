/// A change of the text before it is cut into words.
public enum Normalizer: Sendable, Equatable {
  /// The Unicode normalisation forms.
  case nfc, nfd, nfkc, nfkd
  case bert(BertNormalizer)
  /// Maps each scalar to lower case, without regard to its place in the word.
  case lowercase
  /// Removes all marks (`\p{M}`).
  case stripAccents
  /// Removes whitespace at the ends.
  case strip(left: Bool, right: Bool)
  /// Puts a string before every text that is not empty.
  case prepend(String)
  /// Replaces every match, from left to right.
  case replace(TextPattern, by: String)
  /// SentencePiece's rules of replacement, as the `tokenizers` package applies them: to characters as the
  /// reader sees them, by the shortest match.
  case precompiled(Charsmap)
  /// SentencePiece's whole normaliser.
  case sentencePiece(SentencePieceNormalizer)
  /// Removes controls and turns rare whitespace into spaces.
  case nmt

  func normalize(_ text: AlignedText) -> AlignedText {
    switch self {
    case .nfc: UnicodeForm.nfc.apply(to: text)
    case .nfd: UnicodeForm.nfd.apply(to: text)
    case .nfkc: UnicodeForm.nfkc.apply(to: text)
    case .nfkd: UnicodeForm.nfkd.apply(to: text)
    case .bert(let bert): bert.normalize(text)
    case .lowercase: text.lowercased()
    case .stripAccents: text.filter { !$0.isMark }
    case .strip(let left, let right): Self.strip(text, left: left, right: right)
    case .prepend(let prefix): text.prepending(Array(prefix.unicodeScalars))
    case .replace(let pattern, let content):
      text.replacing(pattern.matches(in: text.scalars), with: Array(content.unicodeScalars))
    case .precompiled(let map): map.normalize(text)
    case .sentencePiece(let normalizer): normalizer.normalize(text)
    case .nmt: text.filter { !$0.isRemovedByNmt }.map { $0.isSpaceForNmt ? " " : $0 }
    }
  }

  /// The normalised scalars alone.
  func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] { Array(normalize(AlignedText(text)).scalars) }

  private static func strip(_ text: AlignedText, left: Bool, right: Bool) -> AlignedText {
    var (start, end) = (text.indices.lowerBound, text.indices.upperBound)
    while left && start < end && text.scalars[start].isSpace { start += 1 }
    while right && start < end && text.scalars[end - 1].isSpace { end -= 1 }
    return text[start..<end]
  }
}

/// BERT's normaliser: four steps, in this order, each by choice.
public struct BertNormalizer: Sendable, Equatable {
  /// Removes controls and U+FFFD and turns all whitespace into spaces.
  public var cleanText: Bool
  /// Puts spaces around Chinese ideographs.
  public var handleChineseChars: Bool
  /// Decomposes (NFD) and removes nonspacing marks; nil means: if `lowercase`.
  public var stripAccents: Bool?
  /// Maps each scalar to lower case, without regard to its place in the word.
  public var lowercase: Bool

  public init(
    cleanText: Bool = true, handleChineseChars: Bool = true, stripAccents: Bool? = nil, lowercase: Bool = true
  ) {
    self.cleanText = cleanText
    self.handleChineseChars = handleChineseChars
    self.stripAccents = stripAccents
    self.lowercase = lowercase
  }

  func normalize(_ text: AlignedText) -> AlignedText {
    var text = text
    if cleanText {
      text = text.filter { !$0.isRemovedByBert }.map { $0.isSpace ? " " : $0 }
    }
    if handleChineseChars {
      text = text.flatMap { $0.isIdeographForBert ? [" ", $0, " "] : [$0] }
    }
    if stripAccents ?? lowercase {
      text = UnicodeForm.nfd.apply(to: text).filter { $0.properties.generalCategory != .nonspacingMark }
    }
    return lowercase ? text.lowercased() : text
  }

  func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] { Array(normalize(AlignedText(text)).scalars) }
}

extension AlignedText {
  fileprivate func lowercased() -> AlignedText {
    flatMap { scalar in
      if scalar.isASCII {
        return [("A"..."Z").contains(scalar) ? Unicode.Scalar(UInt8(scalar.value) | 32) : scalar]
      }
      return Array(scalar.properties.lowercaseMapping.unicodeScalars)
    }
  }
}

extension String {
  init(_ scalars: some Sequence<Unicode.Scalar>) {
    self.init(String.UnicodeScalarView(scalars))
  }
}
