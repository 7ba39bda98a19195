"""Makes tiny random Transformer-XL models with the answers that `transformers` gives for them.

    python make_transformer_xl.py       (transformers==4.35.2 in an environment of its own: later ones have it no more;
                                         made with torch 2.13.0 and numpy 1.26; a second; same bytes every time)

Each folder under transformer-xl/ is a Hugging Face model (config.json, model.safetensors) and
    batch.npy    int32   [segments, sequences, length]
    hidden.npy   float32 [segments, sequences, length, width]     each segment with the memory of those before it
    scores.npy   float32 [segments, sequences, length, vocabulary] logarithms of probabilities
Without a memory `transformers` begins with one of zeros. Every parameter is drawn at random.
"""

import shutil
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import TransfoXLConfig, TransfoXLLMHeadModel

HERE = Path(__file__).parent / "transformer-xl"
COMMON = dict(vocab_size=61, d_model=36, n_head=3, d_inner=50, n_layer=2)
MODELS = {
    # Tails of narrower embeddings, some projections tied, equally many keys for each query, distances clamped.
    "adaptive": dict(**COMMON, d_embed=32, d_head=10, cutoffs=[20, 40], div_val=2, mem_len=6, clamp_len=3, same_length=True,
                     untie_r=True, tie_projs=[False, True, True]),
    # One table with a projection, biases shared by all layers, a tail all the same.
    "plain": dict(**COMMON, d_embed=20, d_head=12, cutoffs=[30], div_val=1, mem_len=9, clamp_len=-1, same_length=False,
                  untie_r=False, tie_projs=[False, True]),
}


def make(name, config, seed):
    config = TransfoXLConfig(**config)
    torch.manual_seed(seed)
    model = TransfoXLLMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(seed)
    for key, p in model.named_parameters():
        std, mean = (0.15, 0) if key.endswith("bias") else (0.2, 1) if p.dim() == 1 else (1.3 / p.shape[1] ** 0.5, 0)
        if "emb_layers" in key:
            std = 0.3
        p.data = (mean + std * torch.randn(p.shape, generator=generator)).half().float()
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, safe_serialization=True)
    (folder / "generation_config.json").unlink(missing_ok=True)
    model = TransfoXLLMHeadModel.from_pretrained(folder).eval()
    batch = np.random.default_rng(seed).integers(0, config.vocab_size, (3, 2, 7))
    hidden, scores, memory = [], [], None
    with torch.no_grad():
        for segment in batch:
            out = model(torch.tensor(segment), mems=memory, output_hidden_states=True)
            memory = out.mems
            hidden.append(out.hidden_states[-1])
            scores.append(out.prediction_scores)
    hidden, scores = torch.stack(hidden), torch.stack(scores)
    assert 0.3 < hidden.std() < 3 and torch.allclose(scores.exp().sum(-1), torch.ones(3, 2, 7), atol=1e-4)
    np.save(folder / "batch.npy", batch.astype(np.int32))
    np.save(folder / "hidden.npy", hidden.numpy())
    np.save(folder / "scores.npy", scores.numpy())
    print(f"{name:10} hidden {tuple(hidden.shape)}, scores from {scores.min():.2f} to {scores.max():.2f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    transformers.utils.logging.set_verbosity_error()
    for seed, (name, config) in enumerate(MODELS.items()):
        make(name, config, seed)
