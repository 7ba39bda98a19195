/// SentencePiece's `precompiled_charsmap`: character sequences and what they are replaced by.
///
/// Bytes: the trie's size in bytes (little-endian, 32 bits), the trie, then the replacements, each ended by a
/// zero byte. The trie is a double array over UTF-8 bytes, whose values are places among the replacements:
/// of a unit, bits 0…7 and 31 are the label, bit 8 tells that a word ends here, bits 10… are the offset to its
/// children, in steps of 256 if bit 9 is set; of a unit that is a value, bits 0…30 are it.
public struct Charsmap: Sendable, Equatable {
  private let units: [UInt32]
  private let replacements: [UInt8]

  /// Throws `TokenizerError.badVocabulary` where the sizes do not fit.
  public init(_ bytes: [UInt8]) throws {
    func unit(at index: Int) -> UInt32 {
      (0..<4).reduce(0) { $0 | UInt32(bytes[index + $1]) << (8 * UInt32($1)) }
    }
    guard bytes.count > 4 else {
      throw TokenizerError.badVocabulary("the character map has \(bytes.count) bytes, too few for a trie")
    }
    let size = Int(unit(at: 0))
    guard size > 0, size % 4 == 0, size <= bytes.count - 4 else {
      throw TokenizerError.badVocabulary(
        "the character map of \(bytes.count) bytes says that its trie takes \(size); "
          + "it must be a multiple of 4 and end before the map does")
    }
    units = stride(from: 4, to: 4 + size, by: 4).map(unit)
    replacements = Array(bytes[(4 + size)...])
  }

  /// A match at the start of a text: how many scalars it takes, and what stands for them.
  struct Match {
    var count: Int
    var replacement: [Unicode.Scalar]
  }

  /// The longest sequence of the map at the start of `text`, or the shortest.
  func match(in text: ArraySlice<Unicode.Scalar>, shortest: Bool) -> Match? {
    var best: (count: Int, value: Int)?
    var node = Self.offset(units[0])
    search: for (index, scalar) in text.enumerated() {
      for byte in UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter {
        node ^= UInt32(byte)
        guard byte != 0, let unit = self.unit(at: node), unit & 0x8000_00FF == UInt32(byte) else {
          break search
        }
        node ^= Self.offset(unit)
        if unit >> 8 & 1 == 1, let value = self.unit(at: node) {
          best = (index + 1, Int(value & 0x7FFF_FFFF))
          if shortest { break search }
        }
      }
    }
    guard let best, best.value < replacements.count else { return nil }
    let bytes = replacements[best.value...].prefix { $0 != 0 }
    return Match(
      count: best.count, replacement: Array(String(decoding: bytes, as: UTF8.self).unicodeScalars))
  }

  private func unit(at index: UInt32) -> UInt32? {
    Int(index) < units.count ? units[Int(index)] : nil
  }

  private static func offset(_ unit: UInt32) -> UInt32 {
    // At most 2^22 - 1 steps of 256: no bit is lost.
    (unit >> 10) << ((unit & 1 << 9) >> 6)
  }

  /// Replaces as the `tokenizers` package does: a character as the reader sees it (of less than 6 bytes) as a
  /// whole if the map has any beginning of it, else scalar by scalar.
  func normalize(_ text: AlignedText) -> AlignedText {
    var changes: [AlignedText.Change] = []
    changes.reserveCapacity(text.count)
    var isModified = false

    func replace(_ count: Int, by replacement: [Unicode.Scalar]) {
      isModified = true
      let difference = replacement.count - count
      for (index, scalar) in replacement.enumerated() { changes.append((scalar, index < count ? 0 : 1)) }
      // A sequence that vanishes is counted to the scalar before it.
      if difference < 0 && !changes.isEmpty { changes[changes.count - 1].change += difference }
    }

    for character in String(text.scalars) {
      let scalars = Array(character.unicodeScalars)
      if character.utf8.count < 6, let match = match(in: scalars[...], shortest: true) {
        replace(scalars.count, by: match.replacement)
        continue
      }
      for index in scalars.indices {
        if let match = match(in: scalars[index...index], shortest: true) {
          replace(1, by: match.replacement)
        } else {
          changes.append((scalars[index], 0))
        }
      }
    }
    return isModified ? text.applying(changes) : text
  }
}

/// SentencePiece's normaliser: replaces by the longest rule, tidies spaces and spells them `▁`.
public struct SentencePieceNormalizer: Sendable, Equatable {
  public var charsmap: Charsmap?
  /// Puts a space before the text (or after it, see `spaceIsSuffix`).
  public var addsDummyPrefix: Bool
  /// Removes spaces at the ends, and all but one between words.
  public var removesExtraWhitespaces: Bool
  /// Spells a space `▁` (U+2581).
  public var escapesWhitespaces: Bool
  /// The dummy space comes after the text.
  public var spaceIsSuffix: Bool
  /// Pieces that no rule changes.
  var protected = ScalarTrie()

  public init(
    charsmap: Charsmap? = nil, addsDummyPrefix: Bool = true, removesExtraWhitespaces: Bool = true,
    escapesWhitespaces: Bool = true, spaceIsSuffix: Bool = false, protectedPieces: [String] = []
  ) {
    self.charsmap = charsmap
    self.addsDummyPrefix = addsDummyPrefix
    self.removesExtraWhitespaces = removesExtraWhitespaces
    self.escapesWhitespaces = escapesWhitespaces
    self.spaceIsSuffix = spaceIsSuffix
    for piece in protectedPieces { protected.insert(piece.unicodeScalars, value: 0) }
  }

  func normalize(_ text: AlignedText) -> AlignedText {
    let scalars = text.scalars
    let space: Unicode.Scalar = escapesWhitespaces ? "\u{2581}" : " "
    var index = scalars.startIndex

    func next() -> (replacement: [Unicode.Scalar], end: Int) {
      if let match = protected.longestMatch(in: scalars[index...]) {
        return (Array(scalars[index..<match.end]), match.end)
      }
      if let match = charsmap?.match(in: scalars[index...], shortest: false) {
        return (match.replacement, index + match.count)
      }
      return ([scalars[index]], index + 1)
    }

    if removesExtraWhitespaces {
      while index < scalars.endIndex {
        let step = next()
        guard step.replacement == [" "] else { break }
        index = step.end
      }
    }
    guard index < scalars.endIndex else { return text[scalars.startIndex..<scalars.startIndex] }

    var output: [(scalar: Unicode.Scalar, start: Int)] = []
    output.reserveCapacity(scalars.count + 1)
    if addsDummyPrefix && !spaceIsSuffix { output.append((space, index)) }
    var isAfterSpace = removesExtraWhitespaces
    while index < scalars.endIndex {
      let step = next()
      let kept = isAfterSpace ? step.replacement.drop { $0 == " " } : step.replacement[...]
      for scalar in kept { output.append((scalar == " " ? space : scalar, index)) }
      if let last = kept.last { isAfterSpace = last == " " && removesExtraWhitespaces }
      index = step.end
    }
    var end = index
    if removesExtraWhitespaces {
      while let last = output.last, last.scalar == space {
        end = last.start
        output.removeLast()
      }
    }
    if addsDummyPrefix && spaceIsSuffix { output.append((space, end)) }

    // A scalar reaches to where the next one begins.
    let first = scalars.startIndex
    return text.rebuilt(
      output.indices.map { place in
        let next = place + 1 < output.count ? output[place + 1].start : end
        return (output[place].scalar, output[place].start - first, next - first)
      })
  }
}
