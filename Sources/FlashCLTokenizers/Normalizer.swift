// The standard library has canonical (de)composition only behind this door, which Foundation uses itself; the
// public way would be Foundation's strings, four times the size of the whole program.
@_spi(_Unicode) import Swift

/// A change of the text before it is cut into words.
public enum Normalizer: Sendable, Equatable {
  /// Canonical composition (Unicode NFC).
  case nfc
  case bert(BertNormalizer)

  func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    switch self {
    case .nfc: isComposed(text) ? text : Array(String(text)._nfc)
    case .bert(let bert): bert.normalize(text)
    }
  }

  /// True for text below U+0300, which holds no combining mark and no character that NFC changes.
  private func isComposed(_ text: [Unicode.Scalar]) -> Bool { text.allSatisfy { $0.value < 0x300 } }
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

  func normalize(_ text: [Unicode.Scalar]) -> [Unicode.Scalar] {
    var text = text
    if cleanText {
      text = text.filter { !$0.isRemovedByBert }.map { $0.isSpace ? " " : $0 }
    }
    if handleChineseChars {
      text = text.flatMap { $0.isIdeographForBert ? [" ", $0, " "] : [$0] }
    }
    if stripAccents ?? lowercase {
      text = String(text)._nfd.filter { $0.properties.generalCategory != .nonspacingMark }
    }
    if lowercase {
      text = text.flatMap { Array($0.properties.lowercaseMapping.unicodeScalars) }
    }
    return text
  }
}

extension String {
  init(_ scalars: some Sequence<Unicode.Scalar>) {
    self.init(String.UnicodeScalarView(scalars))
  }
}
