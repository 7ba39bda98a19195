import FlashCL

/// An SVG of the tiles of a score matrix: queries downward, keys to the right, to scale, one panel a head.
struct AttentionPicture {
  let tiles: AttentionTiles
  /// The mask in words.
  let mask: [String]

  private static let colours = ["#e3e5e8", "#f3b562", "#2f6690"]  // skipped, partial, whole
  private static let names = ["skipped", "partly computed", "wholly computed"]

  // MARK: - Geometry, in pixels

  private var longest: Double { tiles.heads.count == 1 ? 480 : tiles.heads.count == 2 ? 320 : 220 }
  private var perRow: Int { min(tiles.heads.count, tiles.heads.count > 4 ? 4 : tiles.heads.count) }
  /// A matrix to scale; one with few queries or keys is still a strip that can be seen.
  private var plot: (width: Double, height: Double) {
    let scale = longest / Double(max(tiles.queries, tiles.keys, 1))
    return (max(24, Double(tiles.keys) * scale), max(24, Double(tiles.queries) * scale))
  }
  /// `axis` is the space of labels above and to the left of a plot, `gap` that after it.
  private static let (margin, axis, gap, header, legend) = (28.0, 30.0, 22.0, 76.0, 106.0)

  var svg: String {
    let (width, height) = plot
    let (cellWidth, cellHeight) = (Self.axis + width + Self.gap, Self.axis + height + Self.gap)
    let panelRows = (tiles.heads.count + perRow - 1) / perRow
    let panels = (Double(perRow) * cellWidth, Double(panelRows) * cellHeight)
    let total = (max(560, 2 * Self.margin + panels.0), Self.header + panels.1 + Self.legend)
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(n(total.0))" height="\(n(total.1))" \
      viewBox="0 0 \(n(total.0)) \(n(total.1))" font-family="\(Picture.font)" \
      font-size="12" fill="\(Picture.ink)">
      <title>\(Picture.xml(title))</title>
      <rect width="100%" height="100%" fill="\(Picture.ground)"/>
      <text x="\(n(Self.margin))" y="36" font-size="16" font-weight="600">\(Picture.xml(cut(title, to: total.0)))</text>
      <text x="\(n(Self.margin))" y="57" fill="\(Picture.faint)">\(subtitle)</text>

      """
    let start = Self.margin + max(0, (total.0 - 2 * Self.margin - panels.0) / 2)
    for head in tiles.heads.indices {
      let x = start + Double(head % perRow) * cellWidth + Self.axis
      text += panel(head, x, Self.header + Double(head / perRow) * cellHeight + Self.axis)
    }
    return text + legend(Self.header + panels.1 + 14) + "</svg>\n"
  }

  private var title: String { mask.isEmpty ? "every pair takes part" : mask.joined(separator: " · ") }

  private var subtitle: String {
    let heads =
      tiles.heads.count == 1
      ? (tiles.headCount == 1 ? "" : ", all heads alike")
      : ", heads 0 to \(tiles.heads.count - 1) of \(tiles.headCount)"
    return
      "\(tiles.queries) queries ↓ × \(tiles.keys) keys →, in tiles of \(tiles.height) × \(tiles.width)\(heads)"
      + (tiles.sequences > 1 ? ", sequence 0 of \(tiles.sequences)" : "")
  }

  // MARK: - Parts

  /// One head: axes, frame, and one path a colour, in units of tiles.
  private func panel(_ head: Int, _ x: Double, _ y: Double) -> String {
    let (width, height) = plot
    var text = ""
    func label(_ words: String, _ x: Double, _ y: Double, _ anchor: String, _ more: String = "") {
      text += """
        <text x="\(n(x))" y="\(n(y))" text-anchor="\(anchor)" font-size="11" fill="\(Picture.faint)"\(more)>\(words)</text>

        """
    }
    let isLone = tiles.heads.count == 1
    if width >= 90 {
      label("0", x, y - 7, "start")
      label("\(tiles.keys)", x + width, y - 7, "end")
    }
    label(
      isLone ? "keys" : "head \(head)", x + width / 2, y - 7, "middle", isLone ? "" : #" font-weight="600""#)
    if height >= 90 {
      label("0", x - 7, y + 9, "end")
      label("\(tiles.queries)", x - 7, y + height, "end")
    }
    if isLone {
      let (left, middle) = (x - 14, y + height / 2)
      label("queries", left, middle, "middle", " transform=\"rotate(-90 \(n(left)) \(n(middle)))\"")
    }
    guard tiles.queries > 0, tiles.keys > 0 else { return text }
    let box = (Double(tiles.keys) / Double(tiles.width), Double(tiles.queries) / Double(tiles.height))
    text += """
      <svg x="\(n(x))" y="\(n(y))" width="\(n(width))" height="\(n(height))" viewBox="0 0 \(n(box.0)) \(n(box.1))" \
      preserveAspectRatio="none" shape-rendering="crispEdges">
      <rect width="100%" height="100%" fill="\(Self.colours[0])"/>

      """
    for part in [AttentionTiles.Part.partial, .whole] {
      let runs = runs(of: part, head)
      if !runs.isEmpty { text += "<path fill=\"\(Self.colours[part.rawValue])\" d=\"\(runs)\"/>\n" }
    }
    text += "</svg>\n"
    text += grid(x, y, width / box.0, height / box.1)
    return text + """
      <rect x="\(n(x))" y="\(n(y))" width="\(n(width))" height="\(n(height))" fill="none" stroke="\(Picture.faint)"/>

      """
  }

  /// Tiles of one part, neighbours in a row as one rectangle.
  private func runs(of part: AttentionTiles.Part, _ head: Int) -> String {
    var path = ""
    for row in 0..<tiles.rows {
      var column = 0
      while column < tiles.columns {
        let begin = column
        while column < tiles.columns && tiles.heads[head][row * tiles.columns + column] == part {
          column += 1
        }
        if column > begin {
          path += "M\(begin) \(row)h\(column - begin)v1h\(begin - column)z"
        } else {
          column += 1
        }
      }
    }
    return path
  }

  /// Fine lines between tiles that are large enough to be told apart.
  private func grid(_ x: Double, _ y: Double, _ tileWidth: Double, _ tileHeight: Double) -> String {
    guard min(tileWidth, tileHeight) >= 6 else { return "" }
    let (width, height) = plot
    let columns = (0..<tiles.columns).map { "M\(n(x + Double($0) * tileWidth)) \(n(y))v\(n(height))" }
    let rows = (0..<tiles.rows).map { "M\(n(x)) \(n(y + Double($0) * tileHeight))h\(n(width))" }
    let path = (columns + rows).joined()
    return "<path d=\"\(path)\" fill=\"none\" stroke=\"\(Picture.ground)\" stroke-width=\"0.8\"/>\n"
  }

  private func legend(_ y: Double) -> String {
    let all = tiles.heads.joined()
    var text = ""
    for part in AttentionTiles.Part.allCases {
      let number = all.count { $0 == part }
      let x = Self.margin + 172 * Double(part.rawValue)
      text += """
        <rect x="\(n(x))" y="\(n(y))" width="14" height="14" fill="\(Self.colours[part.rawValue])" \
        stroke="\(Picture.faint)" stroke-width="0.5"/>
        <text x="\(n(x + 22))" y="\(n(y + 11.5))">\(Self.names[part.rawValue])</text>
        <text x="\(n(x + 22))" y="\(n(y + 29))" fill="\(Picture.faint)">\(count(number, "tile")), \
        \(share(number, of: all.count))</text>

        """
    }
    let pairs = tiles.queries * tiles.keys * tiles.heads.count
    return text + """
      <text x="\(n(Self.margin))" y="\(n(y + 62))">\(share(tiles.pairs, of: pairs)) of all pairs of query and key take \
      part.</text>

      """
  }

  // MARK: - Words and numbers

  private func share(_ part: Int, of whole: Int) -> String {
    "\(fixed(whole > 0 ? 100 * Double(part) / Double(whole) : 0, 1)) %"
  }

  private func n(_ value: Double) -> String { Picture.n(value) }

  /// As much of a title as fits a picture of this width, at 10 pixels a character.
  private func cut(_ text: String, to width: Double) -> String {
    let length = Int((width - 2 * Self.margin) / 10)
    return text.count > length ? text.prefix(length - 1) + "…" : text
  }
}
