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
    for segment in added.segments(of: text, special: special, normalizers: normalizers) {
      switch segment {
      case .token(let id, let offsets): result.append(id, at: offsets)
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
            result.append(token.id, at: word.offsets(of: range))
          }
        }
      }
    }
    trimming?.apply(to: &result, pieces)
    return result
  }
}

/// How byte-level tokenisers of the `tokenizers` package leave spaces out of a token's place.
public struct OffsetTrimming: Sendable, Equatable {
  /// Whether the pre-tokeniser put a space before the text, which is no part of it.
  public var addsPrefixSpace: Bool

  public init(addsPrefixSpace: Bool) { self.addsPrefixSpace = addsPrefixSpace }

  func apply(to encoding: inout Encoding, _ vocabulary: Vocabulary) {
    // A space in the byte alphabet's spelling.
    func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == "\u{120}" || scalar.isSpace }
    for index in encoding.ids.indices {
      guard let piece = vocabulary[encoding.ids[index]] else { continue }
      var leading = piece.unicodeScalars.prefix(while: isSpace).count
      let trailing = piece.unicodeScalars.reversed().prefix(while: isSpace).count
      guard leading > 0 || trailing > 0 else { continue }
      var (start, end) = (encoding.offsets[index].lowerBound, encoding.offsets[index].upperBound)
      if leading > 0 {
        if addsPrefixSpace && (index == 0 || start == 0) { leading -= 1 }
        start = min(start + leading, end)
      }
      if trailing > 0 && end >= trailing { end = max(end - trailing, start) }
      encoding.setOffsets(start..<end, at: index)
    }
  }
}
