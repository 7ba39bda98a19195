"""Times SmolLM2-135M in PyTorch on the CPU, f32: one JSON line for prefill, one for decode.

    python pytorch_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf [--threads 2] [--prefill 512] [--decode 128] [--repetitions 5]

The weights are those of the GGUF, dequantised. Prefill: tokens / time of one pass over the prompt, with a fresh cache and the logits of the last
position only. Decode: greedy, one token a pass, after a prompt of --prompt tokens. Best and median of the repetitions, after one that is not counted.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", type=Path)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--prefill", type=int, default=512)
parser.add_argument("--decode", type=int, default=128)
parser.add_argument("--prompt", type=int, default=16, help="tokens before decoding starts")
parser.add_argument("--repetitions", type=int, default=5)
options = parser.parse_args()
torch.set_num_threads(options.threads)
torch.manual_seed(0)
logging.set_verbosity_error()
logging.disable_progress_bar()
model = AutoModelForCausalLM.from_pretrained(options.model.parent, gguf_file=options.model.name, dtype=torch.float32).eval()


def step(ids, cache=None):
    return model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)


def prefill():
    ids = torch.randint(0, model.config.vocab_size, (1, options.prefill))
    start = time.perf_counter()
    step(ids)
    return options.prefill / (time.perf_counter() - start)


def decode():
    output = step(torch.randint(0, model.config.vocab_size, (1, options.prompt)))
    start = time.perf_counter()
    for _ in range(options.decode):
        output = step(output.logits[:, -1].argmax(-1, keepdim=True), output.past_key_values)
    return options.decode / (time.perf_counter() - start)


with torch.inference_mode():
    for name, run, tokens in (("prefill", prefill, options.prefill), ("decode", decode, options.decode)):
        run()
        rates = [run() for _ in range(options.repetitions)]
        print(json.dumps({
            "peer": f"PyTorch {torch.__version__}", "model": "SmolLM2-135M", "type": "f32", "threads": options.threads,
            "phase": name, "tokens": tokens, "repetitions": len(rates),
            "best_tokens_per_second": round(max(rates), 1), "median_tokens_per_second": round(statistics.median(rates), 1),
        }), flush=True)
