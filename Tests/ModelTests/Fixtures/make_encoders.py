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
    # Buckets smaller than the sequences, so that far distances share one.
    "deberta": ("DebertaV2", dict(**BERT, embedding_size=20, type_vocab_size=2, relative_attention=True, position_buckets=6,
                                  max_relative_positions=24, pos_att_type=["c2p", "p2c"], share_att_key=True,
                                  norm_rel_ebd="layer_norm", position_biased_input=False, conv_kernel_size=3,
                                  conv_act="gelu", pooler_hidden_size=36)),
    # Projections of their own for distances, without buckets, with the other head of masked tokens.
    "deberta-own": ("DebertaV2", dict(**BERT, type_vocab_size=0, relative_attention=True, max_relative_positions=9,
                                      pos_att_type=["p2c", "c2p"], legacy=False, tie_word_embeddings=False,
                                      pooler_hidden_size=36)),
    "xlnet": ("XLNet", dict(vocab_size=61, d_model=36, n_layer=2, n_head=3, d_inner=50, ff_activation="gelu", mem_len=8)),
    # Only the past is seen, and far distances are one.
    "xlnet-causal": ("XLNet", dict(vocab_size=61, d_model=36, n_layer=2, n_head=3, d_inner=50, ff_activation="relu",
                                   attn_type="uni", clamp_len=5)),
    # One random block in blocks of 2: sequences of 15 and more tokens are attended to in blocks.
    "bigbird": ("BigBird", dict(**BERT, type_vocab_size=2, block_size=2, num_random_blocks=1, rescale_embeddings=True)),
    "longformer": ("Longformer", dict(BERT | dict(max_position_embeddings=40), type_vocab_size=1, pad_token_id=1,
                                      sep_token_id=2, attention_window=[4, 8])),
}
# Families whose classes have other names.
CLASSES = {("XLNet", "ForMaskedLM"): "LMHeadModel", ("XLNet", "ForQuestionAnswering"): "ForQuestionAnsweringSimple"}
# Families of which few heads are told apart by anything but names.
ONLY = {"deberta-own": ["ForMaskedLM"], "xlnet-causal": ["ForMaskedLM"]}
LENGTHS = (13, 1, 20, 7)


def draw(vocabulary, kinds, seed, separator=None):
    random = np.random.default_rng(seed)
    ids = [random.integers(0, vocabulary, n).tolist() for n in LENGTHS]
    ids[0][3], ids[0][5], ids[2][-1] = 0, vocabulary - 1, vocabulary - 1
    segments = [sorted(random.integers(0, kinds, n).tolist()) for n in LENGTHS]
    if separator is not None:  # a question, two separators, a text, a separator, as Longformer's answers need it
        ids = [[3 if i == separator else i for i in row] for row in ids]
        for row in ids:
            if len(row) < 4:
                continue  # nothing but text: no token is global
            for place in (len(row) // 3, len(row) // 3 + 1, len(row) - 1):
                row[place] = separator
    return ids, segments


def run(model, ids, segments):
    """The base model's hidden states and the head's scores of one sequence."""
    inputs = dict(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long))
    if segments is not None:
        inputs["token_type_ids"] = torch.tensor([segments])
    name = type(model).__name__
    if name.startswith("BigBird"):
        model.base_model.set_attention_type("block_sparse")  # a short sequence has switched it off for good
    if name == "BigBirdForQuestionAnswering":
        inputs["question_lengths"] = torch.zeros(1, 1, dtype=torch.long)  # no score is taken out of the competition
    if name == "LongformerForQuestionAnswering" and len(ids) < 4:
        inputs["global_attention_mask"] = torch.zeros(1, len(ids), dtype=torch.long)
    with torch.no_grad():
        out = model(**inputs, output_hidden_states=True)
    hidden = out.hidden_states[-1][0, :len(ids)]
    if hasattr(out, "start_logits"):
        return hidden, torch.stack([out.start_logits[0], out.end_logits[0]], dim=-1)
    return hidden, out.logits[0] if out.logits.dim() == 3 else out.logits


def make(family, suffix, seed):
    name, config = FAMILIES[family]
    kind = getattr(transformers, name + CLASSES.get((name, suffix), suffix))
    config = getattr(transformers, name + "Config")(**config | dict(num_labels=2 if HEADS[suffix] == "span" else 3))
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = perturb(kind(config), seed)
    for parameter in model.parameters():
        if parameter.dim() == 3 and name == "XLNet":  # [width, heads, size]: the inputs come first
            parameter.data *= (parameter.shape[1] / max(parameter.shape[0], 4)) ** 0.5
    folder = HERE / f"{family}-{HEADS[suffix]}"
    shutil.rmtree(folder, ignore_errors=True)
    round_parameters(model, torch.float16)
    for p in model.parameters():
        if p.requires_grad:  # tables of sines stay f32
            p.data = p.data.half()
    model.save_pretrained(folder, safe_serialization=True)
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    kinds = getattr(config, "type_vocab_size", 3 if name == "XLNet" else 0)
    separated = name == "Longformer" and suffix == "ForQuestionAnswering"
    ids, segments = draw(config.vocab_size, max(kinds, 1), seed, config.sep_token_id if separated else None)
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
            if suffix in ONLY.get(family, HEADS):
                make(family, suffix, seed=100 * list(FAMILIES).index(family) + n)
