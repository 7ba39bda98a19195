#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Numbers with so many digits, and Python's `'%s' % x`.
extension Renderer {
  /// How one value is laid out.
  struct Layout {
    var fill: Unicode.Scalar = " "
    /// One of `<`, `>`, `^`, and `=` for filling between sign and digits.
    var align: Unicode.Scalar?
    /// What comes before a number that is not negative: "", "+" or " ".
    var sign = ""
    var groups = false
    var width = 0
    var precision: Int?

    static let limit = 10_000

    func apply(_ text: String, sign: String = "", align standard: Unicode.Scalar) -> String {
      let room = max(0, width - text.unicodeScalars.count - sign.utf8.count)
      let filled = String(repeating: String(fill), count: room)
      switch align ?? standard {
      case "<": return sign + text + filled
      case "=": return sign + filled + text
      case "^":
        let left = String(repeating: String(fill), count: room / 2)
        return left + sign + text + String(repeating: String(fill), count: room - room / 2)
      default: return filled + sign + text
      }
    }
  }

  // MARK: Numbers

  /// What C's printf writes; `form` is one of f, e, g.
  private static func digits(_ number: Double, _ precision: Int, _ form: String) -> String {
    withVaList([Int32(clamping: precision), number]) { arguments in
      var bytes = [CChar](repeating: 0, count: 400 + max(0, precision))
      vsnprintf(&bytes, bytes.count, "%.*" + form, arguments)
      return String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }

  /// A number as `form` (d, x, o, b, f, e, g, % and their capitals) writes it.
  func number(_ value: Value, _ form: Unicode.Scalar, _ layout: Layout) throws -> String {
    guard let number = value.number else { throw Fault("'%\(form)' needs a number, not \(value.typeName)") }
    var text: String
    let isNegative: Bool
    switch form {
    case "d", "x", "X", "o", "b":
      guard case .int(let whole) = number else {
        throw Fault("'%\(form)' needs a whole number, not \(value.typeName)")
      }
      let radix = form == "d" ? 10 : form == "o" ? 8 : form == "b" ? 2 : 16
      text = String(whole.magnitude, radix: radix, uppercase: form == "X")
      isNegative = whole < 0
    default:
      var double = number.double
      guard double.isFinite else { throw Fault.unsupported("formatting \(Self.text(of: double))") }
      if case .int(let whole) = number, Int(exactly: double) != whole {
        throw Fault.unsupported("formatting a whole number beyond 53 bits as a fraction")
      }
      if form == "%" { double *= 100 }
      guard double.isFinite else { throw Fault.unsupported("formatting a number beyond a double") }
      text = Self.digits(double.magnitude, layout.precision ?? 6, form == "%" ? "f" : String(form))
      if form == "%" { text += "%" }
      isNegative = double.sign == .minus
    }
    if layout.groups {
      let whole = text.prefix { $0.isASCII && $0.isNumber }
      var grouped = ""
      for (place, digit) in whole.enumerated() {
        if place > 0, (whole.count - place) % 3 == 0 { grouped += "," }
        grouped.append(digit)
      }
      text = grouped + text.dropFirst(whole.count)
      if layout.fill == "0", layout.align == "=", layout.width > text.count {
        throw Fault.unsupported("zeros between groups of digits")
      }
    }
    return layout.apply(text, sign: isNegative ? "-" : layout.sign, align: ">")
  }

  /// Jinja's `round`.
  func rounded(_ value: Value, _ given: Given) throws -> Value {
    if case .undefined(let reason) = value { throw Fault(reason) }
    guard let number = value.number else { throw Fault("type \(value.typeName) cannot be rounded") }
    guard let precision = (given.value(0, "precision") ?? .int(0)).index, precision <= 300 else {
      throw Fault("the filter 'round' needs a number of digits")
    }
    guard precision >= 0 else { throw Fault.unsupported("rounding before the point") }
    switch (given.value(1, "method") ?? .string("common"), number) {
    case (.string("common"), .int(let whole)): return .int(whole)
    case (.string("common"), .double(let double)):
      // The digits decide, not the product with a power of ten.
      return .double(double.isFinite ? Double(Self.digits(double, precision, "f")) ?? double : double)
    case (.string("ceil"), _), (.string("floor"), _):
      let unit = pow(10, Double(precision))
      let scaled = number.double * unit
      guard scaled.magnitude < 0x1p53 else { throw Fault.unsupported("rounding a number so large") }
      let isUp = if case .string("ceil")? = given.value(1, "method") { true } else { false }
      return .double(scaled.rounded(isUp ? .up : .down) / unit)
    default: throw Fault("method must be common, ceil or floor")
    }
  }

  // MARK: '%s' % x

  /// Python's `format % values`.
  func percents(_ format: String, _ values: Value) throws -> String {
    let scalars = Array(format.unicodeScalars)
    var items = [values]
    if case .list(let list) = values, list.isTuple { items = list.items }
    var (result, index, taken, takesNames) = ("", 0, 0, false)
    func next() throws -> Value {
      guard taken < items.count else { throw Fault("not enough arguments for format string") }
      taken += 1
      return items[taken - 1]
    }
    func peek() -> Unicode.Scalar { index < scalars.count ? scalars[index] : "\0" }
    while index < scalars.count {
      let scalar = scalars[index]
      index += 1
      guard scalar == "%" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      if peek() == "%" {
        index += 1
        result += "%"
        continue
      }
      var key: String?
      if peek() == "(" {
        guard case .dictionary = values else { throw Fault("format requires a mapping") }
        guard let end = scalars[index...].firstIndex(of: ")") else { throw Fault("incomplete format key") }
        key = String(scalars[index + 1..<end])
        guard key?.contains("(") == false else { throw Fault.unsupported("brackets in a format key") }
        index = end + 1
        takesNames = true
      }
      var layout = Layout()
      var (isLeft, isZero) = (false, false)
      flags: while true {
        switch peek() {
        case "-": isLeft = true
        case "0": isZero = true
        case "+": layout.sign = "+"
        case " ": if layout.sign.isEmpty { layout.sign = " " }
        case "#": throw Fault.unsupported("the flag '#' of '%'")
        default: break flags
        }
        index += 1
      }
      func size() throws -> Int {
        if peek() == "*" {
          index += 1
          guard let size = try next().index else { throw Fault("* wants int") }
          guard abs(size) <= Layout.limit else { throw Fault("the width \(size) is too large", .limit) }
          return size
        }
        var size = 0
        while peek().isASCIIDigit {
          size = size * 10 + Int(peek().value - 48)
          index += 1
          guard size <= Layout.limit else { throw Fault("the width is too large", .limit) }
        }
        return size
      }
      layout.width = try size()
      if layout.width < 0 { (layout.width, isLeft) = (-layout.width, true) }
      if peek() == "." {
        index += 1
        layout.precision = max(0, try size())
      }
      if ["h", "l", "L"].contains(peek()) { index += 1 }
      guard index < scalars.count else { throw Fault("incomplete format") }
      let form = peek()
      index += 1
      let value: Value
      if let key {
        guard let found = try item(.string(key), of: values).defined else {
          throw Fault("KeyError: '\(key)'")
        }
        value = found
      } else {
        value = try next()
      }
      layout.align = isLeft ? "<" : nil
      switch form {
      case "s", "r":
        let text = try form == "s" ? text(of: value) : repr(value)
        result += layout.apply(
          layout.precision.map { String(text.unicodeScalars.prefix($0)) } ?? text, align: ">")
      case "c":
        guard case .string(let text) = value, text.unicodeScalars.count == 1 else {
          throw Fault("%c requires int or char")
        }
        result += layout.apply(text, align: ">")
      case "d", "i", "u", "x", "X", "o", "f", "F", "e", "E", "g", "G":
        var value = value
        let isWhole = ["d", "i", "u"].contains(form)
        if isWhole, case .double(let fraction) = value {
          guard let whole = Int(exactly: fraction.rounded(.towardZero)) else {
            throw Fault.unsupported("a whole number beyond 64 bits")
          }
          value = .int(whole)
        }
        if isZero, !isLeft { (layout.fill, layout.align) = ("0", "=") }
        if layout.precision != nil, isWhole || ["x", "X", "o"].contains(form) {
          throw Fault.unsupported("a whole number with a precision")
        }
        result += try number(value, isWhole ? "d" : form, layout)
      default: throw Fault("unsupported format character '\(form)'")
      }
      try spend(layout.width / 16 + 1)
    }
    if taken < items.count, !takesNames {
      // Python lets a single value pass that has items of its own.
      switch values {
      case .dictionary, .undefined: break
      case .list(let list) where list.isList: break
      default: throw Fault("not all arguments converted during string formatting")
      }
    }
    return try checked(result)
  }
}

extension TemplateValue {
  fileprivate var defined: TemplateValue? { isUndefined ? nil : self }
}
