"""Writes the tiny encoders and encoder–decoders of encoders/ and seq2seq/ that llama.cpp has names for as GGUF.

    python make_gguf.py                    (packages: requirements.txt; after make_encoders.py and make_seq2seq.py)

gguf/NAME.gguf holds the tensors of that folder in f32 under the names of the `gguf` package. What must come out of BERT is
beside the folder's own model; of T5, whose greatest distance has no field in GGUF and is 128, it is gguf/NAME.npy.
"""

import gguf
import numpy as np
from safetensors.numpy import load_file
import torch
from transformers import AutoConfig, T5ForConditionalGeneration

from make_models import HERE

ARCH = gguf.MODEL_ARCH
SKIP = ("pooler", "cls.", "position_ids", "encoder.embed_tokens", "decoder.embed_tokens")


def write(name, folder, arch, fill, layers):
    names = gguf.get_tensor_name_map(arch, layers)
    writer = gguf.GGUFWriter(HERE / "gguf" / f"{name}.gguf", gguf.MODEL_ARCH_NAMES[arch])
    fill(writer)
    for key, array in load_file(HERE / folder / "model.safetensors").items():
        if any(part in key for part in SKIP):
            continue
        found = [names.get_name(k, try_suffixes=(".weight", ".bias")) for k in (key, key.removeprefix("bert."))]
        assert any(found), key
        writer.add_tensor(found[0] or found[1], np.ascontiguousarray(array, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def bert(w, c):
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_head_count(c.num_attention_heads)
    w.add_layer_norm_eps(c.layer_norm_eps)
    w.add_causal_attention(False)
    w.add_pooling_type(gguf.PoolingType.CLS)


def t5(w, c):
    w.add_context_length(512)
    w.add_embedding_length(c.d_model)
    w.add_feed_forward_length(c.d_ff)
    w.add_block_count(c.num_layers)
    w.add_decoder_block_count(c.num_decoder_layers)
    w.add_head_count(c.num_heads)
    w.add_key_length(c.d_kv)
    w.add_value_length(c.d_kv)
    w.add_layer_norm_rms_eps(c.layer_norm_epsilon)
    w.add_relative_attn_buckets_count(c.relative_attention_num_buckets)
    w.add_decoder_start_token_id(c.decoder_start_token_id)
    w.add_eos_token_id(1)


def main():
    (HERE / "gguf").mkdir(exist_ok=True)
    config = AutoConfig.from_pretrained(HERE / "encoders/bert-masked")
    write("bert", "encoders/bert-masked", ARCH.BERT, lambda w: bert(w, config), config.num_hidden_layers)
    for name in ("t5", "flan-t5"):
        config = AutoConfig.from_pretrained(HERE / "seq2seq" / name)
        write(name, f"seq2seq/{name}", ARCH.T5, lambda w: t5(w, config),
              max(config.num_layers, config.num_decoder_layers))
        config.relative_attention_max_distance = 128
        folder = HERE / "seq2seq" / name
        model = T5ForConditionalGeneration.from_pretrained(folder, config=config, dtype=torch.float32).eval()
        pairs = zip(*(np.split(np.load(folder / f"{ids}.npy"), np.cumsum(np.load(folder / f"{lengths}.npy"))[:-1])
                      for ids, lengths in (("sources", "lengths"), ("targets", "target_lengths"))))
        with torch.no_grad():
            logits = [model(input_ids=torch.tensor(s).long()[None], decoder_input_ids=torch.tensor(t).long()[None])
                      .logits[0] for s, t in pairs]
        np.save(HERE / "gguf" / f"{name}.npy", torch.cat(logits).numpy())


if __name__ == "__main__":
    main()
