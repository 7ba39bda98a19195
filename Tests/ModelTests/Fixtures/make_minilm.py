"""Makes minilm/: what `sentence-transformers` answers for all-MiniLM-L6-v2.

    python make_minilm.py all-MiniLM-L6-v2        (packages: requirements.txt; seconds; `make demo` fetches the folder)

minilm/sentences.json    the sentences            minilm/ids.json   their ids, truncated to 256
minilm/embeddings.npy    f32 [sentences, 384]: mean of the tokens' hidden states, divided by its length

Each sentence is embedded alone; the same in one padded batch differs by less than 1e-6, which is asserted.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

OUT = Path(__file__).parent / "minilm"
OUT.mkdir(exist_ok=True)
torch.set_num_threads(2)

SENTENCES = [
    "A cat sits outside.",
    "A kitten is sitting in front of the house.",
    "The stock market fell sharply on Monday.",
    "",
    "   \t \n  ",
    "a",
    "HELLO WORLD, THIS IS SHOUTED",
    "hello world, this is shouted",
    "Crème brûlée à la façon de l'été; naïve café, Ærøskøbing, Łódź, ẞ",
    "creme brulee a la facon de l'ete; naive cafe, ærøskøbing, łodz, ss",
    "\u0065\u0301 decomposed, \u00e9 composed",
    "Die Straße überquert den Fluß über die größte Brücke.",
    "我喜欢学习机器学习和自然语言处理。",
    "東京タワーは日本の東京都港区にある。",
    "한국어 문장을 하나 넣어 봅니다.",
    "Привет, как дела? Ёлка зелёная.",
    "السلام عليكم ورحمة الله",
    "नमस्ते दुनिया",
    "Emoji 😀👍🏽 and flags 🇫🇷, family 👨‍👩‍👧‍👦!",
    "mixed中文and English混在一起 in one文",
    "punctuation?!... (brackets) [more] {yet} <more> \"quotes\" 'single' — dashes–and/slashes\\back $%^&*_+=~`|#@",
    "numbers 1234567890 3.14159 1,000,000 ½ ² Ⅳ ٣ 1e-5 0x7f",
    "[CLS] special [MASK] tokens [SEP] in [UNK] text [PAD]",
    "tab\tand\u00a0no-break\u3000ideographic\u200bzero\u200dwidth\ufeff\u0000control\u0007\ufffd spaces",
    "pneumonoultramicroscopicsilicovolcanoconiosis antidisestablishmentarianism " + "x" * 120,
    " ".join(f"word{i % 7} and" if i % 3 else "the quick brown fox" for i in range(200)),  # more than 600 words
    "def f(x):\n    return x ** 2  # squares\n",
    "https://example.org/path?q=1&r=%20#top user.name+tag@example.com",
]


def main():
    model = SentenceTransformer(sys.argv[1], device="cpu")
    assert model.max_seq_length == 256
    with torch.no_grad():
        alone = np.concatenate([model.encode([s], batch_size=1) for s in SENTENCES])
        batch = model.encode(SENTENCES, batch_size=len(SENTENCES))
        ids = [model.tokenize([s])["input_ids"][0].tolist() for s in SENTENCES]
    assert np.abs(alone - batch).max() < 1e-6, np.abs(alone - batch).max()
    assert max(map(len, ids)) == 256 and np.allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    np.save(OUT / "embeddings.npy", alone.astype(np.float32))
    lines = lambda items: "[\n" + ",\n".join(json.dumps(i, ensure_ascii=False) for i in items) + "\n]\n"
    (OUT / "sentences.json").write_text("[\n" + ",\n".join(map(json.dumps, SENTENCES)) + "\n]\n")  # ASCII: no editor may normalise them
    (OUT / "ids.json").write_text(lines(ids))
    print(f"{len(SENTENCES)} sentences of {min(map(len, ids))} to {max(map(len, ids))} tokens")


main()
