/// The HTML report: one page that needs no network and no script, in light and dark.
///
/// Outcomes are told apart by sign and by lightness before colour: blue and orange, which every kind of colour vision
/// separates, never green and red.
struct CheckPage {
  let text: String

  init(_ reports: [CheckReport]) {
    let failed = reports.reduce(0) { $0 + $1.failed }
    let isWhole = reports.allSatisfy { $0.stop == nil }
    let title =
      failed > 0
      ? "\(count(failed, "case")) failed" : isWhole ? "All cases passed" : "All cases that ran passed"
    text = """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>flashcl check: \(title)</title>
      <style>
      \(Self.style)
      </style>
      </head>
      <body>
      <h1>flashcl check</h1>
      \(reports.map(Self.section).joined())
      \(Self.legend)
      </body>
      </html>

      """
  }

  // MARK: - A device

  private static func section(_ report: CheckReport) -> String {
    let extent =
      [report.extent.rawValue, report.bitwise ? "bitwise" : nil, report.filter.map { "filter \($0)" }]
      .compactMap { $0 }.joined(separator: ", ")
    let facts = [
      ("platform", report.platform), ("OpenCL", report.version), ("driver", report.driver_version),
      ("revision", report.revision), ("date", report.date), ("extent", extent),
      ("time", "\(fixed(report.seconds, 1)) s"),
    ]
    let list = facts.compactMap { name, value in
      value.map { "<div><dt>\(name)</dt><dd>\(markup($0))</dd></div>" }
    }
    let stopped = report.stop.map { "<p><span class=\"stopped\">⏱ \($0.text("case"))</span></p>\n" } ?? ""
    return """
      <section>
      <h2>\(markup(report.device))</h2>
      <p class="tally"><span class="passed">✓ \(report.passed) passed</span> \
      <span class="\(report.failed > 0 ? "failed" : "none")">✗ \(report.failed) failed</span> \
      <span class="unsupported">– \(report.unsupported) unsupported</span></p>
      \(stopped)<dl>\(list.joined())</dl>
      \(matrix(OutcomeMatrix(report)))
      \(failures(report))
      \(unsupported(report))
      </section>

      """
  }

  private static func matrix(_ matrix: OutcomeMatrix) -> String {
    var lines = ["<div class=\"wide\"><table>", "<thead><tr><th>operation</th><th>strategy</th>"]
    lines += matrix.types.map { "<th>\($0.rawValue)</th>" } + ["</tr></thead>"]
    for (index, row) in matrix.rows.enumerated() {
      let isFirst = index == 0 || matrix.rows[index - 1].operation != row.operation
      if isFirst {
        let span = matrix.rows.count { $0.operation == row.operation }
        lines.append(
          (index > 0 ? "</tbody>" : "") + "<tbody><tr><th rowspan=\"\(span)\">\(row.operation)</th>")
      } else {
        lines.append("<tr>")
      }
      lines.append("<th class=\"strategy\">\(row.strategy)</th>")
      lines += row.cells.map(cell)
      lines.append("</tr>")
    }
    return (lines + ["</tbody></table></div>"]).joined(separator: "\n")
  }

  private static func cell(_ cell: OutcomeMatrix.Cell?) -> String {
    guard let cell else { return "<td></td>" }
    let tally = cell.tally
    guard tally.passed + tally.failed > 0 else {
      return "<td class=\"unsupported\" title=\"\(markup(cell.reason ?? ""))\">–</td>"
    }
    let isRight = tally.failed == 0
    let head = isRight ? "✓ \(tally.passed)" : "✗ \(tally.failed) of \(tally.passed + tally.failed)"
    var foot = ""
    var title = tally.text
    if let worst = cell.worst, let share = worst.share {
      title += "\nworst: \(short(worst.error ?? 0)) of \(short(worst.tolerance ?? 0)) allowed\n\(worst.case)"
      let percent = share.isFinite ? min(100, share * 100) : 100
      foot =
        "<small>\(shareText(share))</small><i style=\"width:\(fixed(percent, 0))%\"></i>"
    }
    return "<td class=\"\(isRight ? "passed" : "failed")\" title=\"\(markup(title))\">\(head)\(foot)</td>"
  }

  /// The share of the tolerance, in per cent while it is one.
  private static func shareText(_ share: Double) -> String {
    if !share.isFinite || share >= 10 { return "× \(share.isFinite ? short(share) : "∞")" }
    return share == 0 ? "exact" : "\(fixed(share * 100, share < 0.1 ? 1 : 0)) %"
  }

  private static func failures(_ report: CheckReport) -> String {
    if report.failures.isEmpty { return "" }
    let items = report.failures.map { failure in
      "<li><code>\(markup(failure.case))</code><pre>\(markup(failure.details))</pre></li>"
    }
    return "<h3>Failures</h3>\n<ol>\(items.joined(separator: "\n"))</ol>"
  }

  /// Reasons with how many cases each kept from running.
  private static func unsupported(_ report: CheckReport) -> String {
    var counts: [String: Int] = [:]
    for entry in report.results where entry.outcome == .unsupported {
      counts["\(entry.operation) by \(entry.strategy): \(entry.reason ?? "")", default: 0] += 1
    }
    if counts.isEmpty { return "" }
    let items = counts.sorted { $0.key < $1.key }.map { "<li>\(markup($0.key)) (\($0.value))</li>" }
    return
      "<details><summary>Why \(count(report.unsupported, "case")) did not run</summary><ul>\(items.joined())</ul></details>"
  }

  private static let legend = """
    <footer>A cell counts the cases of one operation, strategy and type. Below: the largest share of its tolerance that any \
    element's error used, of all cases in the cell; the bar is full at the tolerance. “exact”: no error at all. Hover over a \
    cell for the numbers and the case. <span class="key passed">✓ passed</span> <span class="key failed">✗ failed</span> \
    <span class="key unsupported">– the strategy cannot run these</span></footer>
    """

  private static let style = """
    :root { color-scheme: light dark; --page: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de;
      --pass: #d6e6f7; --pass-ink: #0b3d6b; --pass-bar: #2f7ec4; --fail: #d95f02; --fail-ink: #fff; --fail-bar: #fff;
      --off: #f3f4f6; --code: #f3f4f6; }
    @media (prefers-color-scheme: dark) {
      :root { --page: #0f1318; --ink: #e6e9ed; --soft: #9aa4af; --line: #303841; --pass: #12324f; --pass-ink: #cfe5fa;
        --pass-bar: #5aa9ec; --fail: #f5a04a; --fail-ink: #231200; --fail-bar: #231200; --off: #1a2027; --code: #1a2027; } }
    body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; background: var(--page); color: var(--ink);
      font: 15px/1.45 system-ui, sans-serif; }
    h1 { font-size: 1.1rem; font-weight: 600; color: var(--soft); margin: 0 0 1.5rem; }
    h2 { font-size: 1.4rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
    section { margin-bottom: 3rem; }
    .tally span, .key { display: inline-block; padding: .1rem .6rem; border-radius: .3rem; margin-right: .3rem;
      font-variant-numeric: tabular-nums; }
    .passed { background: var(--pass); color: var(--pass-ink); }
    .failed { background: var(--fail); color: var(--fail-ink); font-weight: 600; }
    .stopped { border: 1px solid var(--fail); padding: .1rem .6rem; border-radius: .3rem; }
    .unsupported, .none { background: var(--off); color: var(--soft); }
    dl { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; margin: .8rem 0 1.2rem; font-size: .87rem; }
    dl div { display: flex; gap: .4rem; min-width: 0; }
    dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
    .wide { overflow-x: auto; }
    table { border-collapse: separate; border-spacing: 3px; font-variant-numeric: tabular-nums; }
    th { text-align: left; font-weight: 600; padding: .2rem .8rem .2rem 0; vertical-align: top; white-space: nowrap; }
    thead th { color: var(--soft); font-weight: 500; } thead th:nth-child(n+3) { text-align: center; padding-right: 0; }
    th.strategy { font-weight: 400; vertical-align: middle; }
    tbody::before { content: ""; display: block; height: .35rem; }
    td { position: relative; min-width: 5.2rem; height: 2.3rem; padding: .1rem .4rem .25rem; text-align: center;
      border-radius: .25rem; line-height: 1.15; }
    td small { display: block; font-size: .72rem; font-weight: 400; opacity: .85; }
    td i { position: absolute; left: 0; bottom: 0; height: 3px; background: var(--pass-bar); border-radius: 0 2px 2px .25rem; }
    td.failed i { background: var(--fail-bar); }
    h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
    li { margin-bottom: .6rem; } code, pre { font: 13px/1.4 ui-monospace, monospace; overflow-wrap: anywhere; }
    pre { background: var(--code); padding: .5rem .7rem; border-radius: .3rem; white-space: pre-wrap; margin: .3rem 0; }
    details { margin-top: 1.2rem; color: var(--soft); font-size: .87rem; } details li { margin: 0; }
    footer { border-top: 1px solid var(--line); padding-top: .8rem; color: var(--soft); font-size: .87rem; }
    """
}
