"""Makes a tiny random-weight model of every decoder-only architecture, with the logits that `transformers` gives for it.

    python make_decoders.py [NAME …]       (packages: requirements.txt; a minute; same bytes every time)

decoders/NAME is a Hugging Face folder as make_models.py makes them, decoders/NAME-gguf the same model as model.gguf, under the
names that the `gguf` package has for it, rearranged as llama.cpp's converter does. Sizes are odd, windows shorter than
the sequence, every parameter is perturbed.
"""

import json
import shutil
import sys

import gguf
import numpy as np
import torch
from safetensors.torch import save_file
from transformers import (
    BloomConfig, BloomForCausalLM, FalconConfig, FalconForCausalLM, Gemma2Config, Gemma2ForCausalLM, Gemma3Config,
    Gemma3ForCausalLM, Gemma3ForConditionalGeneration, Gemma3TextConfig, GemmaConfig, GemmaForCausalLM, GPTJConfig, GPTJForCausalLM, GPTNeoXConfig, GPTNeoXForCausalLM,
    LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, MixtralConfig, MixtralForCausalLM, MptConfig,
    MptForCausalLM, Olmo2Config, Olmo2ForCausalLM, OpenAIGPTConfig, OpenAIGPTLMHeadModel, OPTConfig, OPTForCausalLM,
    Phi3Config, Phi3ForCausalLM, PhiConfig, PhiForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen2MoeConfig,
    Qwen2MoeForCausalLM, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM, SmolLM3Config,
    SmolLM3ForCausalLM, StableLmConfig, StableLmForCausalLM, Starcoder2Config, Starcoder2ForCausalLM,
)

from make_models import HERE, QUANTS, ids, permuted, perturb, record, save, write_gguf

ARCH = gguf.MODEL_ARCH
CONV1D = ("c_attn", "c_proj", "c_fc")
llama = dict(hidden_size=48, num_attention_heads=6, num_key_value_heads=2, head_dim=8, intermediate_size=76,
             num_hidden_layers=2, vocab_size=101, max_position_embeddings=64, rms_norm_eps=1e-5, bos_token_id=1,
             eos_token_id=2)


plain = {k: v for k, v in llama.items() if k != "head_dim"}
stable = {k: v for k, v in plain.items() if k != "rms_norm_eps"}


def eager(config):
    config._attn_implementation = "eager"
    return config


def scaled(**scaling):
    return LlamaForCausalLM(LlamaConfig(**llama | dict(
        max_position_embeddings=scaling.pop("context", 64), rope_scaling=scaling, head_dim=16, hidden_size=40)))


def phi3(original, context, **others):
    return Phi3ForCausalLM(Phi3Config(
        **plain | dict(num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=context),
        original_max_position_embeddings=original, partial_rotary_factor=0.75, pad_token_id=0, rope_scaling=dict(
            type="longrope", short_factor=[1.0, 1.1, 1.3, 1.6, 2.0, 2.5], long_factor=[1.0, 1.4, 2.3, 4.0, 6.5, 9.0]),
        **others))


def gemma3_images():
    """The decoder of a model of text and images, beside the smallest part for these."""
    text = dict(hidden_size=16, intermediate_size=28, num_hidden_layers=2, sliding_window=5, vocab_size=101,
                rope_scaling=dict(rope_type="linear", factor=8.0))
    vision = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=8, patch_size=4)
    return Gemma3ForConditionalGeneration(Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4, image_token_index=100, boi_token_index=99,
        eoi_token_index=98))


def experts(config, **others):
    return config(**plain | dict(
        num_experts=5, num_experts_per_tok=2, moe_intermediate_size=28, num_key_value_heads=2) | others)


MODELS = {
    "mistral": lambda: MistralForCausalLM(MistralConfig(**llama, sliding_window=7)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(
        **{k: v for k, v in llama.items() if k != "head_dim"}, use_sliding_window=True, sliding_window=5,
        max_window_layers=1, tie_word_embeddings=True)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(
        **llama | dict(intermediate_size=44), num_local_experts=5, num_experts_per_tok=2, sliding_window=None)),
    "gemma": lambda: GemmaForCausalLM(GemmaConfig(**llama | dict(head_dim=12, num_key_value_heads=1))),
    "gemma2": lambda: Gemma2ForCausalLM(eager(Gemma2Config(
        **llama | dict(num_hidden_layers=3), sliding_window=6, query_pre_attn_scalar=10, attn_logit_softcapping=2.5,
        final_logit_softcapping=4.0))),
    "phi": lambda: PhiForCausalLM(PhiConfig(
        **{k: v for k, v in llama.items() if k not in ("head_dim", "rms_norm_eps")}, partial_rotary_factor=0.5,
        hidden_act="gelu_new")),
    "gpt-neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(
        hidden_size=48, num_attention_heads=3, intermediate_size=76, num_hidden_layers=2, vocab_size=101,
        max_position_embeddings=64, rotary_pct=0.25, rotary_emb_base=5000)),
    "gpt-neox-sequential": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(
        hidden_size=48, num_attention_heads=3, intermediate_size=76, num_hidden_layers=2, vocab_size=101,
        max_position_embeddings=64, rotary_pct=0.5, use_parallel_residual=False)),
    "gpt-j": lambda: GPTJForCausalLM(GPTJConfig(
        n_embd=48, n_head=3, n_layer=2, n_positions=64, vocab_size=101, rotary_dim=10, n_inner=70, bos_token_id=1,
        eos_token_id=2)),
    "opt": lambda: OPTForCausalLM(OPTConfig(
        hidden_size=48, num_attention_heads=3, ffn_dim=76, num_hidden_layers=2, vocab_size=101,
        max_position_embeddings=64, word_embed_proj_dim=48)),
    "opt-post": lambda: OPTForCausalLM(OPTConfig(
        hidden_size=48, num_attention_heads=3, ffn_dim=76, num_hidden_layers=2, vocab_size=101,
        max_position_embeddings=64, word_embed_proj_dim=28, do_layer_norm_before=False)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(
        hidden_size=48, n_head=6, n_layer=2, vocab_size=101, seq_length=64, bos_token_id=1, eos_token_id=2)),
    "mpt": lambda: MptForCausalLM(MptConfig(
        d_model=48, n_heads=6, n_layers=2, vocab_size=101, max_seq_len=64)),
    "falcon": lambda: FalconForCausalLM(FalconConfig(
        hidden_size=48, num_attention_heads=3, num_hidden_layers=2, vocab_size=101, max_position_embeddings=64,
        multi_query=True, parallel_attn=True, bias=False, alibi=False)),
    "falcon-new": lambda: FalconForCausalLM(FalconConfig(
        hidden_size=48, num_attention_heads=6, num_kv_heads=2, num_hidden_layers=2, vocab_size=101,
        max_position_embeddings=64, new_decoder_architecture=True, bias=False, alibi=False, ffn_hidden_size=76)),
    # Not eager: that adds the biases twice in transformers 4.57.
    "falcon-alibi": lambda: FalconForCausalLM(FalconConfig(
        hidden_size=48, num_attention_heads=3, num_hidden_layers=2, vocab_size=101, multi_query=False,
        parallel_attn=False, bias=True, alibi=True)),
    "gpt": lambda: OpenAIGPTLMHeadModel(OpenAIGPTConfig(
        n_embd=48, n_head=3, n_layer=2, n_positions=64, vocab_size=101)),
    "rope-linear": lambda: scaled(rope_type="linear", factor=3.0),
    "rope-llama3": lambda: scaled(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                  original_max_position_embeddings=32),
    "rope-yarn": lambda: scaled(rope_type="yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=2.0,
                                beta_slow=0.5),
    "rope-dynamic": lambda: scaled(rope_type="dynamic", factor=4.0, context=16),
    # Appended, so that the numbers of those above, which seed them, stay.
    "rope-longrope": lambda: scaled(
        rope_type="longrope", factor=4.0, short_factor=[1.0, 1.2, 1.5, 2.0, 2.4, 3.0, 3.1, 4.0], long_factor=[9.0] * 8),
    "llama-bias": lambda: LlamaForCausalLM(LlamaConfig(**llama, attention_bias=True, mlp_bias=True)),
    "mistral-full": lambda: MistralForCausalLM(MistralConfig(**llama | dict(head_dim=12), sliding_window=None)),
    "mixtral-window": lambda: MixtralForCausalLM(MixtralConfig(
        **llama | dict(intermediate_size=44), num_local_experts=3, num_experts_per_tok=1, sliding_window=6)),
    "falcon-sequential": lambda: FalconForCausalLM(FalconConfig(
        hidden_size=48, num_attention_heads=3, num_hidden_layers=2, vocab_size=101, max_position_embeddings=64,
        multi_query=True, parallel_attn=False, bias=True, alibi=False)),
    "falcon-one-norm": lambda: FalconForCausalLM(FalconConfig(
        hidden_size=48, num_attention_heads=6, num_kv_heads=2, num_hidden_layers=2, vocab_size=101,
        max_position_embeddings=64, new_decoder_architecture=True, num_ln_in_parallel_attn=1, bias=False, alibi=False,
        ffn_hidden_size=76)),
    "bloom-normed": lambda: BloomForCausalLM(BloomConfig(
        hidden_size=48, n_head=6, n_layer=2, vocab_size=101, seq_length=64, bos_token_id=1, eos_token_id=2,
        apply_residual_connection_post_layernorm=True)),
    "phi-normed": lambda: PhiForCausalLM(PhiConfig(
        **{k: v for k, v in plain.items() if k != "rms_norm_eps"}, partial_rotary_factor=0.5, hidden_act="gelu_new",
        qk_layernorm=True)),
    "mpt-clipped": lambda: MptForCausalLM(MptConfig(
        d_model=48, n_heads=6, n_layers=2, vocab_size=101, max_seq_len=64, attn_config=dict(clip_qkv=1.5))),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**llama | dict(head_dim=12), tie_word_embeddings=True)),
    "qwen3-window": lambda: Qwen3ForCausalLM(Qwen3Config(
        **llama, use_sliding_window=True, sliding_window=5, max_window_layers=1, attention_bias=True)),
    "phi3": lambda: phi3(16, 64, sliding_window=9),
    "phi3-short": lambda: phi3(48, 96),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(
        **llama | dict(hidden_size=40, num_attention_heads=4, head_dim=12, intermediate_size=52, num_hidden_layers=7),
        sliding_window=6, query_pre_attn_scalar=10, rope_local_base_freq=500.0, final_logit_softcapping=5.0,
        rope_scaling=dict(rope_type="linear", factor=4.0))),
    "starcoder2": lambda: Starcoder2ForCausalLM(Starcoder2Config(
        **{k: v for k, v in plain.items() if k != "rms_norm_eps"}, sliding_window=7)),
    "qwen2-moe": lambda: Qwen2MoeForCausalLM(experts(Qwen2MoeConfig, shared_expert_intermediate_size=36)),
    "qwen3-moe": lambda: Qwen3MoeForCausalLM(experts(Qwen3MoeConfig, head_dim=8, norm_topk_prob=True)),
    "qwen3-moe-mixed": lambda: Qwen3MoeForCausalLM(experts(
        Qwen3MoeConfig, head_dim=8, num_hidden_layers=4, decoder_sparse_step=2, mlp_only_layers=[3],
        norm_topk_prob=False)),
    "olmo2": lambda: Olmo2ForCausalLM(Olmo2Config(**plain)),
    "smollm3": lambda: SmolLM3ForCausalLM(SmolLM3Config(**plain | dict(num_hidden_layers=5), pad_token_id=0)),
    "smollm3-window": lambda: SmolLM3ForCausalLM(SmolLM3Config(
        **plain | dict(num_hidden_layers=3), pad_token_id=0, use_sliding_window=True, sliding_window=6,
        no_rope_layers=[1, 0, 1])),
    "stablelm": lambda: StableLmForCausalLM(StableLmConfig(**stable, partial_rotary_factor=0.5)),
    "stablelm-parallel": lambda: StableLmForCausalLM(StableLmConfig(
        **stable, partial_rotary_factor=0.25, use_qkv_bias=True, use_parallel_residual=True)),
    "gemma3-images": gemma3_images,
}
# llama.cpp's architecture of those that it has.
GGUF = {
    "qwen2": ARCH.QWEN2, "mixtral": ARCH.LLAMA, "gemma": ARCH.GEMMA, "gemma2": ARCH.GEMMA2, "phi": ARCH.PHI2,
    "gpt-neox": ARCH.GPTNEOX, "bloom": ARCH.BLOOM, "mpt": ARCH.MPT, "falcon": ARCH.FALCON, "falcon-new": ARCH.FALCON,
    "rope-llama3": ARCH.LLAMA, "rope-yarn": ARCH.LLAMA, "rope-linear": ARCH.LLAMA, "mistral": ARCH.LLAMA,
    "mistral-full": ARCH.LLAMA, "llama-bias": ARCH.LLAMA, "mpt-clipped": ARCH.MPT, "qwen3": ARCH.QWEN3,
    "phi3": ARCH.PHI3, "phi3-short": ARCH.PHI3, "gemma3": ARCH.GEMMA3, "starcoder2": ARCH.STARCODER2,
    "qwen2-moe": ARCH.QWEN2MOE, "qwen3-moe": ARCH.QWEN3MOE, "olmo2": ARCH.OLMO2, "smollm3": ARCH.SMOLLM3,
    "stablelm": ARCH.STABLELM, "stablelm-parallel": ARCH.STABLELM,
}
RMS = (ARCH.LLAMA, ARCH.QWEN2, ARCH.QWEN2MOE, ARCH.QWEN3, ARCH.QWEN3MOE, ARCH.PHI3, ARCH.GEMMA, ARCH.GEMMA2, ARCH.GEMMA3,
       ARCH.OLMO2, ARCH.SMOLLM3)
TURNED = (ARCH.LLAMA, ARCH.QWEN2, ARCH.QWEN2MOE, ARCH.QWEN3, ARCH.QWEN3MOE, ARCH.PHI3, ARCH.GPTNEOX, ARCH.PHI2,
          ARCH.STARCODER2, ARCH.OLMO2, ARCH.SMOLLM3, ARCH.STABLELM)
PERMUTED = (ARCH.LLAMA, ARCH.SMOLLM3)


def grouped(name, groups, heads, size):
    """Queries, keys and values that stand group by group, put in a row: all queries, all keys, all values."""
    per = heads // groups

    def change(array):
        parts = array.reshape(groups, per + 2, size, *array.shape[1:])
        rows = [parts[:, :per], parts[:, per:per + 1], parts[:, per + 1:]]
        return np.concatenate([r.reshape(-1, *array.shape[1:]) for r in rows])
    return change


def as_gguf(name, model, arch, tokens):
    c, state = model.config, {k: v.float().numpy() for k, v in model.state_dict().items()}
    get = lambda *names: next((getattr(c, n) for n in names if getattr(c, n, None) is not None), None)
    layers, heads = get("num_hidden_layers", "n_layers", "n_layer"), get("num_attention_heads", "n_heads", "n_head")
    width = get("hidden_size", "d_model")
    size = get("head_dim") or width // heads
    keys = get("num_key_value_heads", "num_kv_heads") or heads
    if name == "falcon":
        keys = 1
    names, tensors, experts = gguf.get_tensor_name_map(arch, layers), {}, {}
    for key, array in state.items():
        if key.endswith((".attn.bias", ".masked_bias", "rotary_emb.inv_freq")):
            continue
        if key == "lm_head.weight" and c.tie_word_embeddings:
            continue
        if ".experts." in key:
            layer, expert, part = key.split(".")[2], int(key.split(".")[5]), key.split(".")[6]
            experts.setdefault((int(layer), part), {})[expert] = array
            continue
        if arch in PERMUTED and ("q_proj" in key or "k_proj" in key):
            array = permuted(array.reshape(len(array), -1), heads if "q_proj" in key else keys).reshape(array.shape)
        if "shared_expert_gate" in key:
            array = array[0]
        if arch in (ARCH.GEMMA, ARCH.GEMMA2, ARCH.GEMMA3) and "norm" in key:
            array = array + 1
        if "query_key_value" in key:
            array = grouped(name, keys, heads, size)(array)
        known = [names.get_name(k, try_suffixes=(".weight", ".bias")) for k in (key, key.removeprefix("transformer."))]
        assert any(known), key
        tensors[known[0] or known[1]] = (array, QUANTS.F32)
    for (layer, part), each in experts.items():
        stem = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps", "gate_proj": "ffn_gate_exps",
                "down_proj": "ffn_down_exps", "up_proj": "ffn_up_exps"}[part]
        tensors[f"blk.{layer}.{stem}.weight"] = (np.stack([each[i] for i in sorted(each)]), QUANTS.F32)
    if name == "rope-llama3":  # what the converter makes of rope_scaling
        factors = model.model.rotary_emb.inv_freq.double()
        plain = 1.0 / 10000 ** (torch.arange(0, size, 2).double() / size)
        tensors["rope_freqs.weight"] = ((plain / factors).numpy(), QUANTS.F32)
    if arch == ARCH.PHI3:
        for kind in ("long", "short"):
            tensors[f"rope_factors_{kind}.weight"] = (np.array(c.rope_scaling[f"{kind}_factor"]), QUANTS.F32)

    def fill(w):
        w.add_context_length(get("max_position_embeddings", "max_seq_len", "seq_length"))
        w.add_embedding_length(width)
        w.add_block_count(layers)
        w.add_feed_forward_length(get("intermediate_size", "ffn_hidden_size") or 4 * width)
        w.add_head_count(heads)
        w.add_head_count_kv(keys)
        if arch in RMS:
            w.add_layer_norm_rms_eps(c.rms_norm_eps)
        else:
            w.add_layer_norm_eps(get("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon"))
        if get("head_dim"):
            w.add_key_length(size)
            w.add_value_length(size)
        if arch in TURNED:
            w.add_rope_freq_base(c.rope_theta)
            w.add_rope_dimension_count(int(size * (get("partial_rotary_factor", "rotary_pct") or 1)))
        if name == "mixtral":
            w.add_expert_count(c.num_local_experts)
            w.add_expert_used_count(c.num_experts_per_tok)
        if name.endswith("-moe"):
            w.add_expert_count(c.num_experts)
            w.add_expert_used_count(c.num_experts_per_tok)
            w.add_expert_feed_forward_length(c.moe_intermediate_size)
        if name == "qwen2-moe":
            w.add_expert_shared_feed_forward_length(c.shared_expert_intermediate_size)
        if name == "gemma2":
            w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        if name in ("gemma2", "gemma3"):
            w.add_final_logit_softcapping(c.final_logit_softcapping)
        if name in ("gemma2", "gemma3", "mistral", "starcoder2"):
            w.add_sliding_window(c.sliding_window)
        if name == "gemma3":
            w.add_rope_freq_base(c.rope_theta)
            w.add_float32("gemma3.rope.freq_base_swa", c.rope_local_base_freq)
            w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
            w.add_rope_scaling_factor(c.rope_scaling["factor"])
        if arch == ARCH.PHI3:  # as the converter has it: 0 for no window
            w.add_sliding_window(c.sliding_window or 0)
            w.add_rope_scaling_orig_ctx_len(c.original_max_position_embeddings)
            w.add_rope_scaling_attn_factors(model.model.rotary_emb.attention_scaling)
        if name == "mpt-clipped":
            w.add_clamp_kqv(c.attn_config.clip_qkv)
        if arch == ARCH.STABLELM:
            w.add_parallel_residual(c.use_parallel_residual)
        if arch == ARCH.MPT:
            w.add_max_alibi_bias(c.attn_config.alibi_bias_max)
        if name == "gpt-neox":
            w.add_parallel_residual(c.use_parallel_residual)
        if name in ("rope-yarn", "rope-linear"):
            kinds = {"yarn": gguf.RopeScalingType.YARN, "linear": gguf.RopeScalingType.LINEAR}
            w.add_rope_scaling_type(kinds[c.rope_scaling["rope_type"]])
            w.add_rope_scaling_factor(c.rope_scaling["factor"])
            if name == "rope-yarn":
                w.add_rope_scaling_orig_ctx_len(c.rope_scaling["original_max_position_embeddings"])
                w.add_float32(f"{gguf.MODEL_ARCH_NAMES[arch]}.rope.scaling.yarn_beta_fast", c.rope_scaling["beta_fast"])
                w.add_float32(f"{gguf.MODEL_ARCH_NAMES[arch]}.rope.scaling.yarn_beta_slow", c.rope_scaling["beta_slow"])

    write_gguf(f"decoders/{name}-gguf", gguf.MODEL_ARCH_NAMES[arch], fill, tensors)
    record(f"decoders/{name}-gguf", model, tokens)


class Decoder(torch.nn.Module):
    """The decoder of 2017 alone, by PyTorch's own layers."""

    def __init__(self, width, heads, inner, layers, vocabulary, context, pre, learned, tied, activation):
        super().__init__()
        self.settings = dict(
            architectures=["TransformerDecoder"], d_model=width, decoder_layers=layers, decoder_attention_heads=heads,
            decoder_ffn_dim=inner, max_position_embeddings=context, norm="pre" if pre else "post",
            positions="learned" if learned else "sinusoidal", activation_function=activation, tie_word_embeddings=tied,
            vocab_size=vocabulary)
        self.tokens = torch.nn.Embedding(vocabulary, width)
        self.places = torch.nn.Embedding(context, width) if learned else None
        layer = torch.nn.TransformerEncoderLayer(
            width, heads, inner, dropout=0, activation=activation, batch_first=True, norm_first=pre)
        self.stack = torch.nn.TransformerEncoder(
            layer, layers, norm=torch.nn.LayerNorm(width) if pre else None, enable_nested_tensor=False)
        self.head = None if tied else torch.nn.Linear(width, vocabulary)

    def forward(self, ids):
        width = self.tokens.weight.shape[1]
        x = self.tokens(ids) * width ** 0.5
        places = torch.arange(len(ids))
        if self.places is not None:
            x = x + self.places(places)
        else:
            angles = places[:, None].double() / 10000 ** (torch.arange(0, width, 2).double() / width)
            x = x + torch.stack([angles.sin(), angles.cos()], -1).reshape(len(ids), width).to(x)
        mask = torch.nn.Transformer.generate_square_subsequent_mask(len(ids)).to(x)
        x = self.stack(x[None], mask=mask, is_causal=True)[0]
        return self.head(x) if self.head else x @ self.tokens.weight.T

    def tensors(self):
        found = {"decoder.embed_tokens.weight": self.tokens.weight}
        if self.places is not None:
            found["decoder.embed_positions.weight"] = self.places.weight
        names = {"self_attn.out_proj": "self_attn.out_proj", "linear1": "fc1", "linear2": "fc2",
                 "norm1": "self_attn_layer_norm", "norm2": "final_layer_norm"}
        for n, layer in enumerate(self.stack.layers):
            for theirs, ours in names.items():
                module = layer.get_submodule(theirs)
                found[f"decoder.layers.{n}.{ours}.weight"] = module.weight
                found[f"decoder.layers.{n}.{ours}.bias"] = module.bias
            for kind in ("weight", "bias"):
                parts = getattr(layer.self_attn, f"in_proj_{kind}").chunk(3)
                for part, value in zip("qkv", parts):
                    found[f"decoder.layers.{n}.self_attn.{part}_proj.{kind}"] = value
        if self.stack.norm is not None:
            found |= {"decoder.layer_norm.weight": self.stack.norm.weight, "decoder.layer_norm.bias": self.stack.norm.bias}
        if self.head is not None:
            found |= {"lm_head.weight": self.head.weight, "lm_head.bias": self.head.bias}
        return {k: v.detach().clone().contiguous() for k, v in found.items()}


OWN = {
    "transformer-decoder": lambda: Decoder(48, 3, 76, 3, 101, 64, pre=False, learned=False, tied=True, activation="relu"),
    "character-decoder": lambda: Decoder(36, 2, 60, 6, 61, 48, pre=True, learned=True, tied=False, activation="gelu"),
}


def own(name, number):
    torch.manual_seed(number)
    model = perturb(OWN[name](), seed=100 + number)
    with torch.no_grad():
        model.tokens.weight.mul_(0.7)
    folder = HERE / "decoders" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    tokens = ids(33, model.settings["vocab_size"], seed=200 + number)
    with torch.no_grad():
        logits = model(torch.tensor(tokens))
    assert logits.abs().max() < 12 and logits.std() > 0.5, (name, logits.abs().max(), logits.std())
    (folder / "config.json").write_text(json.dumps(model.settings, indent=2) + "\n")
    save_file(model.tensors(), folder / "model.safetensors")
    np.save(folder / "tokens.npy", np.array(tokens, np.int32))
    np.save(folder / "logits.npy", logits.numpy())
    print(f"decoders/{name}", logits.abs().max().item())


def main(wanted):
    (HERE / "decoders").mkdir(exist_ok=True)
    for number, (name, make) in enumerate(MODELS.items()):
        if wanted and name not in wanted:
            continue
        torch.manual_seed(number)
        model = perturb(make(), seed=100 + number)
        if name == "gpt":
            with torch.no_grad():  # Conv1D: fan in is the first axis
                for key, p in model.named_parameters():
                    if p.dim() == 2 and any(part in key for part in CONV1D):
                        p.mul_((p.shape[1] / p.shape[0]) ** 0.5)
        if name.startswith("gemma"):
            with torch.no_grad():  # gains stand as their distance from 1
                for key, p in model.named_parameters():
                    if p.dim() == 1:
                        p.sub_(1)
                model.get_input_embeddings().weight.mul_(0.6)
        tokens = ids(33, 101, seed=200 + number)
        save(f"decoders/{name}", model, torch.float16, tokens)
        if name == "gemma3-images":  # published files say no more of the text than this
            path = HERE / "decoders" / name / "config.json"
            config = json.loads(path.read_text())
            said = ("hidden_size", "intermediate_size", "num_hidden_layers", "sliding_window", "rope_scaling", "model_type")
            config["text_config"] = {k: config["text_config"][k] for k in said}
            path.write_text(json.dumps(config, indent=2) + "\n")
        if name in GGUF:
            if name == "qwen2":  # GGUF has no field for windows that begin with a layer
                model.config.use_sliding_window, model.config.sliding_window = False, None
                model.config.layer_types = ["full_attention"] * model.config.num_hidden_layers
                model = Qwen2ForCausalLM(model.config).eval()
                model.load_state_dict(type(model).from_pretrained(HERE / "decoders/qwen2").float().state_dict())
            if name in ("gemma2", "gemma3"):  # the head's size is all that GGUF has of the scale
                state = model.state_dict()
                model.config.query_pre_attn_scalar = model.config.head_dim
                model = type(model)(model.config).eval()
                model.load_state_dict(state)
            as_gguf(name, model, GGUF[name], tokens)
    for number, name in enumerate(OWN):
        if not wanted or name in wanted:
            own(name, 50 + number)


if __name__ == "__main__":
    main(sys.argv[1:])
