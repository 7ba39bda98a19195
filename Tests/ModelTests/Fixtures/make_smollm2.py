"""Makes smollm2/: what `transformers` answers for SmolLM2-135M-Instruct, its GGUF dequantised to f32.

    python make_smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf        (packages: requirements.txt; two minutes; `make demo` fetches the file)

smollm2/prompts.json   a list of: name, text, ids, and the greedy continuation of up to 64 steps (it ends with the end token):
                       best, second (ids), margin (difference of their logits), continuation (text)
smollm2/NAME.npy       f32 [tokens, vocab / 97 rounded up]: every 97th logit (0, 97, …) of every position of the prompt
smollm2/chat-last.npy  f32 [vocab]: all logits of the last position of the prompt "chat"

The ids come from the `tokenizers` package, assembled from the file's own vocabulary and merges: transformers' GGUF reader
leaves out SmolLM2's rule that every digit is a token.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM
from transformers.utils import logging

STEPS, STRIDE = 64, 97
PATH = Path(sys.argv[1])
OUT = Path(__file__).parent / "smollm2"
OUT.mkdir(exist_ok=True)
torch.set_num_threads(2)
logging.set_verbosity_error()

PROMPTS = {
    "english": "The lighthouse keeper climbed the stairs every evening, and",
    "code": "def fibonacci(n):\n    \"\"\"Return the n-th Fibonacci number.\"\"\"\n    if n < 2:\n        return n\n",
    "numbers": "2, 4, 8, 16, 32, 64, 128, 256, 512, 1024,",
    "french": "La tour Eiffel, située à Paris, est un monument célèbre qui",
    "chat": "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n",
}


def tokenizer():
    fields = gguf.GGUFReader(PATH).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    kinds = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    assert fields["tokenizer.ggml.pre"].contents() == "smollm"
    it = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    it.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    it.decoder = decoders.ByteLevel()
    control = [t for t, kind in zip(tokens, kinds) if kind == gguf.TokenType.CONTROL]
    it.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in control])
    return it, fields["tokenizer.ggml.eos_token_id"].contents()


def main():
    text_ids, end = tokenizer()
    model = AutoModelForCausalLM.from_pretrained(PATH.parent, gguf_file=PATH.name, dtype=torch.float32).eval()
    prompts, worst = [], 0.0
    with torch.no_grad():
        for name, text in PROMPTS.items():
            ids = text_ids.encode(text).ids
            assert text_ids.decode(ids, skip_special_tokens=False) == text
            output = model(input_ids=torch.tensor([ids]), use_cache=True)
            logits = output.logits[0]
            np.save(OUT / f"{name}.npy", logits[:, ::STRIDE].numpy())
            if name == "chat":
                np.save(OUT / "chat-last.npy", logits[-1].numpy())

            best, second, margin = [], [], []
            for _ in range(STEPS):
                top = output.logits[0, -1].topk(2)
                best.append(top.indices[0].item())
                second.append(top.indices[1].item())
                margin.append(round((top.values[0] - top.values[1]).item(), 4))
                if best[-1] == end:
                    break
                output = model(input_ids=top.indices[None, :1], past_key_values=output.past_key_values, use_cache=True)
            # the same through one pass without a cache
            whole = model(input_ids=torch.tensor([ids + best]), use_cache=False).logits[0, len(ids) - 1:-1]
            assert whole.argmax(-1).tolist() == best, name
            prompts.append({"name": name, "text": text, "ids": ids, "best": best, "second": second, "margin": margin,
                            "continuation": text_ids.decode(best, skip_special_tokens=False)})
            print(f"{name}: {len(ids)} + {len(best)} tokens, smallest margin {min(margin)}: {prompts[-1]['continuation']!r}")
        exact = model.double()
        for prompt in prompts:
            f64 = exact(input_ids=torch.tensor([prompt["ids"]])).logits[0, :, ::STRIDE]
            worst = max(worst, (f64 - torch.tensor(np.load(OUT / f"{prompt['name']}.npy"))).abs().max().item())
    print(f"largest f32-against-f64 difference {worst:.2g}")
    (OUT / "prompts.json").write_text("[\n" + ",\n".join(json.dumps(p, ensure_ascii=False) for p in prompts) + "\n]\n")


main()
