import ArgumentParser

/// A file that `--report` names; its ending is its format.
struct ReportFile: Sendable {
  let path: String
  private let kind: Kind

  private enum Kind: String, CaseIterable { case html, xml, md, json }

  init(_ path: String) throws {
    let ending = path.split(separator: "/").last?.split(separator: ".").dropFirst().last ?? ""
    guard let kind = Kind(rawValue: ending.lowercased()) else {
      throw ValidationError("'\(path)' must end with .html, .xml (JUnit), .md or .json")
    }
    (self.path, self.kind) = (path, kind)
  }

  /// Throws before a long check whose result could not be written.
  func requireFolder() throws { try Output.requireFolder(of: path) }

  /// `isList`: JSON is a list even of one report.
  func write(_ reports: [CheckReport], isList: Bool) throws {
    switch kind {
    case .html: try Output.write(CheckPage(reports).text, toFile: path)
    case .xml: try Output.write(JUnit(reports).text, toFile: path)
    case .md: try Output.write(Markdown(reports).text, toFile: path)
    case .json where isList: try Output.json(reports, toFile: path)
    case .json: try Output.json(reports[0], toFile: path)
    }
  }
}

/// JUnit's XML, which CI servers read: a suite for each device, a test case for each case and strategy.
struct JUnit {
  let text: String

  init(_ reports: [CheckReport]) {
    let suites = reports.map { report in
      let cases = report.results.map { entry -> String in
        let head =
          "    <testcase classname=\(quoted("\(entry.operation).\(entry.strategy)")) name=\(quoted(entry.case)) "
          + "time=\"\(fixed(entry.seconds, 4))\""
        switch entry.outcome {
        case .passed: return head + "/>\n"
        case .unsupported: return head + "><skipped message=\(quoted(entry.reason ?? ""))/></testcase>\n"
        case .failed:
          let failure = "<failure message=\(quoted(entry.reason ?? ""))>\(markup(entry.details))</failure>"
          return head + ">\(failure)</testcase>\n"
        }
      }
      return """
          <testsuite name=\(quoted("flashcl check on \(report.device)")) tests="\(report.results.count)" \
        failures="\(report.failed)" errors="0" skipped="\(report.unsupported)" time="\(fixed(report.seconds, 3))" \
        timestamp="\(report.date)">
        \(Self.stopped(report))\(cases.joined())  </testsuite>

        """
    }
    text =
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n" + suites.joined() + "</testsuites>\n"
  }
}

extension JUnit {
  /// What says that not all cases ran.
  private static func stopped(_ report: CheckReport) -> String {
    guard let stop = report.stop else { return "" }
    let values = [("stopped_after_s", "\(stop.seconds)")] + (stop.notRun.map { [("not_run", "\($0)")] } ?? [])
    let list = values.map { "      <property name=\"\($0)\" value=\"\($1)\"/>\n" }.joined()
    return "    <properties>\n\(list)    </properties>\n"
  }
}

/// A summary for the page of a CI job: a table of operations and types, and the failures.
struct Markdown {
  let text: String

  init(_ reports: [CheckReport]) {
    text = reports.map(Self.section).joined(separator: "\n")
  }

  private static func section(_ report: CheckReport) -> String {
    let matrix = OutcomeMatrix(report)
    var lines = [
      "## \(report.failed > 0 ? "❌" : report.stop == nil ? "✅" : "⏱️") \(cell(report.verdict))", "",
    ]
    let facts = [report.platform, report.version, report.driver_version.map { "driver \($0)" }].compactMap {
      $0
    }
    if !facts.isEmpty { lines += [cell(facts.joined(separator: " · ")), ""] }
    lines.append("| operation | strategy | " + matrix.types.map(\.rawValue).joined(separator: " | ") + " |")
    lines.append("|---|---|" + matrix.types.map { _ in "---:|" }.joined())
    for row in matrix.rows {
      let cells = row.cells.map { $0.map(Self.text) ?? "" }
      lines.append("| " + ([row.operation, row.strategy] + cells).joined(separator: " | ") + " |")
    }
    lines.append("")
    for failure in report.failures {
      lines += ["<details><summary>❌ <code>\(markup(failure.case))</code></summary>", ""]
      lines += ["<pre>\(markup(failure.details))</pre>", "</details>", ""]
    }
    return lines.joined(separator: "\n")
  }

  private static func text(_ cell: OutcomeMatrix.Cell) -> String {
    let tally = cell.tally
    if tally.failed > 0 { return "❌ **\(tally.failed) of \(tally.failed + tally.passed)**" }
    return tally.passed > 0 ? "\(tally.passed)" : "–"
  }

  private static func cell(_ text: String) -> String {
    markup(text).split(separator: "|").joined(separator: "\\|")
  }
}

/// Text as XML and HTML carry it; what XML forbids even when escaped becomes U+FFFD.
func markup(_ text: String) -> String {
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "&": result += "&amp;"
    case "<": result += "&lt;"
    case ">": result += "&gt;"
    case "\"": result += "&quot;"
    case "\n", "\t": result.unicodeScalars.append(scalar)
    case _ where scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF: result += "\u{FFFD}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

/// The same as an attribute's value.
private func quoted(_ text: String) -> String {
  "\"" + markup(text).split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "&#10;")
    + "\""
}
