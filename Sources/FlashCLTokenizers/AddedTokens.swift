/// A token that is found in the text as a whole, before the text is cut into words.
public struct AddedToken: Sendable, Equatable {
  public var content: String
  public var id: Int32
  /// Left out of decoded text on request, and found in text only where special tokens are asked for.
  public var isSpecial: Bool
  /// Takes the whitespace before it.
  public var stripsLeft: Bool
  /// Takes the whitespace after it.
  public var stripsRight: Bool
  /// Found in the normalised text, by its own normalised spelling.
  public var isNormalized: Bool
  /// Found only where no word character touches it.
  public var isSingleWord: Bool

  public init(
    _ content: String, id: Int32, isSpecial: Bool, stripsLeft: Bool = false, stripsRight: Bool = false,
    isNormalized: Bool = false, isSingleWord: Bool = false
  ) {
    self.content = content
    self.id = id
    self.isSpecial = isSpecial
    self.stripsLeft = stripsLeft
    self.stripsRight = stripsRight
    self.isNormalized = isNormalized
    self.isSingleWord = isSingleWord
  }
}

/// The added tokens of a tokeniser, and the search for them.
struct AddedTokens: Sendable {
  /// A stretch of text, or an added token that stood there.
  enum Segment {
    case text(AlignedText)
    case token(Int32, AlignedText)
  }

  private var tokens: [Int32: AddedToken] = [:]
  private var raw = ScalarTrie()
  private var normalized = ScalarTrie()

  init(_ list: [AddedToken], normalizers: [Normalizer]) {
    // Special tokens first: of two tokens with one spelling, the special one is found.
    for token in list.filter(\.isSpecial) + list.filter({ !$0.isSpecial }) where !token.content.isEmpty {
      tokens[token.id] = token
      let spelling = Array(token.content.unicodeScalars)
      if token.isNormalized {
        normalized.insert(normalizers.reduce(spelling) { $1.normalize($0) }, value: token.id)
      } else {
        raw.insert(spelling, value: token.id)
      }
    }
  }

  subscript(id: Int32) -> AddedToken? { tokens[id] }

  /// Cuts `text` at the tokens that are found as they are written, normalises what is left, and cuts that at
  /// the tokens that are found after it.
  func segments(
    of text: AlignedText, special: Bool, normalizers: [Normalizer]
  ) -> [Segment] {
    split(text, at: raw, special: special).flatMap { segment -> [Segment] in
      guard case .text(let part) = segment else { return [segment] }
      let clean = normalizers.reduce(part) { $1.normalize($0) }
      return split(clean, at: normalized, special: special)
    }
  }

  private func split(_ aligned: AlignedText, at trie: ScalarTrie, special: Bool) -> [Segment] {
    let text = aligned.scalars
    var segments: [Segment] = []
    var done = text.startIndex
    var index = text.startIndex
    while index < text.endIndex {
      guard let match = trie.longestMatch(in: text[index...]), let token = tokens[match.value] else {
        index += 1
        continue
      }
      var (start, end) = (index, match.end)
      index = match.end
      // A match that does not count still hides the matches inside it.
      if token.isSpecial && !special { continue }
      if token.isSingleWord {
        let touchesLeft = start > text.startIndex && text[start - 1].isWordCharacter
        let touchesRight = end < text.endIndex && text[end].isWordCharacter
        if touchesLeft || touchesRight { continue }
      }
      if token.stripsLeft {
        while start > done && text[start - 1].isSpace { start -= 1 }
      }
      if token.stripsRight {
        while end < text.endIndex && text[end].isSpace { end += 1 }
      }
      if done < start { segments.append(.text(aligned[done..<start])) }
      segments.append(.token(token.id, aligned[start..<end]))
      done = end
    }
    if done < text.endIndex { segments.append(.text(aligned[done..<text.endIndex])) }
    return segments
  }
}
