"""Measures PyTorch's attention on the CPU beside `flashcl bench attention`, in turn, and prints a table of medians and ratios.

    python pytorch_attention.py [--flashcl PATH] [--rounds 3] [--seconds 1] [--threads 2] [--device D] [--only REGEX] [--json FILE]

f32, batch 1, 8 heads. For each shape both sides run in every round, one after the other, so that a machine that drifts does so under
both; a side's figure is the median over the rounds of its medians in a round, and the ratio (PyTorch's time over FlashCL's: above 1
FlashCL is faster) is taken round by round and given as median, least and greatest. GFLOP/s and GB/s divide the work that
`flashcl bench` counts (scored pairs; keys and values as stored) by each side's time. `--only` is searched for in the names of shapes.

PyTorch's sides: `sdpa` is scaled_dot_product_attention, with is_causal, a boolean mask or an additive one; `flex` is flex_attention
compiled with a block mask, where the compiler is found.
"""

import argparse
import functools
import json
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

HEADS = 8
SIZE = 64
WINDOW = 256
CACHED = 16384


# PyTorch's side: functions that make the operands and return the call that is timed.


def operands(queries, keys, size=SIZE, type=torch.float32):
    return (torch.randn(1, HEADS, length, size, dtype=type) for length in (queries, keys, keys))


def sdpa(length, causal=False):
    q, k, v = operands(length, length)
    return lambda: F.scaled_dot_product_attention(q, k, v, is_causal=causal)


def distances(length):
    """Query's position minus key's, [length, length]."""
    position = torch.arange(length, dtype=torch.int32)
    return position[:, None] - position[None, :]


def sdpa_window(length):
    q, k, v = operands(length, length)
    distance = distances(length)
    mask = (distance >= 0) & (distance < WINDOW)
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def flex_window(length):
    q, k, v = operands(length, length)
    mask = compiled(create_block_mask)(
        lambda b, h, i, j: (j <= i) & (i - j < WINDOW), None, None, length, length, device="cpu")
    return lambda: compiled(flex_attention)(q, k, v, block_mask=mask)


def sdpa_bias(length):
    q, k, v = operands(length, length)
    bias = torch.randn(1, HEADS, length, length)
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def slopes():
    return torch.tensor([2.0 ** (-8 * (head + 1) / HEADS) for head in range(HEADS)])


def sdpa_alibi(length):
    q, k, v = operands(length, length)
    distance = distances(length)
    bias = -slopes()[:, None, None] * distance
    bias = bias.masked_fill_(distance < 0, float("-inf"))[None]
    return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def flex_alibi(length):
    q, k, v = operands(length, length)
    slope = slopes()
    mask = compiled(create_block_mask)(lambda b, h, i, j: j <= i, None, None, length, length, device="cpu")
    return lambda: compiled(flex_attention)(
        q, k, v, score_mod=lambda score, b, h, i, j: score - slope[h] * (i - j), block_mask=mask)


def sdpa_decode(size, type=torch.float32):
    q, k, v = operands(1, CACHED, size, type)
    return lambda: F.scaled_dot_product_attention(q, k, v)


@functools.cache
def compiled(function):
    return torch.compile(function, dynamic=False)


# The shapes: name, the one case of `flashcl bench` that it is, and PyTorch's sides.


def dense(length, causal="none", options="none"):
    return (rf"^attention\(.*type=f32,keys_in=dense,phase=prefill,causal={causal},options={options},"
            rf"B=1,Hq={HEADS},Hkv={HEADS},Lq={length},Lk={length},D={SIZE},")


def decode(cache, size):
    return (rf"^attention\(.*type=f32,keys_in={cache},phase=decode,options=none,"
            rf"Hq={HEADS},Hkv={HEADS},Lq=1,lengths={CACHED},D={size},")


def shapes():
    for length in (512, 1024, 2048, 4096):
        yield f"full {length}", dense(length), {"sdpa": lambda n=length: sdpa(n)}
        yield f"causal {length}", dense(length, "lower_right"), {"sdpa": lambda n=length: sdpa(n, causal=True)}
    for length in (4096, 16384):
        yield (f"window {WINDOW} of {length}", dense(length, "lower_right", f"window_{WINDOW - 1}_0"),
               {"sdpa": lambda n=length: sdpa_window(n), "flex": lambda n=length: flex_window(n)})
    yield "bias 1024", dense(1024, options="bias"), {"sdpa": lambda: sdpa_bias(1024)}
    yield ("ALiBi causal 4096", dense(4096, "lower_right", "alibi"),
           {"sdpa": lambda: sdpa_alibi(4096), "flex": lambda: flex_alibi(4096)})
    for size in (64, 128):
        yield f"decode {CACHED}, D {size}", decode("f32", size), {"sdpa": lambda d=size: sdpa_decode(d)}
        yield (f"decode {CACHED}, D {size}, f16", decode("f16", size),
               {"sdpa": lambda d=size: sdpa_decode(d, torch.float16)})


# Measuring


def pytorch_seconds(make, budget):
    """Median of the calls that fit in the budget, three at least, after two that are not counted; one where one fills it."""
    call = make()
    start = time.perf_counter()
    call()  # compiles, allocates
    if time.perf_counter() - start > budget:
        start = time.perf_counter()
        call()
        if time.perf_counter() - start > budget:
            return time.perf_counter() - start
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def flashcl_result(binary, pattern, device):
    """The result of the chosen strategy, with the copy bandwidth of the same run; None where no case has such a name."""
    command = [binary, "bench", pattern, "--chosen", "--format", "json"] + (["--device", device] if device else [])
    run = subprocess.run(command, capture_output=True, text=True)
    if "no case matches" in run.stderr:
        return None
    if run.returncode != 0:
        sys.exit(f"{' '.join(command)}: {run.stderr.strip()}")
    report = json.loads(run.stdout)
    (result,) = report["results"]
    return {
        "device": report["device"], "strategy": result["strategy"], "seconds": result["median_s"],
        "operations": result["gflops"] * 1e9 * result["median_s"], "bytes": result["gbytes_per_s"] * 1e9 * result["median_s"],
        "copy": (report["ceilings"] or {}).get("copy_gbytes_per_s"),
    }


def measure(shape, options):
    name, pattern, sides = shape
    ours, theirs, failures = [], {side: [] for side in sides}, {}
    for _ in range(options.rounds):
        result = flashcl_result(options.flashcl, pattern, options.device)
        if result:
            ours.append(result)
        for side, make in sides.items():
            if side in failures:
                continue
            try:
                theirs[side].append(pytorch_seconds(make, options.seconds))
            except Exception as error:  # a compiler that is missing, memory that does not suffice
                failures[side] = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    row = {"shape": name, "flashcl": None, "peers": {}, "failures": failures}
    if ours:
        seconds = statistics.median(r["seconds"] for r in ours)
        row["flashcl"] = {
            "strategy": ours[0]["strategy"], "median_s": seconds, "rounds_s": [r["seconds"] for r in ours],
            "gflops": ours[0]["operations"] / seconds * 1e-9, "gbytes_per_s": ours[0]["bytes"] / seconds * 1e-9,
            "copy_gbytes_per_s": statistics.median(r["copy"] for r in ours) if ours[0]["copy"] else None,
        }
    for side, times in theirs.items():
        if not times:
            continue
        seconds = statistics.median(times)
        peer = {"median_s": seconds, "rounds_s": times}
        if ours:
            ratios = [their / our["seconds"] for their, our in zip(times, ours)]
            peer |= {"gflops": ours[0]["operations"] / seconds * 1e-9, "gbytes_per_s": ours[0]["bytes"] / seconds * 1e-9,
                     "ratio": statistics.median(ratios), "ratio_least": min(ratios), "ratio_greatest": max(ratios)}
        row["peers"][side] = peer
    return row, ours[0]["device"] if ours else None


COLUMNS = "{:<24} {:<8} {:>11} {:>9} {:>8}   {:<5} {:>11} {:>9}   {:>6}  {}"


def lines(row):
    """A line for each of PyTorch's sides; copies (GB/s) judge decode, operations (GFLOP/s) the rest."""
    unit = "gbytes_per_s" if row["shape"].startswith("decode") else "gflops"

    def rate(side):
        return f"{side[unit]:.1f}" if side and unit in side else "-"

    def milliseconds(side):
        return f"{side['median_s'] * 1e3:.3f}" if side else "-"

    ours = row["flashcl"]
    copy = f"{ours['gbytes_per_s'] / ours['copy_gbytes_per_s']:.0%}" if ours and ours["copy_gbytes_per_s"] else "-"
    for side, peer in row["peers"].items():
        ratio = f"{peer['ratio']:.2f}" if "ratio" in peer else "-"
        spread = f"{peer['ratio_least']:.2f}–{peer['ratio_greatest']:.2f}" if "ratio" in peer else ""
        yield COLUMNS.format(
            row["shape"], ours["strategy"] if ours else "no case", milliseconds(ours), rate(ours),
            copy if unit == "gbytes_per_s" else "", side, milliseconds(peer), rate(peer), ratio, spread)
    for side, failure in row["failures"].items():
        yield f"{row['shape']:<22} {side} was not measured: {failure}"


def main():
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flashcl", default=str(root / ".build/release/flashcl"), help="the built command")
    parser.add_argument("--device", help="FlashCL's device, as in `flashcl bench --device`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="PyTorch's time for each shape and round")
    parser.add_argument("--threads", type=int, default=2, help="PyTorch's threads")
    parser.add_argument("--only", default="", help="a regular expression for names of shapes")
    parser.add_argument("--json", type=Path, help="a file for the results")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds is 1 or more")
    if not Path(options.flashcl).is_file():
        parser.error(f"{options.flashcl} is not there: swift build -c release, or --flashcl PATH")
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    print(f"PyTorch {torch.__version__}, {options.threads} threads; medians of {options.rounds} rounds in turn; "
          "GFLOP/s, for decode GB/s and the share of the copy bandwidth")
    print(COLUMNS.format("shape", "flashcl", "ms", "rate", "of copy", "torch", "ms", "rate", "ratio", "least–greatest"))
    rows, device = [], None
    with torch.inference_mode():
        for shape in shapes():
            if not re.search(options.only, shape[0]):
                continue
            row, found = measure(shape, options)
            device = device or found
            rows.append(row)
            print("\n".join(lines(row)), flush=True)
    if options.json:
        report = {"peer": f"PyTorch {torch.__version__}", "threads": options.threads, "device": device, "rows": rows}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
