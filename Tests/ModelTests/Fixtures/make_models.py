"""Makes the tiny random-weight models of this folder, with the answers that `transformers` gives for them.

    python make_models.py                 (packages: requirements.txt; a few seconds; same bytes every time)

Each folder holds a Hugging Face model (config.json, model.safetensors) or a model.gguf, and
    tokens.npy  int32   [tokens]           input ids
    logits.npy  float32 [tokens, vocab]    computed in f32, eval mode
    layers.npy  float32 [layers + 1, tokens, hidden]   (some) embedding, then the output of each layer, before the final norm
    fixture.json                           sizes, range of the logits, and the largest f32-against-f64 difference (Llama keeps
                                           its norms and angles in f32 even there)
bert-padded/ has no model of its own: it runs bert/ on a batch of three unequal lengths; "ragged" means that padding is left out:
    batch.npy   int32   [3, longest]       ids, padded with 0        lengths.npy int32 [3]
    logits.npy  float32 [sum lengths, vocab]   hidden.npy float32 [sum lengths, hidden]   both ragged
    pooled.npy  float32 [3, hidden]        mean of the real tokens' hidden states

Every parameter is drawn at random, gains and biases too: fresh models have unit gains and zero biases, which hide a forgotten one.
"""

import copy
import json
import shutil
import warnings
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM, BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM,
)
from transformers.utils import logging

HERE = Path(__file__).parent
QUANTS = gguf.GGMLQuantizationType
torch.set_num_threads(1)
logging.set_verbosity_error()
warnings.filterwarnings("ignore")


def perturb(model, seed):
    """Draws every parameter: matrices ~ 1/sqrt(fan in), gains ~ 1, biases ~ 0, so that logits stay within about ±5."""
    generator = torch.Generator().manual_seed(seed)

    def normal(parameter, std, mean=0.0):
        with torch.no_grad():
            parameter.copy_(mean + std * torch.randn(parameter.shape, generator=generator))

    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue  # a table of sines
        if name.endswith("bias"):
            normal(p, 0.15)
        elif p.dim() == 1:
            normal(p, 0.2, mean=1.0)
        elif "embed" in name or name.endswith(("wte.weight", "wpe.weight")):
            normal(p, 1.6 / p.shape[1] ** 0.5)
        else:
            fan_in = p.shape[0] if isinstance(model, GPT2LMHeadModel) else p.shape[1]
            normal(p, 1.3 / fan_in ** 0.5)
    return model.eval()


def round_parameters(model, dtype):
    """Rounds the parameters to `dtype`, kept in f32: the answers are then those of the stored file.

    `model.to(dtype).float()` would also round RoPE's frequencies, which are no parameters and are in no file.
    """
    with torch.no_grad():
        for p in model.parameters():
            if p.requires_grad:
                p.copy_(p.to(dtype))


def run(model, **inputs):
    with torch.no_grad():
        return model(**inputs).logits[0]


def record(folder, model, tokens, layers=None):
    """Writes tokens, logits, the states after each module in `layers`, and what f64 says of them."""
    ids = torch.tensor(tokens)[None]
    states, hooks = [], []
    if layers is not None:
        first, *_ = layers
        hooks.append(first.register_forward_pre_hook(lambda m, args, kwargs: states.append(
            (args[0] if args else kwargs["hidden_states"])[0].clone()), with_kwargs=True))
        for layer in layers:
            hooks.append(layer.register_forward_hook(lambda m, args, out: states.append(
                (out[0] if isinstance(out, tuple) else out).reshape(len(tokens), -1).clone())))
    logits = run(model, input_ids=ids)
    for hook in hooks:
        hook.remove()
    try:
        exact = run(model.double(), input_ids=ids)
    except RuntimeError:  # MPT masks by a number that f32 has not
        exact = logits
    model.float()
    assert logits.abs().max() < 12 and logits.std() > 0.5, (folder, logits.abs().max(), logits.std())

    np.save(HERE / folder / "tokens.npy", np.array(tokens, np.int32))
    np.save(HERE / folder / "logits.npy", logits.numpy())
    if states:
        np.save(HERE / folder / "layers.npy", torch.stack(states).numpy())
    describe(folder, tokens=len(tokens), vocabulary=logits.shape[-1],
             largest_logit=logits.abs().max().item(), f32_against_f64=(logits - exact).abs().max().item())
    return logits


def describe(folder, **facts):
    facts = {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in facts.items()}
    (HERE / folder / "fixture.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(f"{folder:16}", facts)


def save(folder, model, dtype, tokens, layers=None):
    """A Hugging Face folder whose reload gives the same logits, bit for bit."""
    shutil.rmtree(HERE / folder, ignore_errors=True)
    round_parameters(model, dtype)
    copy.deepcopy(model).to(dtype).save_pretrained(HERE / folder, safe_serialization=True)
    logits = record(folder, model, tokens, layers)
    again = type(model).from_pretrained(
        HERE / folder, dtype=torch.float32, attn_implementation=model.config._attn_implementation).eval()
    assert torch.equal(run(again, input_ids=torch.tensor(tokens)[None]), logits), folder


def ids(count, vocabulary, seed):
    """Random ids, with the first and the last of the vocabulary and a repetition among them."""
    tokens = np.random.default_rng(seed).integers(0, vocabulary, count).tolist()
    tokens[3], tokens[5], tokens[-1], tokens[9] = 0, vocabulary - 1, vocabulary - 1, tokens[8]
    return tokens


# MARK: GGUF, in llama.cpp's names and layouts


def permuted(weight, heads):
    """llama.cpp stores q and k with the two halves of a head interleaved, so that RoPE turns adjacent pairs."""
    rows, columns = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def write_gguf(folder, architecture, fill, tensors):
    """`tensors`: name → (array, type). Returns what a reader gets back: name → f32 array."""
    shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / folder).mkdir()
    path = HERE / folder / "model.gguf"
    writer = gguf.GGUFWriter(path, architecture)
    fill(writer)
    for name, (array, kind) in tensors.items():
        array = np.ascontiguousarray(array, np.float32)
        if kind == QUANTS.F32:
            writer.add_tensor(name, array)
        else:
            data = gguf.quants.quantize(array, kind)
            writer.add_tensor(name, data, raw_shape=data.shape if kind != QUANTS.F16 else None, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    back = {t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    for name, (array, _) in tensors.items():
        assert back[name].shape == array.shape, (name, back[name].shape, array.shape)
    return back


def llama_gguf(folder, model, kind_of, tokens):
    """Writes a Llama as GGUF; the logits are those of the dequantised weights."""
    c, state = model.config, {k: v.numpy() for k, v in model.state_dict().items()}
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
    if not c.tie_word_embeddings:
        names["output"] = "lm_head"
    for n in range(c.num_hidden_layers):
        layer = f"model.layers.{n}."
        names |= {
            f"blk.{n}.attn_norm": layer + "input_layernorm", f"blk.{n}.attn_q": layer + "self_attn.q_proj",
            f"blk.{n}.attn_k": layer + "self_attn.k_proj", f"blk.{n}.attn_v": layer + "self_attn.v_proj",
            f"blk.{n}.attn_output": layer + "self_attn.o_proj", f"blk.{n}.ffn_norm": layer + "post_attention_layernorm",
            f"blk.{n}.ffn_gate": layer + "mlp.gate_proj", f"blk.{n}.ffn_up": layer + "mlp.up_proj",
            f"blk.{n}.ffn_down": layer + "mlp.down_proj",
        }
    heads = {"attn_q": c.num_attention_heads, "attn_k": c.num_key_value_heads}

    def fill(w):
        w.add_vocab_size(c.vocab_size)
        w.add_context_length(c.max_position_embeddings)
        w.add_embedding_length(c.hidden_size)
        w.add_block_count(c.num_hidden_layers)
        w.add_feed_forward_length(c.intermediate_size)
        w.add_head_count(c.num_attention_heads)
        w.add_head_count_kv(c.num_key_value_heads)
        w.add_layer_norm_rms_eps(c.rms_norm_eps)
        w.add_rope_dimension_count(c.head_dim)
        w.add_rope_freq_base(c.rope_theta)

    tensors = {}
    for name, source in names.items():
        array = state[source + ".weight"]
        if (role := name.split(".")[-1]) in heads:
            array = permuted(array, heads[role])
        tensors[name + ".weight"] = (array, QUANTS.F32 if array.ndim == 1 else kind_of(name))
    back = write_gguf(folder, "llama", fill, tensors)

    for name, source in names.items():
        array = back[name + ".weight"]
        if (role := name.split(".")[-1]) in heads:  # the inverse of `permuted`: evens first, then odds
            rows, columns = array.shape
            array = array.reshape(heads[role], rows // heads[role] // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)
        state[source + ".weight"] = array
    if c.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    finish_gguf(folder, model, tokens)


def gpt2_gguf(folder, model, kind, tokens):
    """Writes a GPT-2 as GGUF: Conv1D weights are transposed to [out, in]; the head is written out, as llama.cpp's converter does."""
    c, state = model.config, {k: v.numpy() for k, v in model.state_dict().items()}
    tensors = {"token_embd.weight": state["transformer.wte.weight"], "position_embd.weight": state["transformer.wpe.weight"],
               "output.weight": state["lm_head.weight"], "output_norm.weight": state["transformer.ln_f.weight"],
               "output_norm.bias": state["transformer.ln_f.bias"]}
    for n in range(c.n_layer):
        for theirs, ours in {"attn_norm": "ln_1", "attn_qkv": "attn.c_attn", "attn_output": "attn.c_proj",
                             "ffn_norm": "ln_2", "ffn_up": "mlp.c_fc", "ffn_down": "mlp.c_proj"}.items():
            tensors[f"blk.{n}.{theirs}.weight"] = state[f"transformer.h.{n}.{ours}.weight"].T
            tensors[f"blk.{n}.{theirs}.bias"] = state[f"transformer.h.{n}.{ours}.bias"]

    def fill(w):
        w.add_context_length(c.n_positions)
        w.add_embedding_length(c.n_embd)
        w.add_block_count(c.n_layer)
        w.add_feed_forward_length(4 * c.n_embd)
        w.add_head_count(c.n_head)
        w.add_layer_norm_eps(c.layer_norm_epsilon)

    back = write_gguf(folder, "gpt2", fill,
                      {k: (v, QUANTS.F32 if v.ndim == 1 else kind) for k, v in tensors.items()})
    for name, array in tensors.items():
        assert np.array_equal(back[name], array), name  # the model's weights are f16 already
    record(folder, model, tokens)


def finish_gguf(folder, model, tokens):
    """Records the logits, and asserts that transformers' own GGUF reader gives the same."""
    logits = record(folder, model, tokens)
    theirs = AutoModelForCausalLM.from_pretrained(HERE / folder, gguf_file="model.gguf", dtype=torch.float32).eval()
    again = run(theirs, input_ids=torch.tensor(tokens)[None])
    assert torch.allclose(again, logits, atol=1e-5, rtol=0), (folder, (again - logits).abs().max())


# MARK: the models


def main():
    llama = perturb(LlamaForCausalLM(LlamaConfig(
        hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=8, intermediate_size=76,
        num_hidden_layers=3, vocab_size=151, max_position_embeddings=128, rope_theta=10000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)), seed=1)
    tokens = ids(37, 151, seed=11)
    save("llama-tied", llama, torch.float32, tokens, layers=llama.model.layers)
    llama_gguf("llama-gguf", llama, lambda name: QUANTS.F32, tokens)

    # heads × head size (64) ≠ hidden (40), biases on q, k, v and o, every head its own keys; stored as bf16
    untied = perturb(LlamaForCausalLM(LlamaConfig(
        hidden_size=40, num_attention_heads=4, num_key_value_heads=4, head_dim=16, intermediate_size=72,
        num_hidden_layers=3, vocab_size=97, max_position_embeddings=128, rope_theta=100000.0, rms_norm_eps=1e-6,
        attention_bias=True, mlp_bias=False, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)), seed=2)
    save("llama-untied", untied, torch.bfloat16, ids(33, 97, seed=12))

    # rows of 64 and 96 values: whole blocks of 32 in every type of block
    quantised = perturb(LlamaForCausalLM(LlamaConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=96,
        num_hidden_layers=3, vocab_size=127, max_position_embeddings=128, rope_theta=10000.0, rms_norm_eps=1e-5,
        tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)), seed=3)
    kinds = {"token_embd": QUANTS.Q8_0, "output": QUANTS.Q4_1, "attn_q": QUANTS.Q4_0, "attn_k": QUANTS.Q4_1,
             "attn_v": QUANTS.Q8_0, "attn_output": QUANTS.Q4_1, "ffn_gate": QUANTS.Q4_0, "ffn_up": QUANTS.Q4_1,
             "ffn_down": QUANTS.Q8_0}
    rotation = [QUANTS.Q4_0, QUANTS.Q4_1, QUANTS.Q8_0]

    def kind_of(name):  # each layer shifts the types by one, so that each role meets each type
        parts = name.split(".")
        kind = kinds[parts[-1]]
        return kind if len(parts) == 1 else rotation[(rotation.index(kind) + int(parts[1])) % 3]

    llama_gguf("llama-quantised", quantised, kind_of, ids(35, 127, seed=13))

    shutil.rmtree(HERE / "llama-sharded", ignore_errors=True)  # the tied one in several files
    LlamaForCausalLM.from_pretrained(HERE / "llama-tied", dtype="auto").save_pretrained(
        HERE / "llama-sharded", max_shard_size="100KB")

    gpt2 = perturb(GPT2LMHeadModel(GPT2Config(
        n_embd=36, n_head=4, n_layer=3, n_positions=64, vocab_size=131, activation_function="gelu_new",
        bos_token_id=0, eos_token_id=0)), seed=4)
    tokens = ids(39, 131, seed=14)
    save("gpt2", gpt2, torch.float16, tokens, layers=gpt2.transformer.h)
    gpt2_gguf("gpt2-gguf", gpt2, QUANTS.F16, tokens)

    bert = perturb(BertForMaskedLM(BertConfig(
        hidden_size=48, num_attention_heads=3, intermediate_size=90, num_hidden_layers=3, vocab_size=113,
        type_vocab_size=2, max_position_embeddings=64, hidden_act="gelu", pad_token_id=0)), seed=5)
    save("bert", bert, torch.float16, ids(35, 113, seed=15))
    padded(bert, lengths=[9, 33, 20])


def padded(bert, lengths):
    folder = "bert-padded"
    shutil.rmtree(HERE / folder, ignore_errors=True)
    (HERE / folder).mkdir()
    batch = np.zeros((len(lengths), max(lengths)), np.int32)
    for row, n in enumerate(lengths):
        batch[row, :n] = np.random.default_rng(20 + row).integers(1, 113, n)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    inputs = {"input_ids": torch.tensor(batch).long(), "attention_mask": mask.long()}

    def answers(model):
        with torch.no_grad():
            out = model(**inputs, output_hidden_states=True)
        hidden = out.hidden_states[-1]
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return out.logits[mask], hidden[mask], pooled

    logits, hidden, pooled = answers(bert)
    exact = answers(bert.double())
    bert.float()
    for row, n in enumerate(lengths):  # padding changes nothing
        alone = run(bert, input_ids=inputs["input_ids"][row:row + 1, :n])
        start = sum(lengths[:row])
        assert torch.allclose(alone, logits[start:start + n], atol=1e-5), row
    np.save(HERE / folder / "batch.npy", batch)
    np.save(HERE / folder / "lengths.npy", np.array(lengths, np.int32))
    np.save(HERE / folder / "logits.npy", logits.numpy())
    np.save(HERE / folder / "hidden.npy", hidden.numpy())
    np.save(HERE / folder / "pooled.npy", pooled.numpy())
    describe(folder, model="bert", lengths=lengths, largest_logit=logits.abs().max().item(),
             f32_against_f64=max((a - b).abs().max().item() for a, b in zip((logits, hidden, pooled), exact)))


if __name__ == "__main__":
    main()
