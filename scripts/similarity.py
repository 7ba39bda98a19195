#!/usr/bin/env python3
"""Prints the cosine similarities of the rows of a .npy file: similarity.py FILE.npy [label of each row] …"""

import array
import ast
import math
import sys

if len(sys.argv) < 2:
    sys.exit(__doc__)
path, *labels = sys.argv[1:]
with open(path, "rb") as file:
    if file.read(6) != b"\x93NUMPY":
        sys.exit(f"{path}: not a .npy file")
    wide = file.read(2)[0] > 1  # version 1 counts the header in two bytes, later ones in four
    header = ast.literal_eval(file.read(int.from_bytes(file.read(4 if wide else 2), "little")).decode())
    values = array.array("f", file.read())
if header["descr"] != "<f4" or header["fortran_order"] or len(header["shape"]) != 2:
    sys.exit(f"{path}: expected f32 [rows, columns], found {header}")
rows, columns = header["shape"]
if len(values) != rows * columns:
    sys.exit(f"{path}: expected {rows} × {columns} values, found {len(values)}")
vectors = [values[r * columns:(r + 1) * columns] for r in range(rows)]
lengths = [math.sqrt(sum(x * x for x in v)) for v in vectors]
for i, v in enumerate(vectors):
    cosines = (sum(x * y for x, y in zip(v, w)) / (lengths[i] * lengths[j] or 1) for j, w in enumerate(vectors))
    print(" ".join(f"{c:6.3f}" for c in cosines), "", labels[i] if i < len(labels) else i)
