"""Makes attention/ (answers of PyTorch and of the layers of transformers for every kind of attention).

    python make_attention.py              (packages: requirements.txt; half a minute; same bytes every time)

attention/cases.json lists the cases: name, operation, parameters, and for each input and output the .npy file that holds it
(cases with the same array share a file). Arrays are f32 unless bool or int32. Inputs are exact in f32 (a layer's
weights are coarse, so that its projections are too); answers were computed in f64 and rounded once.

B batch, H heads of the query (a multiple of those of k and v), i a query, j a key, p = i + Lk - Lq the key a query is level with.
Every answer of a library was compared with the plain formula, which also gives what the library does not: the log-sum-exp
(natural, the sink included) and the weights.
"""

import json
import math
import shutil
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import AuxRequest, create_block_mask, flex_attention
from transformers import (BertConfig, BigBirdConfig, DebertaV2Config, DynamicCache, LongformerConfig, T5Config,
                          Wav2Vec2BertConfig, XLNetConfig)
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function
from transformers.models.bert.modeling_bert import BertSelfAttention
from transformers.models.big_bird.modeling_big_bird import BigBirdBlockSparseAttention, BigBirdModel
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention, build_relative_position
from transformers.models.gpt_oss.modeling_gpt_oss import eager_attention_forward
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention
from transformers.models.mpt.modeling_mpt import build_mpt_alibi_tensor
from transformers.models.t5.modeling_t5 import T5Attention
from transformers.models.wav2vec2_bert.modeling_wav2vec2_bert import Wav2Vec2BertSelfAttention
from transformers.models.xlnet.modeling_xlnet import XLNetRelativeAttention

HERE = Path(__file__).parent
OUT = HERE / "attention"
torch.set_num_threads(1)
torch.set_grad_enabled(False)
generator = torch.Generator().manual_seed(7)
cases, files_of = [], {}


# What the cases are made with

def random(*shape, scale=1.0):
    """f32 values, held in f64."""
    return (scale * torch.randn(*shape, generator=generator)).double()


def coarse(*shape, scale=1.0):
    """Multiples of 1/32, held in f64: sums of their products are exact in f32."""
    return (torch.randn(*shape, generator=generator) * scale * 32).round().double() / 32


def integers(low, high, *shape):
    return torch.randint(low, high + 1, shape, generator=generator).double()


def choices(*shape, probability=0.5):
    return torch.rand(*shape, generator=generator) < probability


@cache
def qkv(b, hq, hkv, lq, lk, d, dv=None):
    """The same for every case of one shape."""
    return random(b, hq, lq, d), random(b, hkv, lk, d), random(b, hkv, lk, dv or d)


def settled(layer):
    """The layer in f64 with coarse weights."""
    layer = layer.double().eval()
    for weight in layer.parameters():
        weight.copy_(coarse(*weight.shape, scale=0.25 if weight.dim() == 1 else weight.shape[-1] ** -0.5))
    return layer


def split(x, heads):
    """[B, L, H·D] as [B, H, L, D]."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merged(x):
    """[B, H, L, D] as [B, L, H·D]."""
    return x.transpose(1, 2).flatten(2)


@contextmanager
def in_f64():
    """Some layers compute their softmax in f32, whatever they are given; within this it stays f64."""
    softmax = F.softmax
    with mock.patch.object(F, "softmax", lambda x, dim, dtype=None: softmax(x, dim=dim)), \
            mock.patch.object(torch.Tensor, "float", torch.Tensor.double):
        yield


def grid(lq, lk):
    """i [Lq, 1], j [1, Lk], p = i + Lk - Lq."""
    i, j = torch.arange(lq)[:, None], torch.arange(lk)[None]
    return i, j, i + lk - lq


def dots(q, k, scale=None):
    k = k.repeat_interleave(q.shape[1] // k.shape[1], 1)
    return q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)


def attend(scores, v, takes_part=None, sinks=None, counts=None):
    """The plain formula: out, log-sum-exp and weights; a key counted c times weighs c times, a row without keys is 0."""
    if takes_part is not None:
        scores = scores.masked_fill(~takes_part, -math.inf)
    if counts is not None:
        scores = scores + counts.double().log()
    top = scores.amax(-1, keepdim=True)
    if sinks is not None:
        top = top.maximum(sinks[:, None, None])
    top = top.masked_fill(top == -math.inf, 0)
    weights = (scores - top).exp()
    total = weights.sum(-1, keepdim=True)
    if sinks is not None:
        total = total + (sinks[:, None, None] - top).exp()
    lse = (total.log() + top)[..., 0]
    weights = weights / total.masked_fill(total == 0, 1)
    return weights @ v.repeat_interleave(scores.shape[1] // v.shape[1], 1), lse, weights


def agree(name, library, plain):
    assert library.shape == plain.shape and library.dtype == plain.dtype == torch.float64, name
    assert (library - plain).abs().max() <= 1e-12 * max(1, plain.abs().max()), (name, (library - plain).abs().max())


def case(name, inputs, outputs, **parameters):
    def files(arrays, exact):
        names = {}
        for key, array in arrays.items():
            if isinstance(array, torch.Tensor):
                # The log-sum-exp of a row without keys is -inf, and so is a bias that masks.
                finite = torch.isfinite(array) | ((array == -math.inf) if key in ("lse", "bias") else False)
                assert finite.all(), (name, key)
                if array.dtype == torch.float64:
                    assert not exact or torch.equal(array.float().double(), array), (name, key)
                    array = array.float()
                array = array.numpy()
            assert array.dtype in (np.float32, np.int32, np.bool_), (name, key, array.dtype)
            array = np.ascontiguousarray(array)
            same = array.dtype, array.shape, array.tobytes()
            if same not in files_of:
                files_of[same] = f"{name}.{key}.npy"
                np.save(OUT / files_of[same], array)
            names[key] = files_of[same]
        return names

    assert name not in [c["name"] for c in cases], name
    cases.append({"name": name, "operation": "attention", "parameters": parameters,
                  "inputs": files(inputs, exact=True), "outputs": files(outputs, exact=False)})


# PyTorch

def sdpa():
    """scaled_dot_product_attention: masks (true takes part), biases, grouped heads, both ways of Lq ≠ Lk."""
    def one(name, shape, mask=None, bias=None, attn_mask=None, takes_part=None, weights=False, given=None, **parameters):
        q, k, v = given or qkv(*shape)
        inputs = {"q": q, "k": k, "v": v} | {n: x for n, x in (("mask", mask), ("bias", bias)) if x is not None}
        attn_mask = mask if mask is not None else bias if bias is not None else attn_mask
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask, enable_gqa=True,
                                             scale=parameters.get("scale"))
        scores = dots(q, k, parameters.get("scale")) + (bias if bias is not None else 0)
        plain, lse, probabilities = attend(scores, v, takes_part if takes_part is not None else mask)
        agree(name, out, plain)
        case(name, inputs, {"out": out, "lse": lse} | ({"weights": probabilities} if weights else {}), **parameters)
        return out, lse

    #                              B Hq Hkv Lq Lk D Dv
    one("sdpa_mask",               (2, 2, 2, 37, 70, 4), mask=choices(2, 2, 37, 70))
    one("sdpa_mask_over_heads",    (2, 2, 2, 37, 33, 4), mask=choices(2, 1, 37, 33))
    one("sdpa_mask_over_batch",    (2, 2, 2, 33, 37, 4), mask=choices(1, 2, 33, 37))
    one("sdpa_mask_over_queries",  (2, 2, 2, 37, 70, 4), mask=choices(2, 2, 1, 70))
    one("sdpa_mask_of_keys",       (2, 2, 2, 37, 70, 4), mask=choices(1, 1, 1, 70))
    one("sdpa_mask_two_axes",      (1, 4, 2, 17, 33, 4), mask=choices(17, 33), weights=True)
    one("sdpa_bias_over_heads",    (2, 2, 2, 33, 37, 4), bias=random(2, 1, 33, 37))
    one("sdpa_bias_over_batch",    (2, 2, 1, 33, 37, 4), bias=random(1, 2, 33, 37))
    one("sdpa_bias_over_queries",  (2, 2, 2, 37, 70, 4), bias=random(1, 2, 1, 70))
    one("sdpa_bias_infinite",      (2, 2, 2, 37, 33, 4),
        bias=random(1, 2, 37, 33).masked_fill(choices(1, 2, 37, 33, probability=0.3), -math.inf))

    mask = choices(1, 1, 37, 70)
    mask[..., [0, 15, 16, 36], :] = False
    out, lse = one("sdpa_mask_rows", (1, 4, 2, 37, 70, 4), mask=mask)
    assert (out[:, :, 15] == 0).all() and (lse[:, :, 15] == -math.inf).all() and torch.isfinite(lse[:, :, 14]).all()

    one("sdpa_value_wider",        (1, 2, 2, 37, 33, 5, 16))
    one("sdpa_value_narrower",     (1, 2, 2, 21, 70, 16, 3))
    for lq, lk in ((37, 70), (70, 37)):  # with more queries than keys the first 33 rows see nothing
        i, j, p = grid(lq, lk)
        out, lse = one(f"sdpa_lower_right_{lq}_{lk}", (1, 4, 2, lq, lk, 4), attn_mask=causal_lower_right(lq, lk),
                       takes_part=j <= p, causal="lowerRight")
        assert (lse == -math.inf).any() == (lq > lk)

    # Scores past 10⁴ that are integers and so exact in f32; keys come in pairs that differ by 1 in one place,
    # so that the winner shares its row with a neighbour.
    q, k, v = integers(-200, 200, 1, 2, 37, 16), integers(-200, 200, 1, 2, 70, 16), random(1, 2, 70, 16)
    q[..., 0] = integers(-8, 8, 1, 2, 37)
    k[..., 1::2, :] = k[..., 0::2, :]
    k[..., 1::2, 0] += 1
    assert dots(q, k).abs().max() > 1e4
    out, lse = one("sdpa_large", None, given=(q, k, v))
    one("sdpa_large_unscaled", None, given=(q, k, v), scale=1.0)


def flex():
    """flex_attention: scores and masks as functions of (b, h, i, j), in the order scale, softcap, positions, masks."""
    def one(name, shape, score_mod=None, mask_mod=None, inputs={}, scale=None, **parameters):
        q, k, v = qkv(*shape)
        b, hq, lq, lk = shape[0], shape[1], shape[3], shape[4]
        block_mask = mask_mod and create_block_mask(mask_mod, b, hq, lq, lk, device="cpu")
        out, aux = flex_attention(q, k, v, score_mod=score_mod, block_mask=block_mask, scale=scale, enable_gqa=True,
                                  return_aux=AuxRequest(lse=True))
        i, j, _ = grid(lq, lk)
        at = torch.arange(b)[:, None, None, None], torch.arange(hq)[:, None, None], i, j
        scores = dots(q, k, scale)
        takes_part = mask_mod and mask_mod(*at).expand(scores.shape)
        plain, lse, _ = attend(score_mod(scores, *at) if score_mod else scores, v, takes_part)
        agree(name, out, plain)
        agree(name, aux.lse.exp(), lse.exp())
        if scale is not None:
            parameters["scale"] = scale
        case(name, {"q": q, "k": k, "v": v} | inputs, {"out": out, "lse": aux.lse}, **parameters)
        return aux.lse

    def default_slopes(heads):
        slopes = build_alibi_tensor(torch.ones(1, 2, dtype=torch.int64), heads, torch.float64)[:, 0, 1]
        assert torch.allclose(slopes, -build_mpt_alibi_tensor(heads, 2)[:, 0, 0].double(), rtol=1e-6)
        exact = 2 ** ((2 * slopes.log2()).round() / 2)  # theirs are f32; with up to 15 heads all are powers of √2
        assert torch.allclose(slopes, exact, rtol=1e-6)
        return exact

    def alibi(slopes, lq, lk):
        return lambda score, b, h, i, j: score - slopes[h] * (i + lk - lq - j).abs()

    def window(left, right, lq, lk):
        def keeps(b, h, i, j):
            p = i + lk - lq
            return (True if left < 0 else j >= p - left) & ((j <= p + right) if right >= 0 else True)
        return keeps

    def both(*masks):
        def keeps(b, h, i, j):
            result = masks[0](b, h, i, j)
            for mask in masks[1:]:
                result = result & mask(b, h, i, j)
            return result
        return keeps

    def causal(lq, lk):
        return lambda b, h, i, j: j <= i + lk - lq

    def softcap(cap, then=lambda score, b, h, i, j: score):
        return lambda score, b, h, i, j: then(cap * (score / cap).tanh(), b, h, i, j)

    # ALiBi
    for heads in (4, 6):
        one(f"flex_alibi_{heads}_heads", (1, heads, 2, 37, 37, 4), alibi(default_slopes(heads), 37, 37), alibi="default")
    one("flex_alibi_cross", (1, 4, 4, 21, 70, 4), alibi(default_slopes(4), 21, 70), causal(21, 70),
        alibi="default", causal="lowerRight")
    one("flex_alibi_12_heads", (1, 12, 1, 17, 33, 4), alibi(default_slopes(12), 17, 33), alibi="default")
    slopes = random(3, scale=0.2).abs()
    one("flex_alibi_slopes", (1, 3, 1, 37, 33, 4), alibi(slopes, 37, 33), inputs={"slopes": slopes})

    # A table by j - i, clipped, in which p has no say
    table = random(4, 41)
    one("flex_relative", (1, 4, 2, 37, 70, 4), lambda score, b, h, i, j: score + table[h, (j - i).clip(-20, 20) + 20],
        inputs={"relative": table}, relativeRadius=20)

    # Softcap, with scores well past it
    one("flex_softcap", (1, 2, 1, 37, 70, 8), softcap(2.5), softcap=2.5, scale=1.5)

    # Windows
    one("flex_window_both_sides", (1, 2, 2, 37, 70, 4), mask_mod=window(9, 4, 37, 70), window=[9, 4])
    lse = one("flex_window_more_queries", (1, 2, 2, 70, 37, 4), mask_mod=window(6, 17, 70, 37), window=[6, 17])
    assert (lse == -math.inf).any()
    one("flex_window_left", (1, 2, 2, 37, 70, 4), mask_mod=window(33, -1, 37, 70), window=[33, -1])
    one("flex_window_right", (1, 2, 2, 37, 70, 4), mask_mod=window(-1, 2, 37, 70), window=[-1, 2])
    one("flex_window_upper_left", (1, 2, 2, 37, 70, 4), causal="upperLeft", window=[40, 3],  # the window keeps its corner
        mask_mod=both(window(40, 3, 37, 70), lambda b, h, i, j: j <= i))
    lengths = torch.tensor([70, 33, 1], dtype=torch.int32)
    lse = one("flex_window_lengths", (3, 2, 1, 37, 70, 4), inputs={"lengths": lengths}, causal="lowerRight", window=[15, -1],
              mask_mod=both(window(15, 0, 37, 70), lambda b, h, i, j: j < lengths[b]))
    assert (lse[2] == -math.inf).all() and torch.isfinite(lse[0]).all()

    # Dilated windows: the multiples of k of the distance to p
    def dilated(k, lq, lk):
        return lambda b, h, i, j: (j - (i + lk - lq)) % k == 0

    one("flex_dilated_window", (1, 2, 2, 37, 70, 4), mask_mod=both(window(18, 7, 37, 70), dilated(3, 37, 70)),
        window=[18, 7], dilation=3)
    one("flex_atrous", (1, 2, 2, 37, 70, 4), mask_mod=both(causal(37, 70), dilated(16, 37, 70)),
        causal="lowerRight", dilation=16)

    # Global tokens: keys that all see, queries that see all; causality still binds them
    ids = torch.zeros(70, dtype=torch.bool)
    ids[[0, 40, 69]] = True

    def with_global(mask, lq, lk):
        return lambda b, h, i, j: mask(b, h, i, j) | ids[j] | ids[i + lk - lq]

    one("flex_global", (1, 2, 2, 37, 70, 4), mask_mod=with_global(window(5, 5, 37, 70), 37, 70),
        window=[5, 5], **{"global": [0, 40, 69]})
    one("flex_global_dilated_causal", (1, 2, 2, 37, 70, 4), causal="lowerRight", window=[20, 0], dilation=4,
        mask_mod=both(with_global(both(window(20, 0, 37, 70), dilated(4, 37, 70)), 37, 70), causal(37, 70)),
        **{"global": [0, 40, 69]})

    # Block masks at 16; the second has a row of blocks without any
    documents = torch.tensor([0, 0, 1])[:, None] == torch.tensor([0, 0, 1, 1, 1])[None]
    sparse = torch.tensor([[1, 0, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 1]]).bool()

    def blocks(table):
        return lambda b, h, i, j: table[i // 16, j // 16]

    one("flex_block_mask", (1, 2, 2, 37, 70, 4), mask_mod=blocks(documents), inputs={"blockMask": documents}, block=16)
    lse = one("flex_block_mask_causal", (1, 2, 2, 37, 70, 4), mask_mod=both(blocks(sparse), causal(37, 70)),
              inputs={"blockMask": sparse}, block=16, causal="lowerRight")
    assert (lse[..., 16:32] == -math.inf).all() and torch.isfinite(lse[..., :16]).all()

    # Together
    one("flex_softcap_alibi_window", (1, 4, 2, 37, 70, 4), softcap(1.5, alibi(default_slopes(4), 37, 70)),
        window(25, 3, 37, 70), softcap=1.5, alibi="default", window=[25, 3])

    # A user's own
    def leaning(score, b, h, i, j):
        return score + 0.25 * (i - j) * torch.where((h & 1) != 0, 1.0, -1.0)

    def fifths(b, h, i, j):
        return ((i * 7 + j * 3 + b) % 5) != 0

    score_text = "score + 0.25f * (float)(i - j) * ((h & 1) ? 1.0f : -1.0f)"
    mask_text = "((i * 7 + j * 3 + b) % 5) != 0"
    one("flex_score_mod", (1, 4, 2, 37, 70, 4), leaning, scoreMod=score_text)
    one("flex_mask_mod", (2, 2, 2, 37, 70, 4), mask_mod=fifths, maskMod=mask_text)
    one("flex_both_mods", (2, 2, 1, 37, 70, 4), softcap(3.0, leaning), both(fifths, causal(37, 70)),
        scoreMod=score_text, maskMod=mask_text, softcap=3.0, causal="lowerRight")


# transformers

def sinks():
    """gpt-oss: a sink adds exp(sink) to its head's denominator; its window w is the keys p - w + 1 ... p."""
    def one(name, shape, keeps, **parameters):
        (q, k, v), sink = qkv(*shape), random(shape[1])
        i, j, p = grid(shape[3], shape[4])
        takes_part = keeps(0, 0, p, j)
        mask = torch.zeros(1, 1, *takes_part.shape, dtype=torch.float64).masked_fill(~takes_part, -math.inf)
        layer = SimpleNamespace(sinks=sink, num_key_value_groups=shape[1] // shape[2], training=False)
        out, weights = eager_attention_forward(layer, q, k, v, mask, scaling=shape[5] ** -0.5)
        plain, lse, plain_weights = attend(dots(q, k), v, takes_part, sinks=sink)
        agree(name, out.transpose(1, 2), plain)
        agree(name, weights, plain_weights)
        case(name, {"q": q, "k": k, "v": v, "sinks": sink}, {"out": out.transpose(1, 2), "lse": lse}, **parameters)
        return plain, lse, sink

    one("gpt_oss_sinks", (1, 4, 2, 37, 70, 4), causal_mask_function, causal="lowerRight")
    one("gpt_oss_sinks_window", (1, 4, 2, 37, 70, 4), sliding_window_causal_mask_function(16),
        causal="lowerRight", window=[15, 0])
    # A row without keys has the sink alone in its denominator: 0, and the log-sum-exp is the sink.
    out, lse, sink = one("gpt_oss_sinks_masked_rows", (1, 2, 1, 37, 20, 4), causal_mask_function, causal="lowerRight")
    assert (out[:, :, :17] == 0).all() and torch.equal(lse[0, :, 0], sink)


def t5():
    """T5: unscaled, with a bias by the bucket of j - i, the same for all distances past maxDistance, and so a table."""
    heads, buckets, radius, l = 2, 16, 32, 45
    for name, bidirectional in (("t5_bidirectional", True), ("t5_unidirectional", False)):
        config = T5Config(d_model=16, d_kv=8, num_heads=heads, relative_attention_num_buckets=buckets, dropout_rate=0.0,
                          relative_attention_max_distance=radius, is_decoder=not bidirectional)
        layer = settled(T5Attention(config, has_relative_attention_bias=True, layer_idx=0))
        layer.o = torch.nn.Identity()
        x = coarse(1, l, 16)
        q, k, v = (split(projection(x), heads) for projection in (layer.q, layer.k, layer.v))
        i, j, _ = grid(l, l)
        takes_part = None if bidirectional else j <= i
        bias = layer.compute_bias(l, l)
        mask = 0 if bidirectional else torch.zeros(l, l).masked_fill(~takes_part, -math.inf).double()
        with in_f64():
            out, _, weights = layer(x, position_bias=bias + mask, output_attentions=True)
        bucket = T5Attention._relative_position_bucket(torch.arange(-radius, radius + 1), bidirectional, buckets, radius)
        relative = layer.relative_attention_bias(bucket).T
        plain, lse, _ = attend(dots(q, k, 1.0) + relative[:, (j - i).clip(-radius, radius) + radius], v, takes_part)
        agree(name, split(out, heads), plain)
        case(name, {"q": q, "k": k, "v": v, "relative": relative, "t5": layer.relative_attention_bias.weight.data},
             {"out": split(out, heads), "lse": lse} | ({"weights": weights} if bidirectional else {}), scale=1.0,
             t5Buckets=buckets, t5MaxDistance=radius, bidirectional=bidirectional, relativeRadius=radius,
             **({} if bidirectional else {"causal": "upperLeft"}))


def transformer_xl():
    """XLNet's core of Transformer-XL, with Lk - Lq keys of memory before those of the queries:
    ((q + contentBias)·k + (q + positionBias)·relativeKeys[j - p]) / √D."""
    def one(name, lq, lk, radius, causal):
        b, heads, d = 1, 2, 8
        layer = settled(XLNetRelativeAttention(XLNetConfig(d_model=heads * d, n_head=heads, dropout=0.0)))
        (q, k, v), table = qkv(b, heads, heads, lq, lk, d), random(heads, 2 * radius + 1, d)
        # The layer wants one row t for each distance p - j = Lk ... 1 - Lq, so row t of k_head_r is our row for
        # j - p = t - Lk, which is t - Lk + R, clipped as its clamp_len does.
        t = (torch.arange(lk + lq) - lk).clip(-radius, radius) + radius
        k_head_r = table[:, t].permute(1, 0, 2)[:, None].expand(-1, b, -1, -1)
        i, j, p = grid(lq, lk)
        takes_part = j <= p if causal else None
        mask = (~takes_part).double()[:, :, None, None].expand(-1, -1, b, heads) if causal else None
        heads_inside = [x.permute(2, 0, 1, 3) for x in (q, k, v)]  # [L, B, H, D]
        out = layer.rel_attn_core(*heads_inside, k_head_r, attn_mask=mask).permute(1, 2, 0, 3)
        u, w = layer.r_w_bias.data, layer.r_r_bias.data
        rows = table[:, (j - p).clip(-radius, radius) + radius]  # [H, Lq, Lk, D]
        scores = ((q + u[:, None]) @ k.mT + torch.einsum("bhid,hijd->bhij", q + w[:, None], rows)) * d ** -0.5
        plain, lse, _ = attend(scores, v, takes_part)
        agree(name, out, plain)
        case(name, {"q": q, "k": k, "v": v, "contentBias": u, "positionBias": w, "relativeKeys": table},
             {"out": out, "lse": lse}, relativeRadius=radius, **({"causal": "lowerRight"} if causal else {}))

    one("xlnet_memory", 21, 37, radius=36, causal=False)
    one("xlnet_memory_causal", 21, 37, radius=36, causal=True)
    one("xlnet_clipped", 21, 70, radius=18, causal=False)


def shaw():
    """Relative representations of keys (q·(k + relativeKeys[j - p])) in two layers, and of values on top of their weights."""
    heads, d, l, radius = 2, 8, 37, 12

    # Wav2Vec2-BERT clips the distance as Shaw does; its row is j - i + R.
    config = Wav2Vec2BertConfig(hidden_size=heads * d, num_attention_heads=heads, position_embeddings_type="relative_key",
                                left_max_position_embeddings=radius, right_max_position_embeddings=radius,
                                attention_dropout=0.0)
    layer = settled(Wav2Vec2BertSelfAttention(config))
    layer.linear_out = torch.nn.Identity()
    x = coarse(1, l, heads * d)
    q, k, v = (split(projection(x), heads) for projection in (layer.linear_q, layer.linear_k, layer.linear_v))
    out, weights = layer(x)
    out, table = split(out, heads), layer.distance_embedding.weight.data
    i, j, p = grid(l, l)
    row = (j - p).clip(-radius, radius) + radius
    plain, lse, plain_weights = attend(dots(q, k) + torch.einsum("bhid,ijd->bhij", q, table[row]) * d ** -0.5, v)
    agree("shaw", out, plain)
    agree("shaw", weights, plain_weights)
    inputs = {"q": q, "k": k, "v": v, "relativeKeys": table[None]}
    case("shaw_keys", inputs, {"out": out, "lse": lse}, relativeRadius=radius)

    # No layer of transformers has the value term, so this is its formula: Σ_j a_ij (v_j + relativeValues[j - i]).
    values = random(2 * radius + 1, d)
    out = torch.einsum("bhij,bhijd->bhid", weights, v[:, :, None] + values[row])
    agree("shaw", out, plain + torch.einsum("bhij,ijd->bhid", plain_weights, values[row]))
    case("shaw_keys_values", inputs | {"relativeValues": values[None]}, {"out": out, "lse": lse}, relativeRadius=radius)
    plain, lse, weights = attend(dots(q, k), v, j <= p)
    out = torch.einsum("bhij,bhijd->bhid", weights, v[:, :, None] + values[row])
    agree("shaw", out, plain + torch.einsum("bhij,ijd->bhid", weights, values[row]))
    case("shaw_values_causal", {"q": q, "k": k, "v": v, "relativeValues": values[None]}, {"out": out, "lse": lse},
         relativeRadius=radius, causal="lowerRight")

    # BERT's relative_key with a cache: one new query at p = Lk - 1; its row is p - j + R, ours turned round.
    lk, radius = 41, 47
    config = BertConfig(hidden_size=heads * d, num_attention_heads=heads, position_embedding_type="relative_key",
                        max_position_embeddings=radius + 1, attention_probs_dropout_prob=0.0, is_decoder=True)
    layer, cache = settled(BertSelfAttention(config, layer_idx=0)), DynamicCache()
    x = coarse(2, lk, heads * d)
    q, k, v = (split(projection(x), heads) for projection in (layer.query, layer.key, layer.value))
    cache.update(k[:, :, :-1], v[:, :, :-1], 0)
    out, weights = layer(x[:, -1:], past_key_values=cache)
    out, q, table = split(out, heads), q[:, :, -1:], layer.distance_embedding.weight.data.flip(0)
    i, j, p = grid(1, lk)
    plain, lse, _ = attend(dots(q, k) + torch.einsum("bhid,ijd->bhij", q, table[j - p + radius]) * d ** -0.5, v)
    agree("shaw_decode", out, plain)
    case("shaw_keys_decode", {"q": q, "k": k, "v": v, "relativeKeys": table[None]}, {"out": out, "lse": lse},
         relativeRadius=radius)


def deberta():
    """DeBERTa: (q_i·k_j + q_i·relativeKeys[j - i] + k_j·relativeQueries[j - i]) / √(3D)."""
    heads, d, l = 2, 12, 37  # √(3·12) = 6: the layer takes this root in f32

    def one(name, span, buckets, radius):
        config = DebertaV2Config(hidden_size=heads * d, num_attention_heads=heads, relative_attention=True,
                                 pos_att_type=["c2p", "p2c"], max_relative_positions=span, position_buckets=buckets,
                                 attention_probs_dropout_prob=0.0, hidden_dropout_prob=0.0)
        layer = settled(DisentangledSelfAttention(config))
        size = buckets if buckets > 0 else span
        x, embeddings = coarse(1, l, heads * d), coarse(2 * size, heads * d)
        q, k, v = (split(projection(x), heads) for projection in (layer.query_proj, layer.key_proj, layer.value_proj))
        out, weights = layer(x, torch.ones(1, 1, l, l), output_attentions=True, rel_embeddings=embeddings)
        # The layer takes row clamp(bucket(i - j) + size) of both projections of the embeddings, for j - i = r - R;
        # bucket is the identity without buckets.
        distances = torch.arange(-radius, radius + 1)
        most = torch.empty(radius + 1, 1)
        bucket = build_relative_position(most, most, buckets, span)[0][(-distances).clip(0), distances.clip(0)]
        rows = embeddings[(bucket + size).clip(0, 2 * size - 1)]
        keys, queries = (split(projection(rows)[None], heads)[0] for projection in (layer.pos_key_proj, layer.pos_query_proj))
        i, j, _ = grid(l, l)
        at = (j - i).clip(-radius, radius) + radius
        scores = (q @ k.mT + torch.einsum("bhid,hijd->bhij", q, keys[:, at])
                  + torch.einsum("bhjd,hijd->bhij", k, queries[:, at])) / 6
        plain, lse, plain_weights = attend(scores, v)
        agree(name, split(out, heads), plain)
        agree(name, weights, plain_weights)
        case(name, {"q": q, "k": k, "v": v, "relativeKeys": keys, "relativeQueries": queries},
             {"out": split(out, heads), "lse": lse}, scale=1 / 6, relativeRadius=radius)

    one("deberta", span=16, buckets=-1, radius=16)
    one("deberta_buckets", span=32, buckets=8, radius=36)


def longformer():
    """Longformer: half the window on each side; a global token is seen by all and sees all."""
    heads, d, l, window = 2, 8, 48, 16

    def one(name, ids):
        config = LongformerConfig(hidden_size=heads * d, num_attention_heads=heads, attention_window=[window],
                                  attention_probs_dropout_prob=0.0)
        layer = settled(LongformerSelfAttention(config, 0))
        for projection in ("query", "key", "value"):  # it has projections of its own for global tokens: the same ones here
            getattr(layer, projection + "_global").load_state_dict(getattr(layer, projection).state_dict())
        x = coarse(1, l, heads * d)
        q, k, v = (split(projection(x), heads) for projection in (layer.query, layer.key, layer.value))
        is_global = torch.zeros(1, l, dtype=torch.bool)
        is_global[:, ids] = True
        with in_f64():
            out, = layer(x, is_global.double() * 10000, is_index_masked=torch.zeros(1, l, dtype=torch.bool),
                         is_index_global_attn=is_global, is_global_attn=bool(ids))
        i, j, _ = grid(l, l)
        plain, lse, _ = attend(dots(q, k), v, ((i - j).abs() <= window // 2) | is_global[0, i] | is_global[0, j])
        agree(name, split(out, heads), plain)
        case(name, {"q": q, "k": k, "v": v}, {"out": split(out, heads), "lse": lse}, window=[window // 2] * 2,
             **({"global": ids} if ids else {}))

    one("longformer", [])
    one("longformer_global", [0, 21, 47])


def big_bird():
    """BigBird: first and last blocks, three blocks of window and random ones; blockCounts says how often a block is listed."""
    def one(name, heads, d, block, l, random_blocks, seed=None):
        config = BigBirdConfig(hidden_size=heads * d, num_attention_heads=heads, block_size=block,
                               num_random_blocks=random_blocks, max_position_embeddings=l)
        layer = settled(BigBirdBlockSparseAttention(config, seed=seed))
        layer.train(seed is not None)
        x = coarse(1, l, heads * d)
        q, k, v = (split(projection(x), heads) for projection in (layer.query, layer.key, layer.value))
        blocked, band, from_mask, to_mask = BigBirdModel.create_masks_for_block_sparse_attn(torch.ones(1, l).double(), block)
        out, _ = layer(x, band, from_mask, to_mask, blocked, blocked)

        # Its random blocks are chosen for each head; without a seed (outside training) they are all block 0, which then
        # counts again as often as it is listed.
        np.random.seed(seed)
        length, number = layer._get_rand_attn_plan(l, block, random_blocks)
        chosen = layer._bigbird_block_rand_mask_with_head(l, l, block, block, heads, length, number)
        assert all((c == chosen[0]).all() for c in chosen)
        blocks = l // block
        counts = np.zeros((blocks, blocks), np.int32)
        counts[[0, -1], :] = 1
        counts[:, [0, -1]] = 1
        for row in range(1, blocks - 1):
            counts[row, row - 1:row + 2] = 1
            np.add.at(counts[row], chosen[0][row - 1], 1)
        times = torch.tensor(counts).repeat_interleave(block, 0).repeat_interleave(block, 1)
        plain, lse, _ = attend(dots(q, k), v, counts=times)
        agree(name, split(out, heads), plain)
        case(name, {"q": q, "k": k, "v": v, "blockCounts": counts}, {"out": split(out, heads), "lse": lse}, block=block)
        return counts

    assert one("big_bird_4", heads=1, d=8, block=4, l=48, random_blocks=2, seed=5).max() == 1
    assert one("big_bird_16", heads=1, d=8, block=16, l=128, random_blocks=1, seed=11).max() == 1
    assert one("big_bird_twice", heads=2, d=8, block=4, l=48, random_blocks=2).max() == 3


# Formulas of the literature

def kinds():
    """Other scores than scaled dots; none of them is scaled unless the case says so."""
    # Gaussian: -½|q - k|². From a waist of 57 a weight, by three neighbours.
    q, k, v = (torch.tensor(x).double().reshape(1, 1, -1, 1) for x in ([57], [51, 56, 58], [40, 43, 48]))
    out, lse, weights = attend(-0.5 * (q - k.mT) ** 2, v)
    assert abs(out.item() - 45.49999993) < 5e-9 and abs(weights[0, 0, 0, 0].item() - 1.2555e-8) < 1e-12
    case("gaussian_waist", {"q": q, "k": k, "v": v}, {"out": out, "lse": lse, "weights": weights}, kind="gaussian")
    i, j, p = grid(37, 70)
    for name, takes_part, parameters in (("gaussian_plane", None, {}), ("gaussian_causal", j <= p, {"causal": "lowerRight"})):
        q, k, v = qkv(1, 2, 1, 37, 70, 2, 4)
        out, lse, _ = attend(-0.5 * torch.cdist(q, k, compute_mode="donot_use_mm_for_euclid_dist") ** 2, v, takes_part)
        bias = (-0.5 * (k ** 2).sum(-1))[:, :, None].expand(-1, -1, 37, -1)
        bias = bias if takes_part is None else bias.masked_fill(~takes_part, -math.inf)
        agree(name, F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0, enable_gqa=True), out)
        case(name, {"q": q, "k": k, "v": v}, {"out": out, "lse": lse}, kind="gaussian", **parameters)

    # Additive: wᵀ tanh(Wq q + Wk k)
    q, k, v = qkv(2, 2, 2, 21, 70, 6, 4)
    wq, wk, w = random(6, 10, scale=0.4), random(6, 10, scale=0.4), random(10)
    scores = torch.einsum("bhijm,m->bhij", ((q @ wq)[:, :, :, None] + (k @ wk)[:, :, None]).tanh(), w)
    one_pair = torch.dot(torch.tanh(wq.T @ q[1, 1, 3] + wk.T @ k[1, 1, 60]), w)
    assert abs(scores[1, 1, 3, 60] - one_pair) < 1e-12
    inputs = {"q": q, "k": k, "v": v, "queryWeight": wq, "keyWeight": wk, "scoreWeight": w}
    for name, lengths in (("additive", None), ("additive_lengths", torch.tensor([70, 33], dtype=torch.int32))):
        takes_part = None if lengths is None else torch.arange(70) < lengths[:, None, None, None]
        out, lse, _ = attend(scores, v, takes_part)
        nothing, mask = torch.zeros_like(q), scores if lengths is None else scores.masked_fill(~takes_part, -math.inf)
        agree(name, F.scaled_dot_product_attention(nothing, torch.zeros_like(k), v, attn_mask=mask), out)
        case(name, inputs | ({} if lengths is None else {"lengths": lengths}), {"out": out, "lse": lse}, kind="additive")

    # General: qᵀ W k
    q, k, v = random(1, 4, 37, 6), random(1, 2, 70, 4), random(1, 2, 70, 4)
    matrix = random(6, 4, scale=0.4)
    every_k = k.repeat_interleave(2, 1)
    pairs = [x.expand(-1, -1, 37, 70, -1).contiguous() for x in (q[:, :, :, None], every_k[:, :, None])]
    out, lse, _ = attend(F.bilinear(*pairs, matrix[None])[..., 0], v)
    agree("general", F.scaled_dot_product_attention(q @ matrix, k, v, scale=1.0, enable_gqa=True), out)
    case("general", {"q": q, "k": k, "v": v, "scoreMatrix": matrix}, {"out": out, "lse": lse}, kind="general")

    # Dots that overflow exp unless the largest is subtracted first
    q, k, v = (torch.tensor(x).double()[None, None] for x in (
        [[57, 83], [55, 77]], [[51, 70], [56, 82], [58, 88]], [[40, 155], [43, 159], [48, 162]]))
    assert (q @ k.mT).tolist() == [[[[8717, 9998, 10610], [8195, 9394, 9966]]]]
    for kind, scale in (("dot", 1.0), ("scaled", 2 ** -0.5)):
        out, lse, _ = attend(dots(q, k, scale), v)
        agree(kind, F.scaled_dot_product_attention(q, k, v, scale=scale), out)
        assert (out - torch.tensor([48, 162])).abs().max() < 1e-12
        case(f"overflow_{kind}", {"q": q, "k": k, "v": v}, {"out": out, "lse": lse}, kind=kind)


def local_about_centers():
    """Luong's local-p: softmax over |j - c| ≤ radius about a predicted center c, then, if it is Gaussian, times
    exp(-(j - c)² / 2σ²), σ = radius / 2; the log-sum-exp is that of the softmax."""
    lq, lk = 37, 70
    centers = integers(0, 8 * (lk - 1), 2, 1, lq) / 8
    centers[..., :4] = torch.tensor([0, 16, 31.5, 69])  # whole ones: the key at the edge takes part
    j = torch.arange(lk).double()
    for name, radius, gaussian in (("luong_fixed", 5.0, False), ("luong_gaussian", 5.0, True),
                                   ("luong_gaussian_wide", 12.5, True)):
        q, k, v = qkv(2, 2, 2, lq, lk, 4)
        distance = (j - centers[..., None]).expand(2, 2, lq, lk)
        takes_part = distance.abs() <= radius
        assert takes_part.any(-1).all()
        plain, lse, weights = attend(dots(q, k), v, takes_part)
        agree(name, F.scaled_dot_product_attention(q, k, v, attn_mask=takes_part), plain)
        if gaussian:
            weights = weights * torch.exp(-distance ** 2 / (2 * (radius / 2) ** 2))
            assert (weights.sum(-1) < 1).all()  # not normalised again
        case(name, {"q": q, "k": k, "v": v, "centers": centers},
             {"out": weights @ v, "lse": lse}, radius=radius, gaussian=gaussian)


def longnet():
    """LongNet: for each (segment w, dilation r), head h attends among the positions of a segment with (i mod w) mod r = h mod r;
    the answers are mixed by their softmax denominators, and a row of no pair is 0."""
    def one(name, heads, l, segments, causal):
        q, k, v = qkv(1, heads, heads, l, l, 4)
        outs = torch.zeros(len(segments), *v.shape, dtype=torch.float64)
        denominators = torch.full((len(segments), 1, heads, l), -math.inf, dtype=torch.float64)  # their logarithms
        counts = torch.zeros(heads, l, l)
        for pair, (w, r) in enumerate(segments):
            for h in range(heads):
                for start in range(0, l, w):
                    at = torch.arange(start, min(start + w, l))
                    at = at[(at % w) % r == h % r]
                    if len(at):
                        of_head = [x[:, h:h + 1, at] for x in (q, k, v)]
                        outs[pair, :, h:h + 1, at] = F.scaled_dot_product_attention(*of_head, is_causal=causal)
                        mask = torch.ones(len(at), len(at)).tril() if causal else torch.ones(len(at), len(at))
                        scores = dots(*of_head[:2]).masked_fill(mask == 0, -math.inf)
                        denominators[pair, :, h:h + 1, at] = scores.logsumexp(-1)
                        counts[h, at[:, None], at] += mask
        lse = denominators.logsumexp(0)
        shares = (denominators - lse.masked_fill(lse == -math.inf, 0)).exp()
        out = (shares[..., None] * outs).sum(0)
        # The same as one softmax in which a pair of positions counts as often as it is selected.
        plain, plain_lse, _ = attend(dots(q, k), v, counts=counts)
        agree(name, out, plain)
        agree(name, lse.exp(), plain_lse.exp())
        case(name, {"q": q, "k": k, "v": v}, {"out": out, "lse": lse}, segments=segments,
             **({"causal": "upperLeft"} if causal else {}))
        return lse

    assert torch.isfinite(one("longnet", 4, 64, [[8, 1], [16, 2], [64, 4]], causal=False)).all()
    assert torch.isfinite(one("longnet_causal", 4, 50, [[8, 1], [32, 3]], causal=True)).all()
    assert (one("longnet_unselected", 2, 40, [[8, 2], [20, 4]], causal=False) == -math.inf).any()


warnings.filterwarnings("ignore", message=".*(flex_attention called without|Lower right causal bias).*")
shutil.rmtree(OUT, ignore_errors=True)
OUT.mkdir()
for section in (sdpa, flex, sinks, t5, transformer_xl, shaw, deberta, longformer, big_bird, kinds, local_about_centers,
                longnet):
    section()
(OUT / "cases.json").write_text("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")
print(f"{len(cases)} cases, {sum(f.stat().st_size for f in OUT.iterdir())} bytes")
