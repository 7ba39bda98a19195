/// The tokens of a text, or of a pair of texts: for each token its id, its segment and its place.
public struct Encoding: Sendable, Equatable {
  public private(set) var ids: [Int32] = []
  /// The segment of each token, which a model may embed (BERT: 0 for the first text, 1 for the second).
  public private(set) var segments: [Int32] = []
  /// Where each token stands in its own text, in Unicode scalars; 0..<0 for a token of the template.
  ///
  /// Tokens that are bytes of one character all have the place of that character. A character that the
  /// tokeniser puts before the text has the place of the text's first one. Of one character that is
  /// normalised to several (½), tokenizer.json's tokens all have the place; a SentencePiece file's last one
  /// has it, those before are empty and stand at its start.
  public private(set) var offsets: [Range<Int>] = []
  /// The text that each token comes from, 0 or 1; nil for a token that the template adds.
  public private(set) var sources: [Int?] = []

  public init() {}

  public var count: Int { ids.count }

  /// True for each token that the template adds (`[CLS]`), false for what stands in a text, be it special.
  public var specialMask: [Bool] { sources.map { $0 == nil } }

  /// The tokens at `range`, with their places unchanged.
  public subscript(range: Range<Int>) -> Encoding {
    var part = Encoding()
    part.ids = Array(ids[range])
    part.segments = Array(segments[range])
    part.offsets = Array(offsets[range])
    part.sources = Array(sources[range])
    return part
  }

  mutating func append(_ id: Int32, segment: Int32 = 0, at offsets: Range<Int> = 0..<0, of source: Int? = 0) {
    ids.append(id)
    segments.append(segment)
    self.offsets.append(offsets)
    sources.append(source)
  }

  mutating func append(_ other: Encoding, segment: Int32, source: Int) {
    ids += other.ids
    segments += repeatElement(segment, count: other.count)
    offsets += other.offsets
    sources += [Int?](repeating: source, count: other.count)
  }
}

/// What stands around one text, and around two, when a model reads them: `[CLS] A [SEP] B [SEP]`.
public struct Template: Sendable, Equatable {
  public enum Part: Sendable, Equatable {
    /// The first text.
    case first(segment: Int32)
    /// The second text.
    case second(segment: Int32)
    case token(Int32, segment: Int32)
  }

  public var single: [Part]
  public var pair: [Part]

  public init(single: [Part], pair: [Part]) {
    self.single = single
    self.pair = pair
  }

  /// `prefix A suffix`, and for two texts `prefix A suffix B suffix`, the second with the segment `second`
  /// and `middle` before it.
  public init(prefix: [Int32] = [], suffix: [Int32] = [], middle: [Int32] = [], second: Int32 = 1) {
    func tokens(_ ids: [Int32], _ segment: Int32) -> [Part] { ids.map { .token($0, segment: segment) } }
    single = tokens(prefix, 0) + [.first(segment: 0)] + tokens(suffix, 0)
    pair = single + tokens(middle, second) + [.second(segment: second)] + tokens(suffix, second)
  }

  /// The ids of the tokens that the template adds.
  var ids: [Int32] {
    (single + pair).compactMap { part in
      if case .token(let id, _) = part { id } else { nil }
    }
  }

  /// How many tokens the template adds to one text, or to two.
  public func addition(toPair isPair: Bool) -> Int {
    (isPair ? pair : single).count { if case .token = $0 { true } else { false } }
  }

  /// Puts the template around tokens; false leaves its own tokens out, so that only the segments are given.
  public func apply(to first: Encoding, _ second: Encoding? = nil, addingTokens: Bool = true) -> Encoding {
    var result = Encoding()
    for part in second == nil ? single : pair {
      switch part {
      case .first(let segment): result.append(first, segment: segment, source: 0)
      case .second(let segment):
        if let second { result.append(second, segment: segment, source: 1) }
      case .token(let id, let segment):
        if addingTokens { result.append(id, segment: segment, of: nil) }
      }
    }
    return result
  }
}
