"""Makes the tiny random-weight encoder–decoders of this folder, with the answers that `transformers` gives for them.

    python make_seq2seq.py [NAME…]        (packages: requirements.txt; half a minute; same bytes every time)

Each folder under seq2seq/ is a Hugging Face model (config.json, generation_config.json, model.safetensors) and
    sources.npy  int32   [sum lengths]         ids of four sources, one after the other; lengths.npy their lengths
    targets.npy  int32   [sum lengths]         ids that the decoder is fed; target_lengths.npy their lengths
    logits.npy   float32 [sum lengths, vocabulary]  of each pair alone, in f32, eval mode
    beams.json   what generate() finds for twenty sources under several settings: tokens after the decoder's first, scores
It is absent where generate() fails: with two vocabularies, and for the `transformer-…` folders, which are models of
torch.nn.Transformer under this project's own names.
"""

import json
import math
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import tokenizers
import torch
import transformers
from safetensors.torch import save_file
from transformers.utils import logging

from make_models import perturb, round_parameters

HERE = Path(__file__).parent / "seq2seq"
torch.set_num_threads(1)
logging.set_verbosity_error()
warnings.filterwarnings("ignore")

LENGTHS, TARGETS = (9, 1, 18, 5), (6, 11, 1, 19)
SIZES = dict(vocab_size=67, d_model=36, encoder_layers=2, decoder_layers=2, encoder_attention_heads=3,
             decoder_attention_heads=3, encoder_ffn_dim=50, decoder_ffn_dim=44, max_position_embeddings=40)
T5 = dict(vocab_size=67, d_model=36, d_kv=8, d_ff=50, num_layers=2, num_heads=3, relative_attention_num_buckets=10,
          relative_attention_max_distance=14, decoder_start_token_id=0)
FAMILIES = {
    "marian": ("MarianMTModel", transformers.MarianConfig, dict(
        **SIZES, activation_function="swish", scale_embedding=True, pad_token_id=66, eos_token_id=0,
        decoder_start_token_id=66, forced_eos_token_id=0, bad_words_ids=[[66]])),
    "marian-two": ("MarianMTModel", transformers.MarianConfig, dict(
        **SIZES | dict(decoder_vocab_size=53), activation_function="relu", scale_embedding=True, pad_token_id=52,
        eos_token_id=0, decoder_start_token_id=52, forced_eos_token_id=0, share_encoder_decoder_embeddings=False,
        tie_word_embeddings=False)),
    "bart": ("BartForConditionalGeneration", transformers.BartConfig, dict(
        **SIZES, activation_function="gelu", pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2, forced_eos_token_id=2, forced_bos_token_id=0)),
    "mbart": ("MBartForConditionalGeneration", transformers.MBartConfig, dict(
        **SIZES, activation_function="gelu", scale_embedding=True, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=64, forced_eos_token_id=2, forced_bos_token_id=65)),
    "t5": ("T5ForConditionalGeneration", transformers.T5Config, dict(**T5, feed_forward_proj="relu")),
    "flan-t5": ("T5ForConditionalGeneration", transformers.T5Config, dict(
        **T5 | dict(num_layers=3, num_decoder_layers=2), feed_forward_proj="gated-gelu", tie_word_embeddings=False)),
}
SEARCHES = [
    dict(num_beams=4, num_return_sequences=2, length_penalty=1.0, early_stopping=False, max_new_tokens=24),
    dict(num_beams=4, num_return_sequences=1, length_penalty=0.0, early_stopping=False, max_new_tokens=24),
    dict(num_beams=4, num_return_sequences=2, length_penalty=2.0, early_stopping=True, max_new_tokens=24),
    dict(num_beams=4, num_return_sequences=2, length_penalty=0.6, early_stopping="never", max_new_tokens=20,
         no_repeat_ngram_size=2),
    dict(num_beams=4, num_return_sequences=4, length_penalty=-0.5, early_stopping=False, max_new_tokens=20,
         no_repeat_ngram_size=2, min_length=6),
    dict(num_beams=1, num_return_sequences=1, max_new_tokens=20),
]


def draw(vocabulary, lengths, random):
    return [random.integers(0, vocabulary, n).tolist() for n in lengths]


def save(folder, sources, targets, logits):
    assert logits.std() > 0.3 and logits.abs().max() < 30, (folder, logits.std(), logits.abs().max())
    np.save(folder / "sources.npy", np.array(sum(sources, []), np.int32))
    np.save(folder / "lengths.npy", np.array([len(s) for s in sources], np.int32))
    np.save(folder / "targets.npy", np.array(sum(targets, []), np.int32))
    np.save(folder / "target_lengths.npy", np.array([len(t) for t in targets], np.int32))
    np.save(folder / "logits.npy", logits.numpy())


def search(model, sources, setting, ends):
    """Every source alone: the truth knows no padding."""
    results = []
    for source in sources:
        out = model.generate(torch.tensor([source]), return_dict_in_generate=True, output_scores=True, do_sample=False,
                             **setting)
        scores = out.sequences_scores.tolist() if setting["num_beams"] > 1 else [None]
        beams = []
        for tokens, score in zip(out.sequences.tolist(), scores):
            tokens = tokens[1:]
            end = next((i + 1 for i, t in enumerate(tokens) if t in ends), len(tokens))
            beams.append(dict(tokens=tokens[:end], score=score))
        results.append(beams)
    return results


def save_tokenizer(folder):
    """A word for each id, so that a text can be turned into another; BART's marks around it."""
    words = ["<s>", "<pad>", "</s>", "[UNK]"] + [f"word{n}" for n in range(4, 67)]
    model = tokenizers.models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = tokenizers.decoders.WordPiece()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer.add_special_tokens(words[:3])
    tokenizer.save(str(folder / "tokenizer.json"))


def make(family, seed):
    name, config, settings = FAMILIES[family]
    config = config(**settings)
    config._attn_implementation = "eager"
    torch.manual_seed(seed)
    model = perturb(getattr(transformers, name)(config), seed)
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_(0.15 * torch.randn(model.final_logits_bias.shape).half())
        model.final_logits_bias[0, config.eos_token_id] = 2.5  # or no result would end by itself
    if family.endswith("t5"):
        with torch.no_grad():
            # Without 1/√d; and a tied head's states are multiplied by width^-½.
            for n, p in model.named_parameters():
                if n.endswith((".q.weight",)):
                    p.mul_(8 ** -0.5)
                if n == "shared.weight" and config.tie_word_embeddings:
                    p.mul_(6)
    if family == "flan-t5":
        with torch.no_grad():
            model.lm_head.weight.mul_(2)
    folder = HERE / family
    shutil.rmtree(folder, ignore_errors=True)
    round_parameters(model, torch.float16)
    for p in model.parameters():
        if p.requires_grad:
            p.data = p.data.half()
    if family.endswith("t5"):
        model.generation_config.eos_token_id = [1, 5, 9, 13, 17, 21]
    model.save_pretrained(folder, safe_serialization=True)
    model = type(model).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    random = np.random.default_rng(seed)
    vocabulary = getattr(config, "decoder_vocab_size", None) or config.vocab_size
    sources, targets = draw(config.vocab_size, LENGTHS, random), draw(vocabulary, TARGETS, random)
    with torch.no_grad():
        logits = torch.cat([
            model(input_ids=torch.tensor([s]), attention_mask=torch.ones(1, len(s), dtype=torch.long),
                  decoder_input_ids=torch.tensor([t])).logits[0] for s, t in zip(sources, targets)])
    save(folder, sources, targets, logits)
    if family == "bart":
        save_tokenizer(folder)
    if vocabulary != config.vocab_size:
        print(f"{family:12} logits {tuple(logits.shape)} up to {logits.abs().max():.2f}")
        return  # generate() has one vocabulary
    # Ids that are special stay out of the sources: generate() would take padding for padding.
    sources = [random.integers(3, min(config.vocab_size, 52), n).tolist() for n in random.integers(1, 20, 20)]
    ends = set(np.atleast_1d(model.generation_config.eos_token_id).tolist())
    searches = [dict(setting, results=search(model, sources, setting, ends)) for setting in SEARCHES]
    text = json.dumps(dict(sources=sources, searches=searches), separators=(",", ":"))
    (folder / "beams.json").write_text(text + "\n")
    lengths = [len(b["tokens"]) for s in searches for r in s["results"] for b in r]
    print(f"{family:12} logits {tuple(logits.shape)} up to {logits.abs().max():.2f}; results of {min(lengths)} to "
          f"{max(lengths)} tokens, {sum(n < 20 for n in lengths)} of {len(lengths)} end by themselves")


def sinusoids(length, width):
    place = torch.arange(length, dtype=torch.float64)[:, None]
    angle = place * 10000 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    return torch.stack([angle.sin(), angle.cos()], -1).reshape(length, width).float()


def residual(body, source, target, mask):
    """ResiDual (Xie et al. 2023) from the weights of a torch.nn.Transformer, by its formula."""
    def stack(layers, x, final, own_mask, memory):
        total = x
        for layer in layers:
            parts = [(layer.norm1, lambda x: layer.self_attn(x, x, x, attn_mask=own_mask)[0])]
            if memory is not None:
                parts.append((layer.norm2, lambda x: layer.multihead_attn(x, memory, memory)[0]))
            parts.append((layer.norm2 if memory is None else layer.norm3,
                          lambda x: layer.linear2(torch.relu(layer.linear1(x)))))
            for norm, part in parts:
                added = part(x)
                x, total = norm(x + added), total + added
        return x + final(total)

    memory = stack(body.encoder.layers, source, body.encoder.norm, None, None)
    return stack(body.decoder.layers, target, body.decoder.norm, mask, memory)


def make_own(name, norms, seed):
    """torch.nn.Transformer, which norms at the end of both stacks, with an untied output that has a bias."""
    width, heads, hidden, vocabulary = 32, 4, 40, 31
    torch.manual_seed(seed)
    body = torch.nn.Transformer(width, heads, 2, 2, hidden, dropout=0.0, norm_first=norms == "pre",
                                batch_first=True)
    tokens, head = torch.nn.Embedding(vocabulary, width), torch.nn.Linear(width, vocabulary)
    with torch.no_grad():
        tokens.weight.mul_(0.3)
        for part in (body, head):
            for n, p in part.named_parameters():
                if p.dim() == 1:
                    p.copy_(0.2 * torch.randn(p.shape) + (1.0 if "norm" in n and n.endswith("weight") else 0.0))
        head.weight.mul_(5)
    body.eval()

    tensors = {"shared.weight": tokens.weight, "lm_head.weight": head.weight, "lm_head.bias": head.bias}
    names = {"self_attn": "self_attn", "multihead_attn": "encoder_attn", "linear1": "fc1", "linear2": "fc2"}
    for n, p in body.named_parameters():
        stack, *rest = n.split(".")
        if rest[0] == "norm":
            tensors[f"{stack}.layer_norm.{rest[1]}"] = p
            continue
        place, part, last = f"{stack}.layers.{rest[1]}", rest[2], rest[-1]
        if last.startswith("in_proj"):
            for letter, piece in zip("qkv", p.chunk(3)):
                tensors[f"{place}.{names[part]}.{letter}_proj.{last.split('_')[-1]}"] = piece
        elif part.endswith("_attn"):
            tensors[f"{place}.{names[part]}.out_proj.{last}"] = p
        elif part.startswith("norm"):
            known = ["self_attn_layer_norm", "final_layer_norm"] if stack == "encoder" else [
                "self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm"]
            tensors[f"{place}.{known[int(part[4:]) - 1]}.{last}"] = p
        else:
            tensors[f"{place}.{names[part]}.{last}"] = p
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file({n: p.detach().clone().contiguous() for n, p in tensors.items()}, folder / "model.safetensors")
    config = dict(architectures=["Transformer"], d_model=width, encoder_layers=2, decoder_layers=2,
                  encoder_attention_heads=heads, decoder_attention_heads=heads, encoder_ffn_dim=hidden,
                  decoder_ffn_dim=hidden, max_position_embeddings=40, norm=norms, final_norm=True,
                  positions="sinusoidal", tie_word_embeddings=False, decoder_start_token_id=1, eos_token_id=2)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    table = sinusoids(40, width)
    random = np.random.default_rng(seed)
    sources, targets = draw(vocabulary, LENGTHS, random), draw(vocabulary, TARGETS, random)

    def embed(ids):
        return tokens(torch.tensor([ids])) * math.sqrt(width) + table[: len(ids)]

    def answer(source, target):
        mask = torch.nn.Transformer.generate_square_subsequent_mask(len(target))
        if norms == "residual":
            return head(residual(body, embed(source), embed(target), mask))[0]
        return head(body(embed(source), embed(target), tgt_mask=mask, tgt_is_causal=True))[0]

    with torch.no_grad():
        logits = torch.cat([answer(s, t) for s, t in zip(sources, targets)])
    save(folder, sources, targets, logits)
    print(f"{name:12} logits {tuple(logits.shape)} up to {logits.abs().max():.2f}")


if __name__ == "__main__":
    wanted = sys.argv[1:] or [*FAMILIES, "transformer-post", "transformer-pre", "transformer-residual"]
    for n, family in enumerate(wanted):
        if family.startswith("transformer"):
            make_own(family, family.split("-")[1], seed=7)
        else:
            make(family, seed=300 + list(FAMILIES).index(family))
