/// Cuts a template into tokens, with Jinja's rules for white space around tags.
struct Lexer {
  private let source: [Unicode.Scalar]
  private var position = 0
  /// The line of `source[..<measured]`, and where it begins: places are asked for in order.
  private var (line, lineStart, measured) = (1, 0, 0)
  private var tokens: [Token] = []
  /// Whether the tag or text before ended with a newline, so that blanks may begin a line.
  private var startsLine = true

  static func tokens(of source: String) throws -> [Token] {
    var lexer = Lexer(source)
    do {
      try lexer.run()
    } catch let fault as Fault {
      throw fault.located(at: lexer.place(lexer.position))
    }
    return lexer.tokens
  }

  /// Line ends become LF, and one at the very end is no part of the template.
  private init(_ text: String) {
    var scalars: [Unicode.Scalar] = []
    for scalar in text.unicodeScalars {
      if scalar == "\n", scalars.last == "\r" { scalars.removeLast() }
      scalars.append(scalar)
    }
    for index in scalars.indices where scalars[index] == "\r" { scalars[index] = "\n" }
    if scalars.last == "\n" { scalars.removeLast() }
    source = scalars
  }

  private mutating func place(_ position: Int) -> Place {
    while measured < min(position, source.count) {
      if source[measured] == "\n" { (line, lineStart) = (line + 1, measured + 1) }
      measured += 1
    }
    return Place(line: line, column: max(position - lineStart, 0) + 1)
  }

  private func starts(_ text: StaticString, at position: Int) -> Bool {
    text.withUTF8Buffer { bytes in
      bytes.enumerated().allSatisfy { offset, byte in
        position + offset < source.count && source[position + offset].value == UInt32(byte)
      }
    }
  }

  private mutating func emit(_ kind: Token.Kind, at position: Int) {
    tokens.append(Token(kind: kind, place: place(position)))
  }

  // MARK: Between tags

  private mutating func run() throws {
    while position < source.count {
      let start = position
      var open = start
      while open < source.count
        && !(source[open] == "{"
          && (starts("{%", at: open) || starts("{{", at: open) || starts("{#", at: open)))
      {
        open += 1
      }
      guard open < source.count else {
        emitText(start..<source.count)
        position = source.count
        break
      }
      let sign = open + 2 < source.count ? source[open + 2] : " "
      let isOutput = starts("{{", at: open)
      emitText(start..<textEnd(start, open, sign: sign, stripsBlanks: !isOutput))
      position = open + (sign == "-" || sign == "+" ? 3 : 2)
      if starts("{#", at: open) {
        try comment(from: open)
      } else if !isOutput, let body = rawBegin() {
        try raw(from: body, open)
      } else {
        emit(isOutput ? .outputBegin : .blockBegin, at: open)
        try tag(isOutput: isOutput)
      }
    }
    emit(.end, at: source.count)
  }

  private mutating func emitText(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    emit(.text(String(source[range])), at: range.lowerBound)
  }

  /// Where the text from `start` to a tag at `end` ends: "-" takes all white space before the tag, and the blanks between
  /// a line's beginning and a block or comment go too.
  private func textEnd(_ start: Int, _ end: Int, sign: Unicode.Scalar, stripsBlanks: Bool) -> Int {
    var cut = end
    if sign == "-" {
      while cut > start && source[cut - 1].isPythonSpace { cut -= 1 }
    } else if sign != "+" && stripsBlanks {
      while cut > start && source[cut - 1].isPythonSpace && source[cut - 1] != "\n" { cut -= 1 }
      let beginsLine = cut > start ? source[cut - 1] == "\n" : startsLine
      if !beginsLine { return end }
    }
    return cut
  }

  /// The end of a tag's closing mark if it stands here: `-` takes the white space after it, and without a sign a block or
  /// comment takes one newline.
  private func close(_ mark: StaticString, at position: Int, trimsNewline: Bool) -> Int? {
    if starts(mark, at: position) {
      let end = position + 2
      return trimsNewline && end < source.count && source[end] == "\n" ? end + 1 : end
    }
    guard position < source.count, starts(mark, at: position + 1) else { return nil }
    if source[position] == "-" {
      var end = position + 3
      while end < source.count && source[end].isPythonSpace { end += 1 }
      return end
    }
    return source[position] == "+" && trimsNewline ? position + 3 : nil
  }

  private mutating func finish(at end: Int) {
    position = end
    startsLine = source[end - 1] == "\n"
  }

  private mutating func comment(from open: Int) throws {
    for index in position..<max(position, source.count) {
      guard let end = close("#}", at: index, trimsNewline: true) else { continue }
      return finish(at: end)
    }
    position = open
    throw Fault("the comment has no end", .syntax)
  }

  private func skipSpace(_ position: Int) -> Int {
    var position = position
    while position < source.count && source[position].isPythonSpace { position += 1 }
    return position
  }

  /// Where the text of a raw block begins, if this tag opens one.
  private func rawBegin() -> Int? {
    let word = skipSpace(position)
    guard starts("raw", at: word) else { return nil }
    return close("%}", at: skipSpace(word + 3), trimsNewline: false)
  }

  private mutating func raw(from begin: Int, _ open: Int) throws {
    startsLine = begin > 0 && source[begin - 1] == "\n"
    for index in begin..<max(begin, source.count) where starts("{%", at: index) {
      let sign = index + 2 < source.count ? source[index + 2] : " "
      let word = skipSpace(index + (sign == "-" || sign == "+" ? 3 : 2))
      guard starts("endraw", at: word), let end = close("%}", at: skipSpace(word + 6), trimsNewline: true)
      else { continue }
      emitText(begin..<textEnd(begin, index, sign: sign, stripsBlanks: true))
      return finish(at: end)
    }
    position = open
    throw Fault("the raw block has no end", .syntax)
  }

  // MARK: Inside tags

  private mutating func tag(isOutput: Bool) throws {
    var brackets: [Unicode.Scalar] = []
    while true {
      let start = skipSpace(position)
      let end =
        isOutput ? close("}}", at: start, trimsNewline: false) : close("%}", at: start, trimsNewline: true)
      if brackets.isEmpty, let end {
        emit(isOutput ? .outputEnd : .blockEnd, at: start)
        return finish(at: end)
      }
      position = start
      guard start < source.count else { throw Fault("a tag has no end", .syntax) }
      let scalar = source[start]
      if scalar.isASCIIDigit {
        try number()
      } else if scalar == "_" || scalar.properties.isXIDStart {
        var end = start
        while end < source.count && (source[end] == "_" || source[end].properties.isXIDContinue) { end += 1 }
        emit(.name(String(source[start..<end])), at: start)
        position = end
      } else if scalar == "'" || scalar == "\"" {
        try string(quote: scalar)
      } else {
        try symbol(&brackets)
      }
    }
  }

  private static let symbols: [StaticString] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=",
    ".", ":", "|", ",", ";",
  ]

  private mutating func symbol(_ brackets: inout [Unicode.Scalar]) throws {
    guard let symbol = Self.symbols.first(where: { starts($0, at: position) }) else {
      throw Fault("unexpected character '\(source[position])'", .syntax)
    }
    let text = "\(symbol)"
    switch text {
    case "(": brackets.append(")")
    case "[": brackets.append("]")
    case "{": brackets.append("}")
    case ")", "]", "}":
      guard brackets.popLast() == source[position] else { throw Fault("unexpected '\(text)'", .syntax) }
    default: break
    }
    emit(.symbol(text), at: position)
    position += text.utf8.count
  }

  private mutating func number() throws {
    let start = position
    func digits(_ from: Int) -> Int {
      var end = from
      while end < source.count, source[end].isASCIIDigit || (source[end] == "_" && end > from) { end += 1 }
      return end
    }
    var end = digits(start)
    var isFloat = false
    let followsDot = start > 0 && source[start - 1] == "."
    if !followsDot, end < source.count, source[end] == ".", digits(end + 1) > end + 1 {
      (end, isFloat) = (digits(end + 1), true)
    }
    if !followsDot, end < source.count, source[end] == "e" || source[end] == "E" {
      let sign = end + 1 < source.count && (source[end + 1] == "+" || source[end + 1] == "-") ? 1 : 0
      let exponent = digits(end + 1 + sign)
      if exponent > end + 1 + sign { (end, isFloat) = (exponent, true) }
    }
    let text = String(source[start..<end].lazy.filter { $0 != "_" })
    if isFloat, let value = Double(text) {
      emit(.float(value), at: start)
    } else if let value = Int(text), !text.hasPrefix("0") || value == 0 {
      emit(.integer(value), at: start)
    } else {
      throw Fault("the number \(text) is not supported", .unsupported)
    }
    position = end
  }

  /// A string with Python's escapes.
  private mutating func string(quote: Unicode.Scalar) throws {
    let start = position
    var text = String.UnicodeScalarView()
    var index = start + 1
    while index < source.count && source[index] != quote {
      guard source[index] == "\\", index + 1 < source.count else {
        text.append(source[index])
        index += 1
        continue
      }
      let letter = source[index + 1]
      index += 2
      switch letter {
      case "n": text.append("\n")
      case "t": text.append("\t")
      case "r": text.append("\r")
      case "a": text.append("\u{7}")
      case "b": text.append("\u{8}")
      case "f": text.append("\u{C}")
      case "v": text.append("\u{B}")
      case "\\", "'", "\"": text.append(letter)
      case "\n": break
      case "x", "u", "U":
        let count = letter == "x" ? 2 : letter == "u" ? 4 : 8
        let digits = String(source[index..<min(index + count, source.count)])
        guard digits.utf8.count == count, digits.first != "+", let code = UInt32(digits, radix: 16),
          let scalar = Unicode.Scalar(code)
        else { throw Fault("the escape \\\(letter)\(digits) is no character", .syntax) }
        text.append(scalar)
        index += count
      case "0"..."7":
        var (code, count) = (letter.value - 48, 1)
        while count < 3, index < source.count, ("0"..."7").contains(source[index]) {
          (code, count, index) = (code * 8 + source[index].value - 48, count + 1, index + 1)
        }
        text.append(Unicode.Scalar(code) ?? "\u{FFFD}")
      case "N": throw Fault.unsupported("the escape \\N")
      default:
        text.append("\\")
        text.append(letter)
      }
    }
    guard index < source.count else { throw Fault("the string has no end", .syntax) }
    emit(.string(String(text)), at: start)
    position = index + 1
  }
}
