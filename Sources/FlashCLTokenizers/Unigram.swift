/// SentencePiece's Unigram model: of all ways to cut a word into pieces, the one with the largest sum of
/// scores (log-probabilities), found by Viterbi's algorithm in time linear in the word's length.
///
/// A character without a piece scores 10 less than the least piece. Neighbouring unknown characters are one
/// unknown token, or the pieces of their bytes.
public struct Unigram: Sendable {
  /// A piece that may be cut, and what it is worth.
  public struct Piece: Sendable {
    public var text: String
    public var score: Double
    /// What may happen to a piece.
    public enum Kind: Sendable {
      case normal
      /// Always preferred.
      case userDefined
      /// Not found in text.
      case hidden
    }
    public var kind: Kind

    public init(_ text: String, score: Double, kind: Kind = .normal) {
      self.text = text
      self.score = score
      self.kind = kind
    }
  }

  private let pieces: [Piece]
  private let trie: ScalarTrie
  private let unknown: Int32?
  private let unknownScore: Double
  private let largestScore: Double
  private let bytes: BytePieces?
  private let followsSentencePiece: Bool

  /// Makes a model of pieces, whose ids are their places in the list.
  ///
  /// - Parameters:
  ///   - unknown: the id of the unknown token, if there is one.
  ///   - byteFallback: unknown characters are spelled by the pieces `<0x00>` … `<0xFF>`.
  ///   - followsSentencePiece: sums are rounded as SentencePiece's are, and the bytes of a character have its
  ///     place; in `tokenizers` they have that of all unknown characters around them.
  public init(
    _ pieces: [Piece], unknown: Int32?, byteFallback: Bool = false, followsSentencePiece: Bool = false
  ) throws {
    if let unknown, !pieces.indices.contains(Int(unknown)) {
      throw TokenizerError.badVocabulary(
        "the unknown token's id \(unknown) is not in 0 to \(pieces.count - 1)")
    }
    if let piece = pieces.first(where: { !$0.score.isFinite }) {
      throw TokenizerError.badVocabulary("the score of the piece '\(piece.text)' is not a finite number")
    }
    self.pieces = pieces
    self.unknown = unknown
    self.followsSentencePiece = followsSentencePiece
    let scores = pieces.filter { $0.kind == .normal }.map(\.score)
    let least = (scores.min() ?? 0) - 10
    unknownScore = followsSentencePiece ? Double(Float(least)) : least
    // SentencePiece starts from the least positive float, so that log-probabilities leave it there.
    largestScore = max(scores.max() ?? 0, Double(Float.leastNormalMagnitude))
    var trie = ScalarTrie()
    for (id, piece) in pieces.enumerated() where piece.kind != .hidden {
      trie.insert(piece.text.unicodeScalars, value: Int32(id))
    }
    self.trie = trie
    if byteFallback {
      let known = Dictionary(
        pieces.enumerated().compactMap { id, piece in
          BytePieces.byte(of: piece.text) == nil ? nil : (piece.text, Int32(id))
        }, uniquingKeysWith: { first, _ in first })
      bytes = BytePieces { known[$0] }
    } else {
      bytes = nil
    }
  }

  /// The best way to a place: where its last piece begins, and that piece.
  private struct Node {
    var score = 0.0
    var start = -1
    var id: Int32 = -1
  }

  func tokens(ofWord word: ArraySlice<Unicode.Scalar>) throws -> [WordToken] {
    var nodes = [Node](repeating: Node(), count: word.count + 1)
    let first = word.startIndex

    func reach(_ end: Int, from start: Int, id: Int32, score: Double) {
      guard nodes[end].start < 0 || score > nodes[end].score else { return }
      nodes[end] = Node(score: rounded(score), start: start, id: id)
    }

    for start in 0..<word.count {
      let score = nodes[start].score
      var hasSingle = false
      trie.forEachMatch(in: word[(first + start)...]) { id, end in
        let length = end - first - start
        reach(end - first, from: start, id: id, score: sum(score, of: id))
        hasSingle = hasSingle || length == 1
      }
      if !hasSingle {
        reach(start + 1, from: start, id: unknown ?? -1, score: rounded(score + unknownScore))
      }
    }

    var path: [WordToken] = []
    var end = word.count
    while end > 0 {
      let node = nodes[end]
      if let next = path.last, node.id == (unknown ?? -1), next.id == node.id {
        path[path.count - 1].range = node.start..<next.range.upperBound
      } else {
        path.append(WordToken(id: node.id, range: node.start..<end))
      }
      end = node.start
    }
    var tokens: [WordToken] = []
    for token in path.reversed() {
      if token.id == (unknown ?? -1) {
        tokens += try spell(word, token.range)
      } else {
        tokens.append(token)
      }
    }
    return tokens
  }

  /// The score of a way with one more piece.
  private func sum(_ score: Double, of id: Int32) -> Double {
    let piece = pieces[Int(id)]
    if piece.kind == .userDefined { return score + Double(piece.text.utf8.count) * largestScore - 0.1 }
    return rounded(score + piece.score)
  }

  // A sum of two floats is exact enough in double precision to be rounded twice.
  private func rounded(_ score: Double) -> Double { followsSentencePiece ? Double(Float(score)) : score }

  /// The tokens of unknown characters, at a range counted from the word's start.
  private func spell(_ word: ArraySlice<Unicode.Scalar>, _ range: Range<Int>) throws -> [WordToken] {
    let text = word[word.startIndex + range.lowerBound..<word.startIndex + range.upperBound]
    // The unknown token's own spelling may stand in the text.
    let isSpelledOut = unknown.map { text.elementsEqual(pieces[Int($0)].text.unicodeScalars) } ?? false
    if let bytes, !isSpelledOut || followsSentencePiece {
      let parts = followsSentencePiece ? range.map { $0..<$0 + 1 } : [range]
      let spelled = parts.compactMap { part in
        bytes.tokens(of: word.dropFirst(part.lowerBound).prefix(part.count), at: part)
      }
      if spelled.count == parts.count { return Array(spelled.joined()) }
    }
    guard let unknown else { throw TokenizerError.noUnknownToken(String(text.prefix(20))) }
    return [WordToken(id: unknown, range: range)]
  }
}
