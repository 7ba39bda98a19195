/// Text on its way to tokens, in which each scalar knows where in the original it comes from.
///
/// The rules by which a change of the text moves the places are those of the `tokenizers` package, so that
/// the tokens' offsets are the same.
struct AlignedText: Sendable {
  /// First and past-last scalar of the original text.
  struct Span: Sendable, Equatable {
    var start: Int32
    var end: Int32
  }

  /// A new scalar, and how many more (positive: inserted) or fewer (negative) scalars there are with it.
  typealias Change = (scalar: Unicode.Scalar, change: Int)

  /// Both slices have the same indices.
  private(set) var scalars: ArraySlice<Unicode.Scalar>
  private(set) var spans: ArraySlice<Span>

  init(_ text: [Unicode.Scalar]) {
    scalars = text[...]
    spans = text.indices.map { Span(start: Int32($0), end: Int32($0 + 1)) }[...]
  }

  private init(_ scalars: [Unicode.Scalar], _ spans: [Span]) {
    self.scalars = scalars[...]
    self.spans = spans[...]
  }

  var isEmpty: Bool { scalars.isEmpty }
  var indices: Range<Int> { scalars.indices }
  var count: Int { scalars.count }

  subscript(range: Range<Int>) -> AlignedText {
    var part = self
    part.scalars = scalars[range]
    part.spans = spans[range]
    return part
  }

  /// Where the scalars at `range`, which is not empty, come from.
  func span(of range: Range<Int>) -> Span {
    Span(start: spans[range.lowerBound].start, end: spans[range.upperBound - 1].end)
  }

  func offsets(of range: Range<Int>) -> Range<Int> {
    let span = span(of: range)
    return Int(span.start)..<max(Int(span.start), Int(span.end))
  }

  /// The same places with other scalars, one for one.
  func map(_ transform: (Unicode.Scalar) -> Unicode.Scalar) -> AlignedText {
    AlignedText(scalars.map(transform), Array(spans))
  }

  func filter(_ isKept: (Unicode.Scalar) -> Bool) -> AlignedText {
    let kept = scalars.indices.filter { isKept(scalars[$0]) }
    return kept.count == count ? self : AlignedText(kept.map { scalars[$0] }, kept.map { spans[$0] })
  }

  /// Each scalar replaced by some, all of which have its place.
  func flatMap(_ transform: (Unicode.Scalar) -> [Unicode.Scalar]) -> AlignedText {
    var (newScalars, newSpans): ([Unicode.Scalar], [Span]) = ([], [])
    newScalars.reserveCapacity(count)
    newSpans.reserveCapacity(count)
    for index in indices {
      let replacement = transform(scalars[index])
      newScalars += replacement
      newSpans += repeatElement(spans[index], count: replacement.count)
    }
    return AlignedText(newScalars, newSpans)
  }

  /// The text that `changes` describe: an inserted scalar has the place of the one before it in the old
  /// text, every other the place of the first one that it replaces.
  func applying(_ changes: [Change]) -> AlignedText {
    var newSpans: [Span] = []
    newSpans.reserveCapacity(changes.count)
    var index = scalars.startIndex
    for (_, change) in changes {
      let source = change > 0 ? index - 1 : index
      if source < spans.startIndex {
        newSpans.append(Span(start: spans.first?.start ?? 0, end: spans.first?.start ?? 0))
      } else {
        newSpans.append(spans[min(source, spans.endIndex - 1)])
      }
      if change <= 0 { index += 1 - change }
    }
    return AlignedText(changes.map(\.scalar), newSpans)
  }

  /// Puts scalars before a text that is not empty; they have the place of its first scalar.
  func prepending(_ prefix: [Unicode.Scalar]) -> AlignedText {
    guard let first = spans.first else { return self }
    return AlignedText(prefix + scalars, [Span](repeating: first, count: prefix.count) + spans)
  }

  /// Replaces each range, given from left to right; the new scalars have the place of the last old one.
  func replacing(_ ranges: [Range<Int>], with content: [Unicode.Scalar]) -> AlignedText {
    guard !ranges.isEmpty else { return self }
    var (newScalars, newSpans): ([Unicode.Scalar], [Span]) = ([], [])
    var done = scalars.startIndex
    for range in ranges {
      newScalars += scalars[done..<range.lowerBound] + content
      newSpans += spans[done..<range.lowerBound]
      newSpans += repeatElement(spans[range.upperBound - 1], count: content.count)
      done = range.upperBound
    }
    return AlignedText(newScalars + scalars[done...], newSpans + spans[done...])
  }

  /// The same scalars, or some of them, with places that a normaliser counted itself, relative to this text.
  func rebuilt(_ parts: [(scalar: Unicode.Scalar, start: Int, end: Int)]) -> AlignedText {
    func place(_ index: Int) -> Int32 {
      index < count ? spans[spans.startIndex + index].start : spans.last?.end ?? 0
    }
    return AlignedText(parts.map(\.scalar), parts.map { Span(start: place($0.start), end: place($0.end)) })
  }
}
