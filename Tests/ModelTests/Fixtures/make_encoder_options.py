"""Makes what tests of XLNet's and Longformer's own arguments compare with; the models are those of make_encoders.py.

    python make_encoder_options.py         (packages: requirements.txt; a second; same bytes every time)

encoder-options/
    xlnet.orders.npy     int32   [sum lengths]      each sequence's places in the order in which they are predicted
    xlnet.targets.npy    int32   [sequences, 2]     first and number of the last places of that order that are predicted
    xlnet.content.npy    float32 [sum lengths, 36]  states with a permutation mask: a token sees those before it in the order
    xlnet.query.npy      float32 [targets, 36]      the query stream at the targets, in the order's own order
    xlnet.next.content.npy, xlnet.next.query.npy    the same for a second segment (the ids reversed), with the first's memory
    longformer.npy       float32 [sum lengths, 36]  states with the global tokens GLOBAL
Ids and lengths are those of encoders/xlnet-masked and encoders/longformer-token; each sequence is computed alone.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
torch.set_num_threads(1)
GLOBAL = [[0, 5], [0], [19, 3, 4], []]


def load(kind, name):
    folder = HERE / "encoders" / name
    model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    lengths = np.load(folder / "lengths.npy").tolist()
    ends = np.cumsum(lengths)[:-1]
    parts = [np.split(np.load(folder / f"{file}.npy"), ends) if (folder / f"{file}.npy").exists() else None
             for file in ("batch", "segments")]
    return model, *parts


def long(array):
    return torch.tensor(array.astype(np.int64))[None]


def xlnet(save):
    model, ids, segments = load("XLNetModel", "xlnet-masked")
    random = np.random.default_rng(7)
    orders, targets, states = [], [], {"content": [], "query": [], "next.content": [], "next.query": []}
    for row, kinds in zip(ids, segments):
        order = random.permutation(len(row))
        rank = np.argsort(order)
        mask = torch.tensor(rank[None, :] >= rank[:, None]).float()[None]  # [1, i, j]: 1 hides j from i
        count = min(len(row) - 1, 3)  # the first of the order sees nothing and is no target
        places = order[len(row) - count:]
        mapping = torch.zeros(1, count, len(row))
        mapping[0, torch.arange(count), torch.tensor(places.astype(np.int64))] = 1
        plain = dict(input_ids=long(row), token_type_ids=long(kinds))
        later = dict(input_ids=long(row[::-1].copy()), token_type_ids=long(kinds), use_mems=True)
        with torch.no_grad():
            memory = model(**plain, use_mems=True).mems
            for name, inputs in (("", plain), ("next.", later | dict(mems=memory))):
                states[name + "content"].append(model(**inputs, perm_mask=mask).last_hidden_state[0])
                if count:
                    states[name + "query"].append(
                        model(**inputs, perm_mask=mask, target_mapping=mapping).last_hidden_state[0])
        orders.append(order)
        targets.append([len(row) - count, count])
    save("xlnet.orders", np.concatenate(orders).astype(np.int32))
    save("xlnet.targets", np.array(targets, np.int32))
    for name, parts in states.items():
        save(f"xlnet.{name}", torch.cat(parts).numpy())


def longformer(save):
    model, ids, _ = load("LongformerModel", "longformer-token")
    states = []
    for row, places in zip(ids, GLOBAL):
        mask = torch.zeros(1, len(row), dtype=torch.long)
        mask[0, places] = 1
        with torch.no_grad():
            states.append(model(input_ids=long(row), attention_mask=torch.ones_like(mask),
                                global_attention_mask=mask).last_hidden_state[0])
    save("longformer", torch.cat(states).numpy())


if __name__ == "__main__":
    transformers.utils.logging.set_verbosity_error()
    folder = HERE / "encoder-options"
    folder.mkdir(exist_ok=True)

    def save(name, array):
        np.save(folder / f"{name}.npy", array)
        print(name, array.shape)

    xlnet(save)
    longformer(save)
