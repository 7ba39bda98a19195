"""Makes operations/ (answers of PyTorch for single operations) and worked.json (worked examples of the literature).

    python make_operations.py             (packages: requirements.txt; seconds; same bytes every time)

operations/cases.json lists the cases: name, operation, parameters, and for each input and output the .npy file that holds it.
Every array is f32 unless named otherwise; answers were computed in f64 and rounded once, so they are closer to the truth than f32 is.
"""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

HERE = Path(__file__).parent
OUT = HERE / "operations"
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(7)
cases = []


def random(*shape, scale=1.0, mean=0.0):
    """f32 values, held in f64."""
    return (mean + scale * torch.randn(*shape, generator=generator)).double()


def case(name, operation, inputs, outputs, **parameters):
    def files(arrays):
        names = {}
        for key, array in arrays.items():
            names[key] = f"{name}.{key}.npy"
            array = array if isinstance(array, np.ndarray) else array.float().numpy()
            assert np.isfinite(array).all(), (name, key)
            np.save(OUT / names[key], array)
        return names

    cases.append({"name": name, "operation": operation, "parameters": parameters,
                  "inputs": files(inputs), "outputs": files(outputs)})


def attention():
    """q [B, Hq, Lq, D], k [B, Hkv, Lk, D], v [B, Hkv, Lk, Dv]; scale 1/√D unless given."""
    def one(name, shape, causal=None, lengths=None, window=None, scale=None, bias=False):
        b, hq, hkv, lq, lk, d, dv = shape
        q, k, v = random(b, hq, lq, d), random(b, hkv, lk, d), random(b, hkv, lk, dv)
        i, j = torch.arange(lq)[:, None], torch.arange(lk)[None]
        shift = lk - lq if causal == "lowerRight" else 0
        takes_part = torch.ones(b, 1, lq, lk, dtype=torch.bool)
        inputs, parameters = {"q": q, "k": k, "v": v}, {}
        if causal:
            takes_part &= j <= i + shift
            parameters["causal"] = causal
        if window is not None:  # keys i - window ... i, inclusive, counted from the lower right corner
            takes_part &= j >= i + shift - window
            parameters["window"] = window
        if lengths is not None:
            takes_part = takes_part & (j < torch.tensor(lengths)[:, None, None, None])
            inputs["lengths"] = np.array(lengths, np.int32)
        mask = torch.zeros(b, 1, lq, lk, dtype=torch.float64).masked_fill(~takes_part, -math.inf)
        if bias:
            inputs["bias"] = random(hq, lq, lk)
            mask = mask + inputs["bias"]
        if scale is not None:
            parameters["scale"] = scale
        assert takes_part.any(-1).all()
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=hq != hkv)
        if causal == "upperLeft" and window is None and lengths is None and not bias:  # PyTorch's own causal mask is this one
            assert torch.allclose(out, F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=hq != hkv))
        case(name, "attention", inputs, {"out": out}, **parameters)

    #                                B Hq Hkv Lq  Lk  D  Dv
    one("attention_full",           (2, 3, 3, 17, 17, 8, 8))
    one("attention_causal",         (2, 3, 3, 17, 17, 8, 8), causal="upperLeft")
    one("attention_cross",          (1, 2, 2, 7, 33, 8, 12))
    one("attention_upper_left",     (1, 2, 2, 9, 21, 8, 8), causal="upperLeft")
    one("attention_lower_right",    (1, 2, 2, 9, 21, 8, 8), causal="lowerRight")
    one("attention_grouped",        (2, 6, 2, 13, 13, 8, 8), causal="upperLeft")
    one("attention_multi_query",    (1, 5, 1, 11, 19, 16, 16))
    one("attention_padded",         (3, 2, 2, 19, 19, 8, 8), lengths=[19, 1, 8])
    one("attention_padded_causal",  (3, 4, 2, 19, 19, 8, 8), causal="upperLeft", lengths=[19, 1, 8])
    one("attention_window",         (1, 2, 2, 33, 33, 8, 8), causal="lowerRight", window=5)
    one("attention_unscaled_bias",  (1, 3, 3, 15, 17, 8, 8), scale=1.0, bias=True)
    one("attention_decode",         (2, 6, 2, 1, 67, 8, 8), causal="lowerRight")


def norms():
    for columns, mean in ((33, 0.0), (257, 3.0)):
        x, gain, bias = random(5, columns, mean=mean), random(columns, scale=0.3, mean=1.0), random(columns)
        case(f"layer_norm_{columns}", "layer_norm", {"x": x, "gain": gain, "bias": bias},
             {"out": F.layer_norm(x, (columns,), gain, bias, eps=1e-5)}, eps=1e-5)
        case(f"rms_norm_{columns}", "rms_norm", {"x": x, "gain": gain},
             {"out": F.rms_norm(x, (columns,), gain, eps=1e-6)}, eps=1e-6)


def elementwise():
    x = torch.cat([random(200, scale=2), torch.linspace(-12, 12, 97), torch.tensor([0.0, 1e-8, -1e-8, 40, -40])]).float().double()
    case("gelu", "gelu", {"x": x}, {"out": F.gelu(x)}, form="erf")
    case("gelu_tanh", "gelu", {"x": x}, {"out": F.gelu(x, approximate="tanh")}, form="tanh")
    case("silu", "silu", {"x": x}, {"out": F.silu(x)})
    for scale in (1.0, 60.0):
        x = random(7, 131, scale=scale)
        case(f"softmax_{int(scale)}", "softmax", {"x": x}, {"out": x.softmax(-1)}, axis=-1)


def rope():
    """x [rows, heads, D] turned by positions[row] · base^(-2i/D); "adjacent" pairs (2i, 2i+1), "halves" (i, i + D/2)."""
    for pairs in ("adjacent", "halves"):
        for rotated in (16, 8):  # 8: the rest of the head passes unchanged
            x, positions = random(9, 3, 16), np.array([0, 1, 2, 3, 7, 31, 100, 1000, 8191], np.int32)
            angle = torch.tensor(positions).double()[:, None] * 10000.0 ** (-torch.arange(0, rotated, 2).double() / rotated)
            turn = torch.polar(torch.ones_like(angle), angle)[:, None]  # complex [rows, 1, rotated / 2]
            head = x[..., :rotated]
            if pairs == "halves":
                head = head.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
            head = torch.view_as_real(torch.view_as_complex(head.reshape(9, 3, -1, 2).contiguous()) * turn).flatten(-2)
            if pairs == "halves":
                head = head.unflatten(-1, (-1, 2)).transpose(-1, -2).flatten(-2)
            case(f"rope_{pairs}_{rotated}", "rope", {"x": x, "positions": positions},
                 {"out": torch.cat([head, x[..., rotated:]], -1)}, pairs=pairs, base=10000.0, rotated=rotated)


def worked():
    """Small examples whose numbers were printed elsewhere."""
    retrieval = {
        "about": "two queries over three keys; the scores overflow exp unless the largest is subtracted first",
        "k": [[51, 70], [56, 82], [58, 88]], "v": [[40, 155], [43, 159], [48, 162]], "q": [[57, 83], [55, 77]],
        "scores": [[8717, 9998, 10610], [8195, 9394, 9966]], "scales": [1.0, 1 / math.sqrt(2)], "out": [[48, 162], [48, 162]],
    }
    q, k, v = (torch.tensor(retrieval[n], dtype=torch.float64) for n in "qkv")
    assert (q @ k.T).tolist() == retrieval["scores"]
    assert torch.allclose((q @ k.T / math.sqrt(2)).softmax(-1) @ v, torch.tensor(retrieval["out"]).double())

    ids = [8, 6, 0, 2, 3, 5, 8, 4, 1]
    torch.manual_seed(123)
    x = torch.nn.Embedding(50000, 3)(torch.tensor(ids)).detach()
    wq, wk, wv = torch.rand(3, 2), torch.rand(3, 2), torch.rand(3, 4)
    out = ((x @ wq) @ (x @ wk).T / math.sqrt(2)).softmax(-1) @ (x @ wv)
    printed = torch.tensor([-0.0269, -0.0440, -0.0042, 0.0399])
    assert (out[0] - printed).abs().max() < 6e-5 and torch.equal(out[0], out[6]), out
    self_attention = {
        "about": "one head of self-attention over nine words, x = Embedding(50000, 3) and weights = rand, seed 123; "
                 "out = softmax(x Wq (x Wk)ᵀ / √2) x Wv; the first row was printed as -0.0269, -0.0440, -0.0042, 0.0399; "
                 "rows 0 and 6 are the same word",
        "ids": ids, "x": x.tolist(), "wq": wq.tolist(), "wk": wk.tolist(), "wv": wv.tolist(),
        "out": out.tolist(), "printedRow0": [-0.0269, -0.0440, -0.0042, 0.0399], "tolerance": 1e-4,
    }
    sinusoidal = {
        "about": "sinusoidal positions: sin, cos of pos / 10000^(2i/d), interleaved, d = 8",
        "dimensions": 8,
        "rows": {"1": [.841471, .540302, .099833, .995004, .01, .99995, .001, 1.0],
                 "2": [.909297, -.416147, .198669, .980067, .019999, .9998, .002, .999998]},
        "tolerance": 1e-6,
    }
    for position, row in sinusoidal["rows"].items():
        for i, value in enumerate(row):
            angle = int(position) / 10000 ** (i // 2 * 2 / 8)
            assert abs((math.cos if i % 2 else math.sin)(angle) - value) < 1e-6
    examples = {"retrieval": retrieval, "selfAttention": self_attention, "sinusoidalPositions": sinusoidal}
    (HERE / "worked.json").write_text(json.dumps(examples, indent=1, ensure_ascii=False) + "\n")


shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir()
attention()
norms()
elementwise()
rope()
worked()
(OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{len(cases)} cases")
