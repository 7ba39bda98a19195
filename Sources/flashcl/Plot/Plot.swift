/// Lines over logarithmic axes: one panel or several of one scale, with a legend, and with ceilings and other lines to
/// compare with.
struct Plot {
  var title: String
  var subtitle = ""
  /// What the axes show, with the unit.
  var x: String
  var y: String
  var panels: [Panel]
  /// Lines under the legend.
  var notes: [String] = []

  struct Panel {
    var title = ""
    var series: [Series]
    var guides: [Guide] = []
  }

  struct Series {
    let name: String
    var points: [Point]
    /// Points without a line.
    var isScattered = false
  }

  struct Point {
    let x, y: Double
    /// Share of y between the ends of the bar through the point.
    var spread = 0.0
    /// Drawn full, where others are hollow.
    var isMarked = true
  }

  /// y = y₀ · (x / x₀)^exponent: a ceiling (exponent 0), a slope of the roofline (1), a law to compare with.
  struct Guide {
    let name: String
    var x0 = 1.0
    let y0: Double
    var exponent = 0.0
    /// The y that it ends at.
    var end = Double.infinity
  }

  /// A grid of more panels cannot be read.
  static let panelLimit = 16
}

extension Plot {
  var svg: String {
    let columns = panels.count == 1 ? 1 : panels.count <= 4 ? 2 : panels.count <= 9 ? 3 : 4
    let size: (width: Double, height: Double) =
      columns == 1 ? (620, 380) : columns == 2 ? (420, 270) : (330, 220)
    let rows = (panels.count + columns - 1) / columns
    let cell = (size.width + 82, size.height + 74)
    let width = 44 + Double(columns) * cell.0
    let legend = Legend(names: names, width: width - 56)
    let header = subtitle.isEmpty ? 56.0 : 74
    let top = header + legend.height + 18 * Double(notes.count) + 8
    let height = top + Double(rows) * cell.1 + 14
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(n(width))" height="\(n(height))" \
      viewBox="0 0 \(n(width)) \(n(height))" font-family="\(Picture.font)" font-size="12" fill="\(Picture.ink)">
      <title>\(Picture.xml(title))</title>
      <rect width="100%" height="100%" fill="\(Picture.ground)"/>
      <text x="28" y="36" font-size="16" font-weight="600">\(Picture.xml(cut(title, (width - 56) / 9.6)))</text>

      """
    if !subtitle.isEmpty {
      text += """
        <text x="28" y="57" fill="\(Picture.faint)">\(Picture.xml(cut(subtitle, (width - 56) / 7)))</text>

        """
    }
    text += legend.svg(
      28, header, markers: markers, hasLines: panels.contains { $0.series.contains { !$0.isScattered } })
    for (i, note) in notes.enumerated() {
      let y = header + legend.height + 12 + 18 * Double(i)
      text += """
        <text x="28" y="\(n(y))" font-size="11" fill="\(Picture.faint)">\
        \(Picture.xml(cut(note, (width - 56) / 6.1)))</text>

        """
    }
    let scale = Scale(self)
    for (i, panel) in panels.enumerated() {
      let frame = Frame(
        x: 88 + Double(i % columns) * cell.0, y: top + 26 + Double(i / columns) * cell.1, width: size.width,
        height: size.height, scale: scale)
      text += PanelDrawing(plot: self, panel: panel, frame: frame, markers: markers).svg
    }
    return text + "</svg>\n"
  }

  /// Of all series, in order of appearance.
  private var names: [String] {
    var names: [String] = []
    for series in panels.flatMap(\.series) where !names.contains(series.name) { names.append(series.name) }
    return names
  }

  private var markers: [String: Marker] {
    Dictionary(names.enumerated().map { ($1, Marker(index: $0)) }, uniquingKeysWith: { first, _ in first })
  }

  private func cut(_ text: String, _ length: Double) -> String {
    text.count > Int(length) ? text.prefix(max(1, Int(length) - 1)) + "…" : text
  }
}

private func n(_ value: Double) -> String { Picture.n(value) }

/// Colour and form of one series.
struct Marker {
  let index: Int

  var colour: String { Picture.colours[index % Picture.colours.count] }
  /// Beyond the colours, lines are broken.
  var dashes: String { index < Picture.colours.count ? "" : " stroke-dasharray=\"7 3\"" }

  func svg(_ x: Double, _ y: Double, filled: Bool) -> String {
    let r = 3.8
    let style = "fill=\"\(filled ? colour : Picture.ground)\" stroke=\"\(colour)\" stroke-width=\"1.6\""
    switch index % 4 {
    case 0: return "<circle cx=\"\(n(x))\" cy=\"\(n(y))\" r=\"\(n(r))\" \(style)/>\n"
    case 1:
      return
        "<rect x=\"\(n(x - r + 0.4))\" y=\"\(n(y - r + 0.4))\" width=\"\(n(2 * r - 0.8))\" height=\"\(n(2 * r - 0.8))\" \(style)/>\n"
    case 2:
      return
        "<path d=\"M\(n(x)) \(n(y - r - 0.8))l\(n(r + 0.8)) \(n(2 * r))h\(n(-2 * r - 1.6))z\" \(style)/>\n"
    default:
      let d = r + 0.8
      return
        "<path d=\"M\(n(x)) \(n(y - d))l\(n(d)) \(n(d))l\(n(-d)) \(n(d))l\(n(-d)) \(n(-d))z\" \(style)/>\n"
    }
  }
}

/// Names of series in rows.
private struct Legend {
  private var places: [(name: String, x: Double, row: Int)] = []

  init(names: [String], width: Double) {
    var (x, row) = (0.0, 0)
    for name in names {
      let length = 44 + 7.2 * Double(name.count) + 12
      if x > 0 && x + length > width { (x, row) = (0, row + 1) }
      places.append((name, x, row))
      x += length
    }
  }

  var height: Double { places.isEmpty ? 0 : 20 * Double((places.last?.row ?? 0) + 1) + 4 }

  func svg(_ x: Double, _ y: Double, markers: [String: Marker], hasLines: Bool) -> String {
    places.map { place in
      guard let marker = markers[place.name] else { return "" }
      let (left, middle) = (x + place.x, y + 20 * Double(place.row) + 6)
      let line =
        "<path d=\"M\(n(left)) \(n(middle))h30\" stroke=\"\(marker.colour)\" stroke-width=\"2\"\(marker.dashes)/>"
      return """
        \(hasLines ? line : "")
        \(marker.svg(left + 15, middle, filled: true))\
        <text x="\(n(left + 38))" y="\(n(middle + 4))">\(Picture.xml(place.name))</text>

        """
    }.joined()
  }
}
