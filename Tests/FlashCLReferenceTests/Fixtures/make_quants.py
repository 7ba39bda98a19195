"""Makes quants/: pip install gguf==0.19.0 numpy, then run it here.

T.blocks, T.f32         8 blocks of type T and what gguf's own dequantiser makes of them. Every bit of the quants and of the
                        packed scales is random; d and m are of both signs and from subnormal to large
values.f32              [32, 256]: rows of sizes from e⁻⁵ to e⁵, constant rows, a row of zeros, ties, outliers
T.quantised             values.f32 quantised by gguf, for the types that it can quantise
"""

import os

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Type, quants

folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "quants")
os.makedirs(folder, exist_ok=True)
random = np.random.default_rng(20240607)

# Where d and m stand in a block.
scales = {Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.IQ4_NL: [0],
          Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def save(name, array):
    with open(os.path.join(folder, name), "wb") as file:
        file.write(np.ascontiguousarray(array).tobytes())


values = random.standard_normal((32, 256)) * np.exp(random.uniform(-5, 5, (32, 1)))
values[3] = 0
values[4] = -0.625
values[5] = 3
values[6] = np.arange(256) / 2 - 64  # ties of q8_0 and the 4-bit types
values[7] = np.tile([-8.0, 8, 7.5, -7.5, 0.5, -0.5, 1.5, 0], 32)
values[8, ::32] = 1e3
values[9] = np.abs(values[9])
values = values.astype(np.float32)
save("values.f32", values)

for type, offsets in scales.items():
    name = type.name.lower()
    blocks = random.integers(0, 256, (8, GGML_QUANT_SIZES[type][1]), dtype=np.uint8)
    for offset in offsets:
        sizes = random.standard_normal(8) * np.exp2(random.uniform(-16, 4, 8))
        sizes[0], sizes[1] = 0, 6e-8
        blocks[:, offset:offset + 2] = sizes.astype(np.float16).view(np.uint8).reshape(8, 2)
    save(name + ".blocks", blocks)
    save(name + ".f32", quants.dequantize(blocks, type).astype(np.float32))
    try:
        save(name + ".quantised", quants.quantize(values, type))
    except NotImplementedError:
        pass
