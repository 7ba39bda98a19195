// The standard library has canonical (de)composition only behind this door, which Foundation uses itself; the
// public way would be Foundation's strings, four times the size of the whole program.
@_spi(_Unicode) import Swift

/// The four normalisation forms of Unicode, with the place of every scalar kept.
///
/// The standard library has the canonical forms; the compatibility forms add a table of its own.
enum UnicodeForm: Sendable {
  case nfc, nfd, nfkc, nfkd

  private var isCompatible: Bool { self == .nfkc || self == .nfkd }
  private var composes: Bool { self == .nfc || self == .nfkc }

  func apply(to text: AlignedText) -> AlignedText {
    if isDone(text.scalars) { return text }
    var changes = decompose(text.scalars)
    if composes { changes = Self.compose(changes) }
    return text.applying(changes)
  }

  /// True where it is easily seen that the form changes nothing.
  private func isDone(_ text: ArraySlice<Unicode.Scalar>) -> Bool {
    let firstToChange: UInt32 =
      switch self {
      case .nfc: 0x300
      case .nfd: 0xC0
      case .nfkc, .nfkd: 0xA0
      }
    if text.allSatisfy({ $0.value < firstToChange }) { return true }
    // Composition looks at every pair of neighbours; most texts are composed already.
    return self == .nfc && String(text)._nfc.elementsEqual(text)
  }

  /// Full decomposition, marks in canonical order.
  private func decompose(_ text: ArraySlice<Unicode.Scalar>) -> [AlignedText.Change] {
    var changes: [AlignedText.Change] = []
    changes.reserveCapacity(text.count)
    var marks = 0  // at the end of the list
    for scalar in text {
      for (index, part) in parts(of: scalar).enumerated() {
        if part.combiningClass == 0 {
          Self.order(&changes, last: marks)
          marks = 0
        } else {
          marks += 1
        }
        changes.append((part, min(index, 1)))
      }
    }
    Self.order(&changes, last: marks)
    return changes
  }

  private func parts(of scalar: Unicode.Scalar) -> [Unicode.Scalar] {
    if scalar.value < 0xA0 { return [scalar] }
    if isCompatible, let parts = CompatibilityTable.decompositions[scalar] { return parts }
    return Array(String(scalar)._nfd)
  }

  /// Sorts the last `count` marks by their class, equals in their order.
  private static func order(_ changes: inout [AlignedText.Change], last count: Int) {
    guard count > 1 else { return }
    let marks = changes.suffix(count).enumerated().sorted {
      ($0.element.scalar.combiningClass, $0.offset) < ($1.element.scalar.combiningClass, $1.offset)
    }
    changes.replaceSubrange(changes.count - count..<changes.count, with: marks.map(\.element))
  }

  /// Canonical composition of decomposed text.
  private static func compose(_ decomposed: [AlignedText.Change]) -> [AlignedText.Change] {
    var changes: [AlignedText.Change] = []
    changes.reserveCapacity(decomposed.count)
    var starter: Int?
    var last: UInt8?  // the class of the last mark since the starter
    for (scalar, change) in decomposed {
      let combining = scalar.combiningClass
      if let starter, last.map({ $0 < combining }) ?? true, let one = pair(changes[starter].scalar, scalar) {
        changes[starter] = (one, changes[starter].change + change - 1)
        continue
      }
      if combining == 0 {
        starter = changes.count
        last = nil
      } else if starter != nil {
        last = combining
      }
      changes.append((scalar, change))
    }
    return changes
  }

  /// The one scalar that two compose to.
  private static func pair(_ left: Unicode.Scalar, _ right: Unicode.Scalar) -> Unicode.Scalar? {
    guard right.value >= 0x300 else { return nil }
    let composed = Array(String([left, right])._nfc)
    return composed.count == 1 ? composed[0] : nil
  }
}

extension Unicode.Scalar {
  fileprivate var combiningClass: UInt8 { isASCII ? 0 : properties.canonicalCombiningClass.rawValue }
}
