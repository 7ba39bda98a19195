"""The shapes that FlashCL and its peers are timed at: a name, what `flashcl bench` is told, and the sizes that a peer needs."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

OPERATIONS = {"attention", "linear", "layer_norm", "rms_norm", "gelu", "softmax"}
MODELS = {"encoder", "prefill", "decode"}
HEADS = 8
WINDOW = 256  # keys that a query sees, its own among them
EPSILON = 1e-5


@dataclass(frozen=True)
class Shape:
    """One row of the comparison. `unit` is that of the rate: GFLOP/s, GB/s or tokens/s."""

    name: str
    kind: str  # of OPERATIONS or MODELS
    unit: str
    flashcl: tuple  # arguments of `flashcl bench`
    sizes: SimpleNamespace


def attention(name, mask, queries, keys, flashcl, size=64, type="f32"):
    """Batch 1, HEADS heads; one query is a step of decoding, which memory bounds."""
    sizes = SimpleNamespace(mask=mask, queries=queries, keys=keys, size=size, type=type)
    return Shape(name, "attention", "GB/s" if queries == 1 else "GFLOP/s", flashcl, sizes)


def attentions():
    for length in (512, 1024, 2048, 4096):
        for mask in ("full", "causal"):
            yield attention(
                f"{mask} {length}",
                mask,
                length,
                length,
                ("attention", "--sweep", f"N={length},causal={int(mask == 'causal')}"),
            )
    for length in (1024, 4096):
        for mask in ("full", "causal"):
            yield attention(
                f"{mask} {length} f16",
                mask,
                length,
                length,
                ("attention", "--sweep", f"N={length},causal={int(mask == 'causal')},type=f16"),
                type="f16",
            )
    for length in (4096, 16384):
        yield attention(
            f"window {WINDOW} of {length}",
            "window",
            length,
            length,
            ("attention", "--sweep", f"N={length},causal=1,window={WINDOW - 1}:0"),
        )
    # Sweeps have no key for these two; the tables of cases have one case of each.
    yield attention(
        "bias 1024",
        "bias",
        1024,
        1024,
        (
            r"^attention\(.*type=f32,keys_in=dense,phase=prefill,causal=none,options=bias,B=1,Hq=8,Hkv=8,Lq=1024,Lk=1024,D=64,",
        ),
    )
    yield attention(
        "ALiBi causal 4096",
        "alibi",
        4096,
        4096,
        (
            r"^attention\(.*type=f32,keys_in=dense,phase=prefill,causal=lower_right,options=alibi,B=1,Hq=8,Hkv=8,Lq=4096,Lk=4096,D=64,",
        ),
    )
    for size in (64, 128):
        for type in ("f32", "f16"):
            yield attention(
                f"decode 16384 D {size}" + (" f16" if type == "f16" else ""),
                "full",
                1,
                16384,
                ("attention", "--sweep", f"Lq=1,Lk=16384,D={size},cache={type}"),
                size,
                type,
            )


def matrices():
    """f32, [rows, cols]."""
    yield Shape(
        "linear 1024×768·3072",
        "linear",
        "GFLOP/s",
        ("linear", "--sweep", "rows=1024,inputs=768,outputs=3072,type=f32"),
        SimpleNamespace(rows=1024, inputs=768, outputs=3072),
    )
    for rows in (4096, 32768):
        for name, operation, keys, options in (
            ("layer_norm", "layer_norm", "", {"residual": False}),
            ("rms_norm", "rms_norm", "", {"residual": False}),
            ("residual + layer_norm", "layer_norm", ",form=sum", {"residual": True}),
            ("residual + rms_norm", "rms_norm", ",form=sum", {"residual": True}),
            ("gelu", "gelu", ",form=exact", {"form": "none"}),
            ("gelu tanh", "gelu", ",form=tanh", {"form": "tanh"}),
            ("softmax", "softmax", "", {}),
        ):
            yield Shape(
                f"{name} {rows}×768",
                operation,
                "GB/s",
                (operation, "--sweep", f"rows={rows},cols=768{keys}"),
                SimpleNamespace(rows=rows, cols=768, **options),
            )


def models(file=None):
    """An encoder, and a decoder: SmolLM2-135M of random f32 weights, or that of a GGUF file."""
    encoder = SimpleNamespace(batch=32, length=32)
    yield Shape(
        "MiniLM 32×32",
        "encoder",
        "tokens/s",
        ("--model-shape", "minilm:f32", "--batch", "32", "--prompt-lengths", "32"),
        encoder,
    )
    source = ("--model", str(file)) if file else ("--model-shape", "smollm2-135m:f32")
    name = Path(file).stem if file else "SmolLM2-135M"
    for kind, title, tokens in (("prefill", "prefill of 512", 0), ("decode", "decode after 512", 128)):
        yield Shape(
            f"{name} {title}",
            kind,
            "tokens/s",
            (*source, "--prompt-lengths", "512", "--decode", str(tokens)),
            SimpleNamespace(file=file, prompt=512, tokens=tokens),
        )


def shapes(file=None):
    yield from attentions()
    yield from matrices()
    yield from models(file)
