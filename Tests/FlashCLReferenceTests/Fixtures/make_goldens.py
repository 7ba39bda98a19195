"""Makes goldens.json: answers of PyTorch (in f64) and of the gguf package's quantiser, for FlashCLReference.

    python make_goldens.py          (packages: torch 2.13.0, numpy, gguf 0.19.0; a second; same bytes every time)

Inputs are f32 values; outputs were computed in f64 and are not rounded.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
import torch.nn.functional as F

generator = torch.Generator().manual_seed(11)


def random(*shape, mean=0.0, scale=1.0):
    return (mean + scale * torch.randn(*shape, generator=generator)).float().double()


def flat(tensor):
    return tensor.flatten().tolist()


def linear():
    functions = {"none": lambda x: x, "relu": F.relu, "gelu": F.gelu, "silu": F.silu,
                 "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}
    for activation, function in functions.items():
        x, w, bias, residual = random(3, 7), random(5, 7), random(5), random(3, 5)
        y = function(F.linear(x, w, bias)) + residual
        yield {"activation": activation, "rows": 3, "inputs": 7, "outputs": 5, "x": flat(x), "w": flat(w),
               "transposed": flat(w.T.contiguous()), "bias": flat(bias), "residual": flat(residual), "y": flat(y)}


def norms():
    for columns, mean, eps in [(33, 0, 1e-5), (7, 1000, 1e-12), (1, 3, 1e-5)]:
        x, residual, gain, bias = random(3, columns, mean=mean), random(3, columns), random(columns), random(columns)
        s = x + residual
        eps = float(np.float32(eps))
        yield {"rows": 3, "columns": columns, "eps": eps, "x": flat(x), "residual": flat(residual),
               "gain": flat(gain), "bias": flat(bias), "sum": flat(s),
               "layer_norm": flat(F.layer_norm(s, [columns], gain, bias, eps)),
               "rms_norm": flat(F.rms_norm(s, [columns], gain, eps))}


def activations():
    x = torch.cat([random(40, scale=4), torch.tensor([-9.5, -13.0, -40.0, 40.0, 0.0]).double()])
    up = random(45)
    return {"x": flat(x), "up": flat(up), "gelu": flat(F.gelu(x)), "gelu_tanh": flat(F.gelu(x, approximate="tanh")),
            "silu_multiply": flat(F.silu(x) * up)}


def attention():
    q, k, v = random(2, 4, 5, 8), random(2, 2, 9, 8), random(2, 2, 9, 6)
    i, j = torch.arange(5)[:, None], torch.arange(9)[None]
    scale = float(np.float32(1 / np.sqrt(8)))  # as a description holds it
    masks = {"none": j >= 0, "upper_left": j <= i, "lower_right": j <= i + 4}
    return {"q": flat(q), "k": flat(k), "v": flat(v),
            "y": {name: flat(F.scaled_dot_product_attention(q, k, v, attn_mask=mask.expand(5, 9), scale=scale,
                                                            enable_gqa=True)) for name, mask in masks.items()}}


def quantised():
    for name in ["q8_0", "q4_0", "q4_1"]:
        type = gguf.GGMLQuantizationType[name.upper()]
        data = gguf.quantize(random(3, 64).float().numpy(), type)
        yield {"type": name, "outputs": 3, "inputs": 64, "bytes": data.flatten().tolist(),
               "values": gguf.dequantize(data, type).flatten().tolist()}


def rounding():
    """Numbers of all sizes, ties between neighbours, and the bits that store them in the narrow types."""
    values = torch.cat([random(60), random(20, scale=1e-6), random(20, scale=1e4),
                        torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-8, 1 + 3 * 2**-8, 65504, 65519, 65520, 2**-25,
                                      1.5 * 2**-24, 2**-24, -0.0]).double()])
    bits = lambda type: [b & 0xFFFF for b in values.float().to(type).view(torch.int16).tolist()]
    return {"values": values.tolist(), "f16": bits(torch.float16), "bf16": bits(torch.bfloat16)}


goldens = {"linear": list(linear()), "norms": list(norms()), "activations": activations(), "attention": attention(),
           "softmax": {"x": flat(x := random(3, 9, scale=30)), "y": flat(x.softmax(-1))},
           "quantised": list(quantised()), "rounding": rounding()}
(Path(__file__).parent / "goldens.json").write_text(json.dumps(goldens, separators=(",", ":")) + "\n")
