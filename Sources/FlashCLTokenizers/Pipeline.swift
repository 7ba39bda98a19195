/// The way from text to words that all tokenisers share; what happens to a word is the model's own.
struct Pipeline: Sendable {
  var added: AddedTokens
  var normalizers: [Normalizer]
  var preTokenizer: PreTokenizer
  var prefix: [Int32]
  var suffix: [Int32]

  /// Repairs the bytes, cuts out the added tokens, normalises, cuts into words and hands each word to
  /// `model`.
  func encode(
    _ text: [UInt8], special: Bool,
    model: (_ word: ArraySlice<Unicode.Scalar>, _ ids: inout [Int32]) -> Void
  ) -> [Int32] {
    let scalars = Array(String(decoding: text, as: UTF8.self).unicodeScalars)
    var ids = special ? prefix : []
    for segment in added.segments(of: scalars, special: special, normalizers: normalizers) {
      switch segment {
      case .token(let id): ids.append(id)
      case .text(let part):
        for word in preTokenizer.words(of: part) { model(word, &ids) }
      }
    }
    return special ? ids + suffix : ids
  }
}
