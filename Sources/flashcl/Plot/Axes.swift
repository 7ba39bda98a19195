#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The ranges of both axes, common to all panels of a plot.
struct Scale {
  let x, y: Logarithm
  /// Where the x axis is labelled.
  let xTicks: [Double]

  init(_ plot: Plot) {
    let points = plot.panels.flatMap { $0.series.flatMap(\.points) }.filter { $0.x > 0 && $0.y > 0 }
    let guides = plot.panels.flatMap(\.guides)
    let xs = Set(points.map(\.x)).sorted()
    let levels = guides.filter { $0.exponent == 0 && $0.y0 > 0 }.map(\.y0)
    let roofs = guides.filter { $0.exponent == 1 && $0.end.isFinite && $0.y0 > 0 }
    let corners = roofs.map { roof in roof.end / roof.y0 * roof.x0 }
    let lows = points.map { point in point.y * (1 - 0.45 * min(point.spread, 1)) }
    let highs = points.map { point in point.y * (1 + point.spread / 2) }
    // Of a roof enough is shown to see its slope.
    x = Logarithm(xs + corners.map { $0 / 6 }, margin: 1.18, toNice: false)
    y = Logarithm(lows + highs + levels, margin: 1.12, toNice: true)
    xTicks = xs.count <= 9 && corners.isEmpty ? xs : x.ticks
  }
}

/// One logarithmic axis.
struct Logarithm {
  let low, high: Double

  /// Holds all values, with a factor of `margin` to spare at least, and ends on a 1, 2 or 5 where `toNice`.
  init(_ values: [Double], margin: Double, toNice: Bool) {
    let values = values.filter { $0.isFinite && $0 > 0 }
    let (least, most) = (values.min() ?? 1, values.max() ?? 10)
    low = toNice ? Self.steps(least / margin / 10, least / margin).last ?? least / 2 : least / margin
    high = toNice ? Self.steps(most * margin, most * margin * 10).first ?? most * 2 : most * margin
  }

  /// 1, 2 and 5 times powers of ten between two values.
  private static func steps(_ low: Double, _ high: Double) -> [Double] {
    let (first, last) = (Int(log10(low).rounded(.down)), Int(log10(high).rounded(.up)))
    var steps: [Double] = []
    for decade in first...max(first, last) {
      // Multiplied or divided by a whole power of ten: 0.1 and its like are labels.
      let power: Double = pow(10, Double(abs(decade)))
      for digit in [1.0, 2, 5] { steps.append(decade < 0 ? digit / power : digit * power) }
    }
    return steps.filter { $0 >= low * (1 - 1e-9) && $0 <= high * (1 + 1e-9) }
  }

  /// Where lines of a grid lie.
  var grid: [Double] { Self.steps(low, high) }

  /// Where numbers stand: at every line, or, where those are many, at powers of ten.
  var ticks: [Double] {
    let all = grid
    guard all.count > 9 else { return all }
    return all.filter { abs(log10($0).rounded() - log10($0)) < 1e-6 }
  }

  /// The share of the axis below `value`.
  func share(_ value: Double) -> Double { (log(value) - log(low)) / (log(high) - log(low)) }
}

/// Where a panel lies, in pixels, and how values lie in it.
struct Frame {
  let x, y, width, height: Double
  let scale: Scale

  func px(_ value: Double) -> Double { x + width * scale.x.share(value) }
  func py(_ value: Double) -> Double { y + height * (1 - scale.y.share(value)) }
}

/// One panel: axes, guides, and lines.
struct PanelDrawing {
  let plot: Plot
  let panel: Plot.Panel
  let frame: Frame
  let markers: [String: Marker]

  var svg: String { axes + guides + panel.series.map(line).joined() }

  private func n(_ value: Double) -> String { Picture.n(value) }

  private func label(
    _ words: String, _ x: Double, _ y: Double, _ anchor: String, size: Double = 11, _ more: String = ""
  ) -> String {
    """
    <text x="\(n(x))" y="\(n(y))" text-anchor="\(anchor)" font-size="\(n(size))" fill="\(Picture.faint)"\(more)>\
    \(Picture.xml(words))</text>

    """
  }

  private var axes: String {
    let (left, top, right, bottom) = (frame.x, frame.y, frame.x + frame.width, frame.y + frame.height)
    let rows = frame.scale.y.grid.map { "M\(n(left)) \(n(frame.py($0)))h\(n(frame.width))" }.joined()
    let columns = frame.scale.xTicks.map { "M\(n(frame.px($0))) \(n(top))v\(n(frame.height))" }.joined()
    var text = """
      <path d="\(rows + columns)" stroke="\(Picture.rule)" fill="none"/>
      <rect x="\(n(left))" y="\(n(top))" width="\(n(frame.width))" height="\(n(frame.height))" fill="none" \
      stroke="\(Picture.faint)"/>

      """
    if !panel.title.isEmpty {
      text += label(panel.title, left, top - 8, "start", size: 12, " font-weight=\"600\"")
    }
    var last = Double.infinity
    for tick in frame.scale.y.ticks where last - frame.py(tick) >= 14 {
      last = frame.py(tick)
      text += label(Self.number(tick), left - 7, last + 4, "end")
    }
    var taken = -Double.infinity
    for tick in frame.scale.xTicks {
      let (words, x) = (Self.number(tick), frame.px(tick))
      let half = 3.6 * Double(words.count) + 3
      guard x - half > taken else { continue }
      taken = x + half
      text += label(words, x, bottom + 16, "middle")
    }
    text += label(plot.x, (left + right) / 2, bottom + 33, "middle")
    let (place, middle) = (left - 52, (top + bottom) / 2)
    return text
      + label(plot.y, place, middle, "middle", " transform=\"rotate(-90 \(n(place)) \(n(middle)))\"")
  }

  /// Labels have a halo of the ground's colour, so that lines behind them do not make them unreadable.
  private static let halo =
    " stroke=\"\(Picture.ground)\" stroke-width=\"4\" stroke-linejoin=\"round\" paint-order=\"stroke\""

  private var guides: String {
    var text = ""
    var taken = obstacles
    for guide in panel.guides.filter({ $0.exponent == 0 && $0.y0 > 0 }) {
      let y = frame.py(guide.y0)
      text += dashed("M\(n(frame.x)) \(n(y))h\(n(frame.width))")
      let place = freePlace(for: guide.name, y, taken)
      // No other name goes where this one is.
      for step in 0...20 {
        let x = place.x + place.width * Double(step) / 20
        taken += [(x, place.y - 4), (x, place.y - 4), (x, place.y - 4)]
      }
      text += label(guide.name, place.x, place.y, "start", Self.halo)
    }
    for guide in panel.guides where guide.exponent != 0 && guide.y0 > 0 { text += slope(guide) }
    return text
  }

  /// Above or below a level, from left to right: where a name covers the fewest obstacles.
  private func freePlace(
    for name: String, _ level: Double, _ obstacles: [(x: Double, y: Double)]
  ) -> (x: Double, y: Double, width: Double) {
    let width = 6.6 * Double(name.count)
    let room = max(0, frame.width - width - 12)
    var best: (x: Double, y: Double, covered: Int)?
    for y in [level - 5, level + 14] where y > frame.y + 10 && y < frame.y + frame.height - 3 {
      for step in 0...8 {
        let x = frame.x + 6 + room * Double(step) / 8
        let covered = obstacles.count {
          $0.x > x - 6 && $0.x < x + width + 6 && $0.y > y - 15 && $0.y < y + 7
        }
        if covered < best?.covered ?? Int.max { best = (x, y, covered) }
      }
    }
    return (best?.x ?? frame.x + 6, best?.y ?? level - 5, width)
  }

  /// Points in pixels along all lines, marks and guides.
  private var obstacles: [(x: Double, y: Double)] {
    var found: [(x: Double, y: Double)] = []
    func add(_ a: (Double, Double), _ b: (Double, Double)) {
      for step in 0...40 {
        let t = Double(step) / 40
        found.append((a.0 + t * (b.0 - a.0), a.1 + t * (b.1 - a.1)))
      }
    }
    for series in panel.series {
      let places = series.points.filter { $0.x > 0 && $0.y > 0 }.sorted { $0.x < $1.x }
        .map { (frame.px($0.x), frame.py($0.y)) }
      // A mark hides more than a piece of a line.
      for place in places { found += [place, place, place] }
      if !series.isScattered { for (a, b) in zip(places, places.dropFirst()) { add(a, b) } }
    }
    for guide in panel.guides where guide.y0 > 0 {
      if guide.exponent == 0 {
        let y = frame.py(guide.y0)
        add((frame.x, y), (frame.x + frame.width, y))
      } else if let (a, b) = ends(guide) {
        add(a, b)
      }
    }
    return found
  }

  private func dashed(_ path: String) -> String {
    "<path d=\"\(path)\" fill=\"none\" stroke=\"\(Picture.faint)\" stroke-width=\"1.2\" stroke-dasharray=\"5 4\"/>\n"
  }

  /// The part of a sloping guide within the frame, in pixels.
  private func ends(_ guide: Plot.Guide) -> ((Double, Double), (Double, Double))? {
    func y(_ x: Double) -> Double { guide.y0 * pow(x / guide.x0, guide.exponent) }
    func x(_ y: Double) -> Double { guide.x0 * pow(y / guide.y0, 1 / guide.exponent) }
    let (low, high) = (frame.scale.y.low, min(frame.scale.y.high, guide.end))
    let reach = [x(low), x(high)].sorted()
    let (first, last) = (max(frame.scale.x.low, reach[0]), min(frame.scale.x.high, reach[1]))
    guard first < last else { return nil }
    return ((frame.px(first), frame.py(y(first))), (frame.px(last), frame.py(y(last))))
  }

  /// A sloping guide; its name stands along it.
  private func slope(_ guide: Plot.Guide) -> String {
    guard let (a, b) = ends(guide) else { return "" }
    let angle = atan2(b.1 - a.1, b.0 - a.0) * 180 / .pi
    let place = (a.0 + 0.5 * (b.0 - a.0), a.1 + 0.5 * (b.1 - a.1))
    return dashed("M\(n(a.0)) \(n(a.1))L\(n(b.0)) \(n(b.1))")
      + label(
        guide.name, place.0, place.1 - 6, "middle",
        " transform=\"rotate(\(n(angle)) \(n(place.0)) \(n(place.1)))\"" + Self.halo)
  }

  private func line(_ series: Plot.Series) -> String {
    guard let marker = markers[series.name] else { return "" }
    let points = series.points.filter { $0.x > 0 && $0.y > 0 && $0.y.isFinite }.sorted { $0.x < $1.x }
    let places = points.map { (frame.px($0.x), frame.py($0.y)) }
    var text = ""
    if places.count > 1 && !series.isScattered {
      let path = places.map { "\(n($0.0)) \(n($0.1))" }.joined(separator: "L")
      text += """
        <path d="M\(path)" fill="none" stroke="\(marker.colour)" stroke-width="2" stroke-linejoin="round"\(marker.dashes)/>

        """
    }
    for (point, place) in zip(points, places) {
      if point.spread > 0.02 {
        let (top, bottom) = (point.y * (1 + point.spread / 2), point.y * (1 - min(point.spread, 1.8) / 2))
        let (from, to) = (max(frame.py(top), frame.y), min(frame.py(bottom), frame.y + frame.height))
        text += """
          <path d="M\(n(place.0)) \(n(from))V\(n(to))" stroke="\(marker.colour)" stroke-opacity="0.45"/>

          """
      }
      text += marker.svg(place.0, place.1, filled: point.isMarked)
    }
    return text
  }

  /// A number on an axis: 0.05, 20, 4096, 16384, 131072, then 1.0e6.
  static func number(_ value: Double) -> String {
    if value >= 1e6 || value < 1e-3 {
      let exponent = Int((log10(value) + 1e-9).rounded(.down))
      let mantissa = value / pow(10, Double(exponent))
      let digits = abs(mantissa - mantissa.rounded()) < 0.005 ? 0 : 1
      return "\(fixed(mantissa, digits))e\(exponent)"
    }
    if value.rounded() == value { return "\(Int(value))" }
    let text = fixed(value, value < 0.01 ? 3 : value < 0.1 ? 2 : value < 10 ? 2 : 1)
    return text.contains(".") ? String(text.reversed().drop { $0 == "0" }.reversed()) : text
  }
}
