/// Python's `'{}'.format(x)`.
extension Renderer {
  /// Python's `format.format(values)`, of fields that are numbers or names.
  func braces(_ format: String, _ given: Given) throws -> String {
    let scalars = Array(format.unicodeScalars)
    var (result, index, counted): (String, Int, Int?) = ("", 0, nil)
    var isNumbered = false
    while index < scalars.count {
      let scalar = scalars[index]
      index += 1
      guard scalar == "{" || scalar == "}" else {
        result.unicodeScalars.append(scalar)
        continue
      }
      if index < scalars.count, scalars[index] == scalar {
        index += 1
        result.unicodeScalars.append(scalar)
        continue
      }
      guard scalar == "{", let end = scalars[index...].firstIndex(of: "}") else {
        throw Fault("Single '\(scalar)' encountered in format string")
      }
      let field = scalars[index..<end]
      guard !field.contains("{") else { throw Fault.unsupported("a field inside a field") }
      index = end + 1
      let parts = field.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      let named = parts[0].split(separator: "!", maxSplits: 1, omittingEmptySubsequences: false)
      let name = String(named[0])
      var value: Value
      if name.unicodeScalars.allSatisfy(\.isASCIIDigit) {
        guard name.isEmpty ? !isNumbered : counted == nil, name.utf8.count < 6 else {
          throw Fault("cannot switch between automatic and manual field numbering")
        }
        let place = Int(name) ?? counted ?? 0
        if name.isEmpty { counted = place + 1 } else { isNumbered = true }
        guard given.positional.indices.contains(place) else {
          throw Fault("Replacement index \(place) out of range for positional args tuple")
        }
        value = given.positional[place]
      } else {
        guard !name.contains("."), !name.contains("[") else {
          throw Fault.unsupported("the field '\(name)' of a part of a value")
        }
        guard let found = given.named.last(where: { $0.name == name })?.value else {
          throw Fault("KeyError: '\(name)'")
        }
        value = found
      }
      if named.count > 1 {
        switch String(named[1]) {
        case "s": value = .string(try text(of: value))
        case "r": value = .string(try repr(value))
        default: throw Fault.unsupported("the conversion '!\(String(named[1]))'")
        }
      }
      result += try formatted(value, parts.count > 1 ? Array(parts[1]) : [])
    }
    return try checked(result)
  }

  /// Python's `format(value, specification)`.
  private func formatted(_ value: Value, _ specification: [Unicode.Scalar]) throws -> String {
    if specification.isEmpty { return try text(of: value) }
    var (rest, layout) = (specification[...], Layout())
    let aligns: [Unicode.Scalar] = ["<", ">", "^", "="]
    if rest.count > 1, aligns.contains(rest[rest.startIndex + 1]) {
      (layout.fill, layout.align) = (rest[rest.startIndex], rest[rest.startIndex + 1])
      rest = rest.dropFirst(2)
    } else if let first = rest.first, aligns.contains(first) {
      layout.align = first
      rest = rest.dropFirst()
    }
    if let first = rest.first, ["+", "-", " "].contains(first) {
      layout.sign = first == "-" ? "" : String(first)
      rest = rest.dropFirst()
    }
    if rest.first == "0" {
      if layout.align == nil { (layout.fill, layout.align) = ("0", "=") }
      rest = rest.dropFirst()
    }
    func size() throws -> Int {
      var size = 0
      while let digit = rest.first, digit.isASCIIDigit {
        size = size * 10 + Int(digit.value - 48)
        rest = rest.dropFirst()
        guard size <= Layout.limit else { throw Fault("the width is too large", .limit) }
      }
      return size
    }
    layout.width = try size()
    if rest.first == "," {
      layout.groups = true
      rest = rest.dropFirst()
    }
    if rest.first == "." {
      rest = rest.dropFirst()
      guard rest.first?.isASCIIDigit == true else { throw Fault("Format specifier missing precision") }
      layout.precision = try size()
    }
    let form = rest.first
    let told = String(specification)
    guard rest.count <= 1 else { throw Fault.unsupported("the format '\(told)'") }
    switch (value, form) {
    case (.string(let text), nil), (.string(let text), "s"):
      guard layout.align != "=", layout.sign.isEmpty, !layout.groups else {
        throw Fault("the format '\(told)' is not for a string")
      }
      return layout.apply(
        layout.precision.map { String(text.unicodeScalars.prefix($0)) } ?? text, align: "<")
    case (.int, nil), (.int, "d"), (.int, "x"), (.int, "X"), (.int, "o"), (.int, "b"):
      guard layout.precision == nil else { throw Fault("Precision not allowed in integer format specifier") }
      return try number(value, form ?? "d", layout)
    case (.int, let form?), (.double, let form?):
      guard ["f", "F", "e", "E", "g", "G", "%"].contains(form) else {
        throw Fault("Unknown format code '\(form)' for object of type '\(value.typeName)'")
      }
      return try number(value, form, layout)
    default: throw Fault.unsupported("the format '\(told)' of a \(value.typeName)")
    }
  }
}
