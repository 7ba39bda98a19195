"""Makes the tiny random-weight encoders of this folder, with the answers that `transformers` gives for them.

    python make_encoders.py [NAME…]        (packages: requirements.txt; a few seconds; same bytes every time)

Each folder under encoders/ is a Hugging Face model of one family with one head (config.json, model.safetensors) and
    batch.npy    int32   [sum lengths]             ids of all sequences, one after the other
    lengths.npy  int32   [sequences]
    segments.npy int32   [sum lengths]             token types; absent where the family has none
    hidden.npy   float32 [sum lengths, width]      last hidden states, computed in f32, eval mode, of each sequence alone
    scores.npy   float32                           of the head: [sum lengths, vocabulary or labels or 2], or [sequences, labels]
Every sequence is computed alone: the truth knows no padding. Every parameter is drawn at random, gains and biases too.
"""

import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers.utils import logging

from make_models import perturb, round_parameters

HERE = Path(__file__).parent / "encoders"
torch.set_num_threads(1)
logging.set_verbosity_error()
warnings.filterwarnings("ignore")

HEADS = {"ForMaskedLM": "masked", "ForSequenceClassification": "sequence", "ForTokenClassification": "token",
         "ForQuestionAnswering": "span"}
COMMON = dict(vocab_size=61, num_hidden_layers=2, max_position_embeddings=32)
BERT = dict(**COMMON, hidden_size=36, num_attention_heads=3, intermediate_size=50)
FAMILIES = {
    "bert": ("Bert", dict(**BERT, type_vocab_size=2)),
    "roberta": ("Roberta", dict(**BERT, type_vocab_size=1, pad_token_id=1)),
    "distilbert": ("DistilBert", dict(vocab_size=61, n_layers=2, max_position_embeddings=32, dim=36, n_heads=3,
                                      hidden_dim=50)),
    "albert": ("Albert", dict(COMMON | dict(num_hidden_layers=4), hidden_size=36, num_attention_heads=3, intermediate_size=50,
                              embedding_size=20, num_hidden_groups=2, inner_group_num=2)),
    "electra": ("Electra", dict(**BERT, embedding_size=20, type_vocab_size=2)),
    "roformer": ("RoFormer", dict(**BERT, embedding_size=20, type_vocab_size=2)),
}
LENGTHS = (13, 1, 20, 7)


def draw(vocabulary, kinds, seed):
    random = np.random.default_rng(seed)
    ids = [random.integers(0, vocabulary, n).tolist() for n in LENGTHS]
    ids[0][3], ids[0][5], ids[2][-1] = 0, vocabulary - 1, vocabulary - 1
    segments = [sorted(random.integers(0, kinds, n).tolist()) for n in LENGTHS]
    return ids, segments


def run(model, ids, segments):
    """The base model's hidden states and the head's scores of one sequence."""
    inputs = dict(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    if segments is not None:
        inputs["token_type_ids"] = torch.tensor([segments])
    with torch.no_grad():
        hidden = model.base_model(**inputs).last_hidden_state[0]
        out = model(**inputs)
    if hasattr(out, "start_logits"):
        return hidden, torch.stack([out.start_logits[0], out.end_logits[0]], dim=-1)
    return hidden, out.logits[0] if out.logits.dim() == 3 else out.logits


def make(family, suffix, seed):
    name, config = FAMILIES[family]
    config = getattr(transformers, name + "Config")(**config | dict(num_labels=2 if HEADS[suffix] == "span" else 3))
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = perturb(getattr(transformers, name + suffix)(config), seed)
    folder = HERE / f"{family}-{HEADS[suffix]}"
    shutil.rmtree(folder, ignore_errors=True)
    round_parameters(model, torch.float16)
    for p in model.parameters():
        if p.requires_grad:  # tables of sines stay f32
            p.data = p.data.half()
    model.save_pretrained(folder, safe_serialization=True)
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    kinds = getattr(config, "type_vocab_size", 0)
    ids, segments = draw(config.vocab_size, max(kinds, 1), seed)
    answers = [run(model, i, s if kinds > 1 else None) for i, s in zip(ids, segments)]
    hidden, scores = (torch.cat(list(part)) for part in zip(*answers))
    assert 0.3 < hidden.std() < 3 and scores.std() > 0.1, (folder, hidden.std(), scores.std())
    np.save(folder / "batch.npy", np.array(sum(ids, []), np.int32))
    np.save(folder / "lengths.npy", np.array(LENGTHS, np.int32))
    if kinds > 1:
        np.save(folder / "segments.npy", np.array(sum(segments, []), np.int32))
    np.save(folder / "hidden.npy", hidden.numpy())
    np.save(folder / "scores.npy", scores.numpy())
    print(f"{folder.name:24} hidden {tuple(hidden.shape)}, scores {tuple(scores.shape)}, largest {scores.abs().max():.2f}")


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(FAMILIES)
    for family in wanted:
        for n, suffix in enumerate(HEADS):
            make(family, suffix, seed=100 * list(FAMILIES).index(family) + n)
