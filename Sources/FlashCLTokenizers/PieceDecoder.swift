/// The way from pieces back to text: steps, each applied to what the last one made of a piece.
public struct PieceDecoder: Sendable, Equatable {
  public enum Step: Sendable, Equatable {
    /// Replaces every occurrence of a string.
    case replace(String, by: String)
    /// A piece `<0x0A>` is the byte.
    case byteFallback
    /// What follows sees the text as a whole, not piece by piece.
    case fuse
    /// Takes up to `start` of the character off the beginning, and `stop` off the end.
    case strip(Unicode.Scalar, start: Int, stop: Int)
    /// The mark is a space; the marks of the text's first piece are nothing, if the tokeniser puts one there.
    case metaspace(mark: Unicode.Scalar, PreTokenizer.PrefixScheme)
    /// A space between all pieces.
    case spaces
    /// What ends a word is taken off its last piece; see `Tokenizer.endsWord`.
    case suffix(String)
  }

  private let steps: [Step]

  /// Throws `TokenizerError.unsupported` for what cannot be done before the whole text is known: taking
  /// characters off its end, or replacing across pieces.
  public init(_ steps: [Step]) throws {
    for step in steps.drop(while: { $0 != .fuse }).dropFirst() {
      if case .strip(_, _, let stop) = step, stop == 0 { continue }
      throw TokenizerError.unsupported(
        part: "decoder", value: "\(step) after Fuse", known: ["Strip at the start after Fuse"])
    }
    self.steps = steps
  }

  /// SentencePiece's own way: `▁` is a space, and the one before the text is taken away.
  public static func sentencePiece(stripsPrefix: Bool) -> PieceDecoder {
    let strip: [Step] = stripsPrefix ? [.fuse, .strip(" ", start: 1, stop: 0)] : []
    return PieceDecoder(checked: [.byteFallback, .replace("\u{2581}", by: " ")] + strip)
  }

  private init(checked steps: [Step]) { self.steps = steps }

  /// What ends words, if the decoder knows of it.
  var suffix: String? {
    for case .suffix(let suffix) in steps where !suffix.isEmpty { return suffix }
    return nil
  }

  func decode(_ piece: String, atStart: Bool) -> [UInt8] {
    var text = Array(piece.unicodeScalars)
    var isFused = false
    for step in steps {
      switch step {
      case .replace(let old, let new):
        let matches = TextPattern.literal(old).matches(in: text[...])
        for match in matches.reversed() { text.replaceSubrange(match, with: new.unicodeScalars) }
      case .byteFallback:
        if let byte = BytePieces.byte(of: String(text)) { return [byte] }
      case .fuse: isFused = true
      case .strip(let scalar, let start, let stop):
        if !isFused || atStart { text.removeFirst(text.prefix(start).prefix { $0 == scalar }.count) }
        if !isFused { text.removeLast(text.suffix(stop).reversed().prefix { $0 == scalar }.count) }
      case .metaspace(let mark, let scheme):
        text = text.compactMap { $0 == mark ? (atStart && scheme != .never ? nil : " ") : $0 }
      case .spaces:
        if !atStart { text.insert(" ", at: 0) }
      case .suffix(let suffix):
        if text.reversed().starts(with: suffix.unicodeScalars.reversed()) {
          text.removeLast(suffix.unicodeScalars.count)
        }
      }
    }
    return Array(String(text).utf8)
  }
}
