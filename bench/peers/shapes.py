"""The shapes that FlashCL and its peers are timed at: names, arguments of `flashcl bench`, sizes for a peer."""

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

OPERATIONS = {"attention", "linear", "layer_norm", "rms_norm", "gelu", "softmax"}
MODELS = {"encoder", "sentences", "prefill", "decode"}
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


def attention(name, mask, lengths, flashcl, size=64, type="f32"):
    """Batch 1, HEADS heads, `lengths` of queries and keys; one query is a step of decoding, which memory bounds."""
    queries, keys = lengths
    sizes = SimpleNamespace(mask=mask, queries=queries, keys=keys, size=size, type=type)
    return Shape(name, "attention", "GB/s" if queries == 1 else "GFLOP/s", flashcl, sizes)


def swept(operation, keys):
    return operation, "--sweep", keys


def attentions():
    for type, lengths in (("f32", (512, 1024, 2048, 4096)), ("f16", (1024, 4096))):
        suffix = "" if type == "f32" else f" {type}"
        for length in lengths:
            square = (length, length)
            for causal, mask in enumerate(("full", "causal")):
                arguments = swept("attention", f"N={length},causal={causal},type={type}")
                yield attention(f"{mask} {length}{suffix}", mask, square, arguments, type=type)
    for length in (4096, 16384):
        arguments = swept("attention", f"N={length},causal=1,window={WINDOW - 1}:0")
        yield attention(f"window {WINDOW} of {length}", "window", (length, length), arguments)
    # Sweeps have no key for these two; the tables of cases have one case of each.
    for name, options, causal, length in (
        ("bias 1024", "bias", "none", 1024),
        ("ALiBi causal 4096", "alibi", "lower_right", 4096),
    ):
        square = f"Lq={length},Lk={length},D=64,"
        pattern = rf"^attention\(.*type=f32,.*phase=prefill,causal={causal},options={options},B=1,.*{square}"
        yield attention(name, options, (length, length), (pattern,))
    for size in (64, 128):
        for type in ("f32", "f16"):
            name = f"decode 16384 D {size}" + ("" if type == "f32" else f" {type}")
            arguments = swept("attention", f"Lq=1,Lk=16384,D={size},cache={type}")
            yield attention(name, "full", (1, 16384), arguments, size, type)


def matrices():
    """f32, [rows, cols]."""
    linear = SimpleNamespace(rows=1024, inputs=768, outputs=3072)
    arguments = swept("linear", "rows=1024,inputs=768,outputs=3072,type=f32")
    yield Shape("linear 1024×768·3072", "linear", "GFLOP/s", arguments, linear)
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
            sizes = SimpleNamespace(rows=rows, cols=768, **options)
            arguments = swept(operation, f"rows={rows},cols=768{keys}")
            yield Shape(f"{name} {rows}×768", operation, "GB/s", arguments, sizes)


def encoders(folder=None):
    """MiniLM's shape of random weights, or the sentence encoder in a folder: hidden states of ids, and vectors of texts.

    Where lengths differ, a peer that pads computes the longest of them for each sequence.
    """
    source = ("--model", str(folder)) if folder else ("--model-shape", "minilm:f32")
    for name, lengths in (("32", [32] * 32), ("4–120", spread(4, 120, 32))):
        asked = name.replace("–", ":")
        arguments = (*source, "--batch", "32", "--prompt-lengths", asked)
        sizes = SimpleNamespace(folder=folder, lengths=lengths)
        yield Shape(f"MiniLM 32×{name}", "encoder", "tokens/s", arguments, sizes)
    if folder:
        for name, file in (("", "sentences.txt"), (" of 4–120", "sentences-uneven.txt")):
            texts = Path(__file__).resolve().parent / file
            arguments = (*source, "--batch", "32", "--texts", str(texts))
            sizes = SimpleNamespace(folder=folder, texts=texts.read_text(encoding="utf-8").splitlines())
            yield Shape(f"MiniLM 32 sentences{name}", "sentences", "tokens/s", arguments, sizes)


def spread(least, most, count):
    """As `--prompt-lengths least:most` spreads them."""
    return [least + (most - least) * place // (count - 1) for place in range(count)]


def ids(lengths, vocabulary):
    """What `flashcl bench` feeds: any ids of the vocabulary will do, and all sides have the same."""
    return [[(7 * place + 11) % vocabulary for place in range(length)] for length in lengths]


def decoders(file=None):
    """SmolLM2-135M of random f32 weights, or the model of a GGUF file."""
    source = ("--model", str(file)) if file else ("--model-shape", "smollm2-135m:f32")
    name = Path(file).stem if file else "SmolLM2-135M"
    for kind, title, tokens in (("prefill", "prefill of 512", 0), ("decode", "decode after 512", 128)):
        arguments = (*source, "--prompt-lengths", "512", "--decode", str(tokens))
        sizes = SimpleNamespace(file=file, prompt=512, tokens=tokens)
        yield Shape(f"{name} {title}", kind, "tokens/s", arguments, sizes)


def shapes(file=None, encoder=None):
    yield from attentions()
    yield from matrices()
    yield from encoders(encoder)
    yield from decoders(file)
