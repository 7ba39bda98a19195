/// The classes of characters that tokenisers ask for, by the tables of Swift's standard library.
///
/// The `tokenizers` package carries tables of other Unicode versions (16 for its patterns, 8 for BERT): the
/// two differ in characters that were assigned later, and in a few of BERT's whose class was corrected since.
extension Unicode.Scalar {
  /// `\s`: the Unicode property White_Space.
  var isSpace: Bool {
    isASCII ? value == 32 || (9...13).contains(value) : properties.isWhitespace
  }

  /// `[\r\n]`.
  var isNewline: Bool { value == 10 || value == 13 }

  /// `\p{L}`.
  var isLetter: Bool {
    if isASCII { return (97...122).contains(value | 32) }
    switch properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: return true
    default: return false
    }
  }

  /// `\p{N}`: digits, letters that are numbers, and other numbers.
  var isNumber: Bool {
    if isASCII { return (48...57).contains(value) }
    switch properties.generalCategory {
    case .decimalNumber, .letterNumber, .otherNumber: return true
    default: return false
    }
  }

  /// `[^\s\p{L}\p{N}]`: punctuation, symbols, marks, controls and what is unassigned.
  var isSymbol: Bool { !isSpace && !isLetter && !isNumber }

  /// `\w`: alphabetic, marks, decimal digits, connecting punctuation and joiners.
  var isWordCharacter: Bool {
    if properties.isAlphabetic || properties.isJoinControl { return true }
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
    default: return false
    }
  }

  /// What BERT cuts at: `\p{P}` and every ASCII character that is no letter, digit, space or control.
  var isPunctuation: Bool {
    if isASCII { return (33...126).contains(value) && !isLetter && !isNumber }
    switch properties.generalCategory {
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
      .finalPunctuation, .otherPunctuation:
      return true
    default: return false
    }
  }

  /// What BERT's cleaning removes: U+0000, U+FFFD, and controls, formats and private use except tab and
  /// newlines.
  var isRemovedByBert: Bool {
    if value == 0xFFFD { return true }
    if value == 9 || isNewline { return false }
    switch properties.generalCategory {
    case .control, .format, .privateUse: return true
    default: return false
    }
  }

  /// What BERT puts spaces around: the blocks of Chinese ideographs, not kana or hangul.
  var isIdeographForBert: Bool {
    switch value {
    case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
      // Extension E begins at 0x2B820; 0x2B920 is a slip in the package whose ids we reproduce.
      0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
      true
    default: false
    }
  }

  /// `\p{M}`.
  var isMark: Bool {
    switch properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark: true
    default: false
    }
  }

  /// What the normaliser `Nmt` removes: controls that are no whitespace.
  var isRemovedByNmt: Bool {
    switch value {
    case 0x1...0x8, 0xB, 0xE...0x1F, 0x7F, 0x8F, 0x9F: true
    default: false
    }
  }

  /// What the normaliser `Nmt` turns into a space.
  var isSpaceForNmt: Bool {
    switch value {
    case 0x9, 0xA, 0xC, 0xD, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD: true
    default: false
    }
  }
}
