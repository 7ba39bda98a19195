/// What Python's strings do, over Unicode scalars.
enum Text {
  static func stripped(
    _ text: String, _ characters: Set<Unicode.Scalar>?, left: Bool = true, right: Bool = true
  ) -> String {
    func goes(_ scalar: Unicode.Scalar) -> Bool { characters?.contains(scalar) ?? scalar.isPythonSpace }
    var scalars = text.unicodeScalars[...]
    if left { while let first = scalars.first, goes(first) { scalars.removeFirst() } }
    if right { while let last = scalars.last, goes(last) { scalars.removeLast() } }
    return String(scalars)
  }

  // MARK: Case

  static func lowercased(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    var result = ""
    for (place, scalar) in scalars.enumerated() { result += lower(scalar, place, in: scalars) }
    return result
  }

  /// A sigma that ends a word has a form of its own; everything else is as it is.
  private static func lower(_ scalar: Unicode.Scalar, _ place: Int, in text: [Unicode.Scalar]) -> String {
    guard scalar == "\u{3A3}" else { return scalar.properties.lowercaseMapping }
    let before = text[..<place].last { !$0.properties.isCaseIgnorable }
    let after = text[(place + 1)...].first { !$0.properties.isCaseIgnorable }
    return before?.properties.isCased == true && after?.properties.isCased != true ? "\u{3C2}" : "\u{3C3}"
  }

  static func capitalized(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    guard let first = scalars.first else { return "" }
    var result = first.properties.titlecaseMapping
    for place in scalars.indices.dropFirst() { result += lower(scalars[place], place, in: scalars) }
    return result
  }

  /// Python's `str.title`: a capital after everything that has no case.
  static func titled(_ text: String) -> String {
    let scalars = Array(text.unicodeScalars)
    var result = ""
    var isInside = false
    for (place, scalar) in scalars.enumerated() {
      result += isInside ? lower(scalar, place, in: scalars) : scalar.properties.titlecaseMapping
      isInside = scalar.properties.isCased
    }
    return result
  }

  /// Jinja's `title`: a capital after white space, hyphens and opening brackets.
  static func titleWords(_ text: String) -> String {
    var result = ""
    var word: [Unicode.Scalar] = []
    func finish() {
      guard let first = word.first else { return }
      result += first.properties.uppercaseMapping + lowercased(String(word.dropFirst()))
      word = []
    }
    for scalar in text.unicodeScalars {
      if scalar.isPythonSpace || ["-", "(", "{", "[", "<"].contains(scalar) {
        finish()
        result.unicodeScalars.append(scalar)
      } else {
        word.append(scalar)
      }
    }
    finish()
    return result
  }

  /// True if there is a letter of a case and all of them have this one.
  static func isCased(_ text: String, _ belongs: KeyPath<Unicode.Scalar.Properties, Bool>) -> Bool {
    var found = false
    for scalar in text.unicodeScalars {
      let properties = scalar.properties
      if properties[keyPath: belongs] {
        found = true
      } else if properties.isUppercase || properties.isLowercase
        || properties.generalCategory == .titlecaseLetter
      {
        return false
      }
    }
    return found
  }

  /// What HTML reads as the text.
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "'": result += "&#39;"
      case "\"": result += "&#34;"
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  /// Filled up to `width` scalars: with more on the left where one is over and the width is odd, as Python does.
  static func centered(_ text: String, _ width: Int, _ fill: String = " ") -> String {
    let count = text.unicodeScalars.count
    let room = max(0, width - count)
    let left = room / 2 + (room & width & 1)
    return String(repeating: fill, count: left) + text + String(repeating: fill, count: room - left)
  }

  // MARK: Cutting

  /// Cut at white space, or at each `separator`; at most `limit` cuts, from the right where asked.
  static func split(_ text: String, _ separator: String?, limit: Int, fromRight: Bool) throws -> [String] {
    let scalars = Array(text.unicodeScalars)
    if fromRight {
      return try split(
        String(scalars.reversed()), separator.map { String($0.unicodeScalars.reversed()) }, limit: limit,
        fromRight: false
      ).reversed().map { String($0.unicodeScalars.reversed()) }
    }
    var parts: [String] = []
    var start = 0
    if let separator {
      let separator = Array(separator.unicodeScalars)
      if separator.isEmpty { throw Fault("empty separator") }
      while parts.count < limit, let match = scalars.firstRange(of: separator, from: start) {
        parts.append(String(scalars[start..<match.lowerBound]))
        start = match.upperBound
      }
      return parts + [String(scalars[start...])]
    }
    while true {
      while start < scalars.count && scalars[start].isPythonSpace { start += 1 }
      guard start < scalars.count else { return parts }
      guard parts.count < limit else { return parts + [String(scalars[start...])] }
      var end = start
      while end < scalars.count && !scalars[end].isPythonSpace { end += 1 }
      parts.append(String(scalars[start..<end]))
      start = end
    }
  }

  /// Python's `str.splitlines`.
  static func lines(_ text: String, keepsEnds: Bool) -> [String] {
    let scalars = Array(text.unicodeScalars)
    var (lines, start, index): ([String], Int, Int) = ([], 0, 0)
    while index < scalars.count {
      guard [10, 11, 12, 13, 28, 29, 30, 0x85, 0x2028, 0x2029].contains(scalars[index].value) else {
        index += 1
        continue
      }
      let isPair = scalars[index] == "\r" && index + 1 < scalars.count && scalars[index + 1] == "\n"
      let end = index + (isPair ? 2 : 1)
      lines.append(String(scalars[start..<(keepsEnds ? end : index)]))
      (start, index) = (end, end)
    }
    return start < scalars.count ? lines + [String(scalars[start...])] : lines
  }

  // MARK: Numbers

  /// What Python's `int` reads; nil also for digits that are not ASCII.
  static func int(_ text: String) -> Int? {
    let text = stripped(text, nil)
    let digits = text.utf8.drop { $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "+") }
    guard text.utf8.count - digits.count <= 1, let first = digits.first, let last = digits.last,
      first != UInt8(ascii: "_"), last != UInt8(ascii: "_"), !text.contains("__")
    else { return nil }
    return Int(text.filter { $0 != "_" })
  }

  /// What Python's `float` reads.
  static func double(_ text: String) -> Double? {
    let text = stripped(text, nil)
    let word = lowercased(text).drop { $0 == "-" || $0 == "+" }
    if ["inf", "infinity", "nan"].contains(String(word)) { return Double(lowercased(text)) }
    let known = text.utf8.allSatisfy { (48...57).contains($0) || "+-.eE".utf8.contains($0) }
    guard known, text.utf8.contains(where: { (48...57).contains($0) }) else { return nil }
    // Python reads "1." and ".5".
    var complete = text.replacingFirst(".e", by: ".0e").replacingFirst(".E", by: ".0e")
    if complete.hasSuffix(".") { complete += "0" }
    return Double(complete)
  }
}

extension String {
  fileprivate func replacingFirst(_ part: String, by other: String) -> String {
    let scalars = Array(unicodeScalars)
    guard let range = scalars.firstRange(of: Array(part.unicodeScalars), from: 0) else { return self }
    return String(scalars[..<range.lowerBound]) + other + String(scalars[range.upperBound...])
  }
}

extension Unicode.Scalar {
  /// What Python's `str.strip` and `\s` take: white space, and the four separators of ASCII.
  public var isPythonSpace: Bool {
    isASCII ? value == 32 || (9...13).contains(value) || (28...31).contains(value) : properties.isWhitespace
  }

  var isASCIIDigit: Bool { (48...57).contains(value) }
}

extension String {
  init(_ scalars: some Sequence<Unicode.Scalar>) {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    self.init(view)
  }
}
