#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A number with this many digits after the point.
func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  let scale = (0..<digits).reduce(1) { scale, _ in scale * 10 }
  let scaled = Int((abs(value) * Double(scale)).rounded())
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard digits > 0 else { return "\(sign)\(scaled)" }
  let fraction = String(scaled % scale)
  return "\(sign)\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
}

/// A number with three significant digits, as 1.2e-07.
func short(_ value: Double) -> String {
  guard value.isFinite, value != 0 else { return value == 0 ? "0" : "\(value)" }
  var exponent = Int(log10(abs(value)).rounded(.down))
  if -3...3 ~= exponent { return fixed(value, 2 - exponent < 0 ? 0 : 2 - exponent) }
  var mantissa = fixed(value / pow(10, Double(exponent)), 1)
  if mantissa.hasSuffix("10.0") {
    mantissa = value < 0 ? "-1.0" : "1.0"
    exponent += 1
  }
  return "\(mantissa)e\(exponent)"
}

/// Bytes in the largest unit that leaves a whole part.
func size(_ bytes: Int) -> String {
  let units = ["B", "KiB", "MiB", "GiB", "TiB"]
  var (value, unit) = (Double(bytes), 0)
  while value >= 1024 && unit + 1 < units.count { (value, unit) = (value / 1024, unit + 1) }
  return "\(fixed(value, unit == 0 || value >= 100 ? 0 : 1)) \(units[unit])"
}

/// A moment in seconds since 1970, as 2026-11-21T12:00:00Z.
func timestamp(_ seconds: Int) -> String {
  var moment = time_t(seconds)
  var parts = tm()
  gmtime_r(&moment, &parts)
  func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
  return "\(1900 + Int(parts.tm_year))-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
}

func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

/// Text from outside, safe to print: control characters escaped.
func escaped(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar.properties.generalCategory {
    case .control, .lineSeparator, .paragraphSeparator: result += scalar.escaped(asASCII: true)
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

/// Text flush left or right in a column, for tables that are printed as they come.
func left(_ text: String, _ width: Int) -> String {
  text + String(repeating: " ", count: max(0, width - text.count))
}
func right(_ text: String, _ width: Int) -> String {
  String(repeating: " ", count: max(0, width - text.count)) + text
}

/// Rows in columns two spaces apart; the columns named in `right` are set flush right.
func table(_ rows: [[String]], right: Set<Int> = []) -> String {
  let columns = rows.map(\.count).max() ?? 0
  let widths = (0..<columns).map { column in
    rows.map { $0.indices.contains(column) ? $0[column].unicodeScalars.count : 0 }.max() ?? 0
  }
  return rows.map { row in
    var line = ""
    for (column, cell) in row.enumerated() {
      let space = String(repeating: " ", count: widths[column] - cell.unicodeScalars.count)
      line += (column > 0 ? "  " : "") + (right.contains(column) ? space + cell : cell + space)
    }
    while line.last == " " { line.removeLast() }
    return line + "\n"
  }.joined()
}

// MARK: - Lists

extension Sequence where Element: Hashable {
  /// Each element once, in the order in which they came first.
  var distinct: [Element] {
    var seen: Set<Element> = []
    return filter { seen.insert($0).inserted }
  }
}

extension Sequence {
  /// Elements of one name side by side, names in the order in which they came first.
  func grouped(by name: (Element) -> String) -> [Element] {
    let groups = Dictionary(grouping: self, by: name)
    return map(name).distinct.flatMap { groups[$0] ?? [] }
  }
}
