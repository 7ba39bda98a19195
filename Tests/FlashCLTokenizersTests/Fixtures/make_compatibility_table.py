"""Writes Sources/FlashCLTokenizers/CompatibilityTable.swift from Python's own Unicode tables.

    python make_compatibility_table.py
"""

import pathlib
import textwrap
import unicodedata

HEAD = '''/// Unicode {version}'s compatibility decompositions: what NFKD changes beyond NFD.
///
/// Made by make_compatibility_table.py beside the tests' fixtures. Scalars in hexadecimal: `A0>20`,
/// `B2-B3>32` (B2 to 32, B3 to 33), `BC>31+2044+34`.
enum CompatibilityTable {{
  static let decompositions: [Unicode.Scalar: [Unicode.Scalar]] = {{
    var table: [Unicode.Scalar: [Unicode.Scalar]] = [:]
    for rule in rules.split(whereSeparator: \\.isWhitespace) {{
      let sides = rule.split(separator: ">")
      let sources = sides[0].split(separator: "-").compactMap {{ UInt32($0, radix: 16) }}
      let parts = sides[1].split(separator: "+").compactMap {{ UInt32($0, radix: 16) }}
      for (step, source) in (sources[0]...sources[sources.count - 1]).enumerated() {{
        guard let scalar = Unicode.Scalar(source) else {{ continue }}
        table[scalar] = parts.compactMap {{ Unicode.Scalar($0 + UInt32(step)) }}
      }}
    }}
    return table
  }}()

  private static let rules = """
'''

runs = []
for code in (c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF):
    parts = unicodedata.normalize("NFKD", chr(code))
    if parts == unicodedata.normalize("NFD", chr(code)):
        continue
    parts = [ord(c) for c in parts]
    last = runs[-1] if runs else None
    if last and len(parts) == len(last[2]) == 1 and last[1] == code - 1 and parts[0] - last[2][0] == code - last[0]:
        last[1] = code
    else:
        runs.append([code, code, parts])

rules = " ".join((f"{a:X}" if a == b else f"{a:X}-{b:X}") + ">" + "+".join(f"{p:X}" for p in parts) for a, b, parts in runs)
lines = textwrap.wrap(rules, 110 - 4, break_long_words=False, break_on_hyphens=False)
here = pathlib.Path(__file__).resolve()
target = here.parents[3] / "Sources/FlashCLTokenizers/CompatibilityTable.swift"
target.write_text(
    HEAD.format(version=unicodedata.unidata_version) + "".join(f"    {line}\n" for line in lines) + '    """\n}\n')
