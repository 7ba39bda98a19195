"""Makes perplexity.json: how well tiny models of this folder expect their own tokens.npy, by transformers.

    python make_perplexity.py             (after make_models.py; packages: requirements.txt)

For each model, and windows of `context` tokens that move on by `stride`: Σ −log p over every token but the first, each
scored in the first window that holds it.
"""

import json
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

HERE = Path(__file__).parent
torch.set_num_threads(1)


def measure(model, ids, context, stride):
    total, tokens, windows, scored = 0.0, 0, 0, 1
    for begin in range(0, len(ids), stride):
        end = min(begin + context, len(ids))
        window = ids[begin:end]
        with torch.no_grad():
            logits = model(window[None]).logits[0].double()
        losses = torch.nn.functional.cross_entropy(logits[:-1], window[1:], reduction="none")
        fresh = losses[max(scored, begin + 1) - begin - 1:]
        total += fresh.sum().item()
        tokens += len(fresh)
        windows += 1
        scored = end
        if end == len(ids):
            break
    return {"context": context, "stride": stride, "negative_log_likelihood": total, "tokens": tokens, "windows": windows,
            "perplexity": float(np.exp(total / tokens))}


result = {}
for name in ["llama-tied", "gpt2"]:
    model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32).eval()
    ids = torch.from_numpy(np.load(HERE / name / "tokens.npy")).long()
    result[name] = [measure(model, ids, *sizes) for sizes in [(64, 64), (16, 8), (10, 10), (7, 1)]]
(HERE / "perplexity.json").write_text(json.dumps(result, indent=2) + "\n")
