"""What was measured, as rows for JSON and as lines of a table."""

import os
import re
import statistics

# Names, widths, and whether a column is of numbers.
COLUMNS = (
    ("shape", 32, False),
    ("FlashCL ms", 10, True),
    ("rate", 16, True),
    ("peer", 28, False),
    ("ms", 10, True),
    ("rate", 16, True),
    ("ratio", 13, True),
    ("least–greatest", 14, True),
)


def summary(shape, ours, theirs):
    """One row: medians of the rounds, rates, and ratios taken round by round.

    `ours` is a list of FlashCL's results, one a round; `theirs` maps (peer, side) to a list of seconds, one a
    round, or to (word, reason). The ratio is the peer's time over FlashCL's: above 1 FlashCL is faster.
    """
    row = {"shape": shape.name, "unit": shape.unit, "flashcl": {"word": "not run"}, "sides": []}
    times = [result["seconds"] for result in ours if "seconds" in result]
    work = next((result["work"] for result in ours if "seconds" in result), None)
    if times:
        row["flashcl"] = {"strategy": ours[0].get("strategy"), **figure(times, work)}
    elif ours:
        row["flashcl"] = {"word": ours[0]["word"], "reason": ours[0]["reason"]}
    for (peer, side), result in theirs.items():
        entry = {"peer": peer, "side": side}
        if isinstance(result, tuple):
            entry |= {"word": result[0], "reason": result[1]}
        elif result:
            entry |= figure(result, work)
            ratios = [their / our["seconds"] for their, our in zip(result, ours) if "seconds" in our]
            if ratios:
                entry |= {
                    "ratio": statistics.median(ratios),
                    "ratio_least": min(ratios),
                    "ratio_greatest": max(ratios),
                }
        else:
            entry |= {"word": "no time", "reason": "the limit was reached"}
        row["sides"].append(entry)
    return row


def figure(times, work):
    """The median of the rounds, and the rate where the work is known."""
    seconds = statistics.median(times)
    return {"median_s": seconds, "rounds_s": times, "rate": work / seconds if work else None}


def label(entry):
    return f"{entry['peer']} {entry['side']}".strip()


# The table


def heading(results):
    """Who was measured, and how: lines above the table and in the plot."""
    known = results["revision"] and results["revision"] != "unknown"
    revision = f" {results['revision'][:9]}" if known else ""
    peers = ", ".join(f"{name} {version}" for name, version in results["peers"].items())
    device = "CUDA" if results["peer_device"] == "cuda" else f"the CPU with {results['threads']} threads"
    rounds = results["rounds"]
    return [
        f"FlashCL{revision} on {results['device']}",
        f"Peers on {device}, {rounds} {'round' if rounds == 1 else 'rounds'} in turn: {peers}",
    ]


def header():
    rule = ["-" * (width - 1) + (":" if numeric else "-") for _, width, numeric in COLUMNS]
    return [line([name for name, _, _ in COLUMNS]), "|" + "|".join(f" {cell} " for cell in rule) + "|"]


def line(cells):
    padded = (
        cell.rjust(width) if numeric else cell.ljust(width)
        for cell, (_, width, numeric) in zip(cells, COLUMNS)
    )
    return "|" + "|".join(f" {cell} " for cell in padded) + "|"


def lines(row):
    """A line for each side; the shape and FlashCL stand in the first alone."""

    def measured(figure):
        if "median_s" not in figure:
            return [figure["word"], ""]
        rate = figure["rate"]
        return [digits(figure["median_s"] * 1e3), f"{digits(rate)} {row['unit']}" if rate else ""]

    first = [row["shape"], *measured(row["flashcl"])]
    for entry in row["sides"] or [None]:
        cells = ["", "", "", "", ""]
        if entry and "median_s" in entry:
            cells = [label(entry), *measured(entry), "", ""]
            if "ratio" in entry:
                cells[3:] = [
                    digits(entry["ratio"]),
                    f"{digits(entry['ratio_least'])}–{digits(entry['ratio_greatest'])}",
                ]
        elif entry:
            cells = [label(entry), "", "", entry["word"], ""]
        yield line([*first, *cells])
        first = ["", "", ""]


def digits(value):
    """Three digits that count."""
    return (
        f"{value:.0f}"
        if value >= 100
        else f"{value:.1f}"
        if value >= 10
        else f"{value:.2f}"
        if value >= 0.1
        else f"{value:.2g}"
    )


# Files


def path(path, results, suffix):
    """The file that is named, or in a folder one with the device's name, as `flashcl bench --output` calls it."""
    words = re.findall("[a-z0-9]+", results["device"].lower())
    return path / f"{'-'.join(words)}-peers.{suffix}" if path.is_dir() else path


def write(path, text):
    """All of it or nothing: a file of another name first."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
