/// Byte-pair encoding over characters, as Llama 2, Mistral and Gemma use it: the characters of a word are
/// merged pair by pair, in the order of the merges' ranks.
///
/// A character without a piece is spelled by the pieces of its bytes, or is the unknown token.
public struct CharacterBPE: Sendable {
  private let merges: MergeTable
  private let singles: [Unicode.Scalar: Int32]
  /// The pieces of characters that end a word, where these have pieces of their own.
  private let lasts: [Unicode.Scalar: Int32]?
  private let whole: Vocabulary?
  private let unknown: Int32?
  private let fusesUnknown: Bool
  private let bytes: BytePieces?
  private let userDefined: ScalarTrie

  /// Makes a model of a vocabulary and merges from the first to the last rank.
  ///
  /// - Parameters:
  ///   - unknown: the id of the unknown token, if there is one.
  ///   - fusesUnknown: neighbouring unknown characters are one token.
  ///   - byteFallback: unknown characters are spelled by the pieces `<0x00>` … `<0xFF>`.
  ///   - ignoreMerges: a word that is a piece as a whole is that piece.
  ///   - wordSuffix: what the last character of a word has after it (GPT-1's `</w>`).
  ///
  /// Throws `TokenizerError.badVocabulary` for a merge whose parts or result are no pieces.
  public init(
    vocabulary: Vocabulary, merges: [ByteLevelBPE.Merge], unknown: Int32? = nil, fusesUnknown: Bool = false,
    byteFallback: Bool = false, ignoreMerges: Bool = false, wordSuffix: String = ""
  ) throws {
    self.merges = try MergeTable(merges, of: vocabulary)
    func characters(before suffix: String) -> [Unicode.Scalar: Int32] {
      Dictionary(
        vocabulary.pieces.compactMap { piece in
          guard let piece, let scalar = piece.unicodeScalars.first,
            piece.unicodeScalars.dropFirst().elementsEqual(suffix.unicodeScalars),
            let id = vocabulary.id(of: piece)
          else { return nil }
          return (scalar, id)
        }, uniquingKeysWith: { first, _ in first })
    }
    singles = characters(before: "")
    lasts = wordSuffix.isEmpty ? nil : characters(before: wordSuffix)
    whole = ignoreMerges ? vocabulary : nil
    self.unknown = unknown
    self.fusesUnknown = fusesUnknown
    bytes = byteFallback ? BytePieces { vocabulary.id(of: $0) } : nil
    userDefined = ScalarTrie()
  }

  /// The longest piece that may be merged, in scalars: all ways to part it in two are looked up.
  public static let longestPiece = 1024

  /// Makes SentencePiece's form, which has scores in place of merges: two neighbours become a piece if their
  /// joined text is one, that of the largest score first.
  ///
  /// User-defined pieces are found before and are not merged.
  public init(_ pieces: [Unigram.Piece], unknown: Int32?, byteFallback: Bool) throws {
    var ids: [[Unicode.Scalar]: Int32] = [:]
    var singles: [Unicode.Scalar: Int32] = [:]
    var userDefined = ScalarTrie()
    for (id, piece) in pieces.enumerated() where piece.kind != .hidden {
      let scalars = Array(piece.text.unicodeScalars)
      guard scalars.count <= Self.longestPiece else {
        throw TokenizerError.badVocabulary(
          "the piece \(id) has \(scalars.count) characters, more than \(Self.longestPiece)")
      }
      if piece.kind == .userDefined {
        userDefined.insert(scalars, value: Int32(id))
      } else if ids[scalars] == nil {
        ids[scalars] = Int32(id)
        if scalars.count == 1 { singles[scalars[0]] = Int32(id) }
      }
    }
    let scores = Set(ids.values.map { pieces[Int($0)].score }).sorted(by: >)
    let ranks = Dictionary(uniqueKeysWithValues: scores.enumerated().map { ($1, $0) })
    var merges = MergeTable(minimumCapacity: 2 * ids.count)
    func part(_ scalars: ArraySlice<Unicode.Scalar>) -> Int32? {
      ids[Array(scalars)] ?? (scalars.count == 1 ? scalars.first.map(Self.placeholder) : nil)
    }
    for (scalars, id) in ids where scalars.count > 1 {
      guard let rank = ranks[pieces[Int(id)].score] else { continue }
      for middle in 1..<scalars.count {
        if let left = part(scalars[..<middle]), let right = part(scalars[middle...]) {
          merges.insert(left, right, rank: rank, into: id)
        }
      }
    }
    self.merges = merges
    self.singles = singles
    lasts = nil
    self.userDefined = userDefined
    self.unknown = unknown
    fusesUnknown = true
    whole = nil
    let known = Dictionary(
      pieces.enumerated().map { ($1.text, Int32($0)) }, uniquingKeysWith: { first, _ in first })
    bytes = byteFallback ? BytePieces { known[$0] } : nil
  }

  /// What stands for a character without a piece until all merges are done: a negative number.
  private static func placeholder(_ scalar: Unicode.Scalar) -> Int32 { -1 - Int32(scalar.value) }

  func tokens(ofWord word: ArraySlice<Unicode.Scalar>) throws -> [WordToken] {
    if let whole, let id = whole.id(of: String(word)) { return [WordToken(id: id, range: 0..<word.count)] }
    var symbols: [WordToken] = []
    symbols.reserveCapacity(word.count)
    var index = word.startIndex
    while index < word.endIndex {
      let place = index - word.startIndex
      if let match = userDefined.longestMatch(in: word[index...]) {
        symbols.append(WordToken(id: match.value, range: place..<match.end - word.startIndex))
        index = match.end
      } else {
        let isLast = index + 1 == word.endIndex
        let id = (isLast ? lasts ?? singles : singles)[word[index]] ?? Self.placeholder(word[index])
        symbols.append(WordToken(id: id, range: place..<place + 1))
        index += 1
      }
    }
    var tokens: [WordToken] = []
    tokens.reserveCapacity(symbols.count)
    for token in merges.merge(symbols) {
      if token.id >= 0 {
        tokens.append(token)
        continue
      }
      let scalar = word.dropFirst(token.range.lowerBound).prefix(token.range.count)
      if let spelled = bytes?.tokens(of: scalar, at: token.range) {
        tokens += spelled
        continue
      }
      guard let unknown else { throw TokenizerError.noUnknownToken(String(scalar)) }
      if fusesUnknown, let last = tokens.last, last.id == unknown {
        tokens[tokens.count - 1].range = last.range.lowerBound..<token.range.upperBound
      } else {
        tokens.append(WordToken(id: unknown, range: token.range))
      }
    }
    return tokens
  }
}
