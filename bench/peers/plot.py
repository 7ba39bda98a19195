"""The ratios as a picture: a bar for each side of each shape, on a logarithmic axis with a line at 1."""

import math
from xml.sax.saxutils import escape

from report import digits, heading, label

GROUND, INK, FAINT, RULE, BAND = "#fcfcfb", "#22262b", "#6b7280", "#e3e5e8", "#f3f4f5"
# Colours that colour-blind people tell apart (Okabe, Ito 2008).
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a07800", "#56b4e9", "#5b4a9e", "#22262b", "#9aa0a6", "#e69f00"]
FONT = "system-ui, 'Segoe UI', Helvetica, Arial, 'DejaVu Sans', sans-serif"
WIDTH, RIGHT, BAR, GAP = 900, 90, 13, 9
DECADE = (1, 2, 5)


def svg(report):
    """A picture of `report["rows"]`; sides without a ratio are in the table alone."""
    rows = [(row, [entry for entry in row["sides"] if "ratio" in entry]) for row in report["rows"]]
    rows = [(row, entries) for row, entries in rows if entries]
    left = max([250, *(30 + 7 * len(row["shape"]) for row, _ in rows)])  # where names of shapes end
    names = list(dict.fromkeys(label(entry) for _, entries in rows for entry in entries))
    colours = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    ends = [
        entry[end] for _, entries in rows for entry in entries for end in ("ratio_least", "ratio_greatest")
    ]
    low, high = math.log10(min([0.8, *ends])), math.log10(max([1.25, *ends]))
    room = (high - low) * 0.06  # for what the bars' labels take on the left
    low -= room

    def x(ratio):
        return left + (math.log10(ratio) - low) / (high - low) * (WIDTH - left - RIGHT)

    body = []

    def text(x, y, words, size=12, anchor="start", fill=INK, more=""):
        body.append(
            f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{more}>'
            f"{escape(words)}</text>"
        )

    def rect(x, y, width, height, fill):
        body.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{fill}"/>'
        )

    def stroke(x1, y1, x2, y2, colour, width=1.0):
        body.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width}"/>'
        )

    text(20, 32, "Peers beside FlashCL: a peer's time / FlashCL's time", 16, more=' font-weight="600"')
    for number, words in enumerate(heading(report)):
        text(20, 52 + 16 * number, words, 11, fill=FAINT)
    place, y = 20.0, 92.0  # the legend, as many lines as it takes
    for name in names:
        width = 26 + 7.2 * len(name)
        if place + width > WIDTH - 20:
            place, y = 20.0, y + 18
        rect(place, y - 9, 11, 11, colours[name])
        text(place + 16, y, name)
        place += width
    top = y + 46
    bottom = top + sum(len(entries) * BAR + GAP for _, entries in rows)

    y = top
    for number, (_, entries) in enumerate(rows):
        if number % 2 == 0:
            rect(10, y, WIDTH - 20, len(entries) * BAR + GAP, BAND)
        y += len(entries) * BAR + GAP
    for decade in range(math.floor(low), math.ceil(high) + 1):
        for tick in (factor * 10.0**decade for factor in DECADE):
            if low <= math.log10(tick) <= high:
                stroke(x(tick), top, x(tick), bottom, RULE)
                text(x(tick), top - 6, f"{tick:g}×", 11, "middle", FAINT)
                text(x(tick), bottom + 14, f"{tick:g}×", 11, "middle", FAINT)
    text(x(1) - 8, top - 22, "← the peer is faster", 11, "end", FAINT)
    text(x(1) + 8, top - 22, "FlashCL is faster →", 11, "start", FAINT)

    y = top
    for row, entries in rows:
        text(left - 14, y + GAP / 2 + len(entries) * BAR / 2 + 4, row["shape"], 12, "end")
        for number, entry in enumerate(entries):
            bar, middle = y + GAP / 2 + number * BAR, y + GAP / 2 + (number + 0.5) * BAR
            from_, to = sorted((x(1), x(entry["ratio"])))
            rect(from_, bar + 1, max(to - from_, 1), BAR - 2, colours[label(entry)])
            stroke(x(entry["ratio_least"]), middle, x(entry["ratio_greatest"]), middle, INK)
            if entry["ratio"] >= 1:
                text(max(to, x(entry["ratio_greatest"])) + 4, middle + 3.5, digits(entry["ratio"]), 10)
            else:
                text(min(from_, x(entry["ratio_least"])) - 4, middle + 3.5, digits(entry["ratio"]), 10, "end")
        y += len(entries) * BAR + GAP
    stroke(x(1), top, x(1), bottom, INK, 1.5)
    text(
        20,
        bottom + 40,
        "Bars: the median of the ratios of single rounds; thin lines: the least and the greatest.",
        11,
        fill=FAINT,
    )
    height = bottom + 56
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" '
        f'viewBox="0 0 {WIDTH} {height:.0f}" font-family="{FONT}">\n'
        f'<rect width="100%" height="100%" fill="{GROUND}"/>\n' + "\n".join(body) + "\n</svg>\n"
    )
