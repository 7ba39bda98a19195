/// A token of one word, with the scalars that it stands for, counted from the word's start.
struct WordToken: Sendable {
  var id: Int32
  var range: Range<Int>
}

/// The way from text to words that all tokenisers share; what happens to a word is the model's own.
struct Pipeline: Sendable {
  var added: AddedTokens
  var normalizers: [Normalizer]
  var preTokenizer: PreTokenizer
  var template: Template
  /// Takes the spaces of a token out of its place, except the one that the tokeniser itself put before the
  /// text.
  var trimming: OffsetTrimming?

  init(
    added: [AddedToken], normalizers: [Normalizer], preTokenizer: PreTokenizer, template: Template,
    trimming: OffsetTrimming? = nil
  ) {
    self.added = AddedTokens(added, normalizers: normalizers)
    self.normalizers = normalizers
    self.preTokenizer = preTokenizer
    self.template = template
    self.trimming = trimming
  }

  /// Repairs the bytes, cuts out the added tokens, normalises, cuts into words and hands each word to
  /// `model`.
  func tokens(
    of text: [UInt8], special: Bool, pieces: Vocabulary,
    model: (_ word: ArraySlice<Unicode.Scalar>) throws -> [WordToken]
  ) rethrows -> Encoding {
    let text = AlignedText(Array(String(decoding: text, as: UTF8.self).unicodeScalars))
    // Words repeat within a text. The table lives as long as the call, so that there is nothing to share or
    // bound.
    var known: [ArraySlice<Unicode.Scalar>: [WordToken]] = [:]
    var result = Encoding()

    func place(_ id: Int32, at offsets: Range<Int>, spelling: String?) {
      let isFirst = result.count == 0 || offsets.lowerBound == 0
      result.append(id, at: trimming?.trim(offsets, of: spelling ?? "", isFirst: isFirst) ?? offsets)
    }

    for segment in added.segments(of: text, special: special, normalizers: normalizers) {
      switch segment {
      case .token(let id, let text):
        place(id, at: text.offsets(of: text.indices), spelling: String(text.scalars))
      case .text(let part):
        for word in preTokenizer.words(of: part) {
          let tokens: [WordToken]
          if let repeated = known[word.scalars] {
            tokens = repeated
          } else {
            tokens = try model(word.scalars)
            if word.count <= 32 { known[word.scalars] = tokens }
          }
          let start = word.indices.lowerBound
          for token in tokens {
            let range = start + token.range.lowerBound..<start + token.range.upperBound
            place(token.id, at: word.offsets(of: range), spelling: pieces[token.id])
          }
        }
      }
    }
    return result
  }
}

/// How byte-level tokenisers of the `tokenizers` package leave spaces out of a token's place.
public struct OffsetTrimming: Sendable, Equatable {
  /// Whether the pre-tokeniser put a space before the text, which is no part of it.
  public var addsPrefixSpace: Bool

  public init(addsPrefixSpace: Bool) { self.addsPrefixSpace = addsPrefixSpace }

  /// The place `offsets` of a token without the spaces of its spelling.
  ///
  /// One space before the first token may be the one that was put there, and stays.
  func trim(_ offsets: Range<Int>, of spelling: String, isFirst: Bool) -> Range<Int> {
    // A space, also in the byte alphabet's spelling.
    func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == "\u{120}" || scalar.isSpace }
    let leading = spelling.unicodeScalars.prefix(while: isSpace).count
    let trailing = spelling.unicodeScalars.reversed().prefix(while: isSpace).count
    var (start, end) = (offsets.lowerBound, offsets.upperBound)
    if leading > 1 || leading == 1 && !(isFirst && addsPrefixSpace) { start = min(start + leading, end) }
    if trailing > 0 && end >= trailing { end = max(end - trailing, start) }
    return start..<end
  }
}
