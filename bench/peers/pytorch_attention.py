"""Times PyTorch's attention on the CPU: one JSON line per shape.

    python pytorch_attention.py [--threads 2] [--heads 8] [--head-size 64] [--seconds 1] [--lengths 128 512 1024 2048 4096]

f32, batch 1, q, k, v [1, heads, length, head size]. Operations: 4 · length² · head size · heads, half of that for causal.
Best and median of the repetitions that fit in the time given, after two that are not counted; the figures of a shared machine drift, so
compare only what was measured in turn within one run.
"""

import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--heads", type=int, default=8)
parser.add_argument("--head-size", type=int, default=64)
parser.add_argument("--seconds", type=float, default=1, help="time to spend on each shape")
parser.add_argument("--lengths", type=int, nargs="+", default=[128, 512, 1024, 2048, 4096])
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(0)

for length in options.lengths:
    q, k, v = (torch.randn(1, options.heads, length, options.head_size) for _ in range(3))
    for causal in (False, True):
        times, end = [], None
        while end is None or time.perf_counter() < end or len(times) < 5:
            start = time.perf_counter()
            F.scaled_dot_product_attention(q, k, v, is_causal=causal)
            times.append(time.perf_counter() - start)
            if end is None and len(times) == 2:
                times, end = [], time.perf_counter() + options.seconds
        operations = 4 * length**2 * options.head_size * options.heads / (2 if causal else 1)
        print(json.dumps({
            "peer": f"PyTorch {torch.__version__}", "operation": "attention", "type": "f32", "threads": options.threads,
            "shape": [1, options.heads, length, options.head_size], "causal": causal, "repetitions": len(times),
            "best_gflops": round(operations / min(times) / 1e9, 1),
            "median_gflops": round(operations / statistics.median(times) / 1e9, 1),
            "best_ms": round(min(times) * 1e3, 4), "median_ms": round(statistics.median(times) * 1e3, 4),
        }), flush=True)
