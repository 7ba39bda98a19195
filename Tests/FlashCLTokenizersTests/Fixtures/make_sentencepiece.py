"""Makes the fixtures of SentencePiece's family, of offsets and of pairs, with `tokenizers` 0.22.2 and
`sentencepiece` 0.2.3 as the judges, and `transformers` 4.57.6 for families.json; `gguf` 0.19.0.

    python make_sentencepiece.py

Files; all lists over strings are in the order of span_texts.json:
  span_texts.json      200 of the texts of strings.json
  NAME.tokenizer.json  a small tokenizer.json
  NAME.model           a small SentencePiece model
  llama2.gguf          the same as GGUF holds it
  spans_NAME.json      of the two: for each text its ids, the offsets of its tokens and the decoded text, packed:
                       "ids": the ids of each text as one string, separated by spaces (special tokens added)
                       "places": their offsets: "length", or "gap+length" where a token does not begin at the
                       last one's end
                       "decoded": the decoded text without special tokens (unknown ones are ⁇ in a .model's), null
                       if it is the text itself
                       "pairs": [first, second, ids, segments, sources, offsets] of some pairs
  families.json        folders that have a SentencePiece model and no tokenizer.json: for each its files, and
                       "texts": [first, second or null, ids, segments]
"""

import io
import json
import pathlib
import tempfile
import unicodedata

import gguf
import sentencepiece
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from make_goldens import LLAMA3, PROSE

HERE = pathlib.Path(__file__).parent
CORPUS = [line.strip() for line in PROSE if line.strip()]
TEXTS = json.loads((HERE / "strings.json").read_text())
# The 199 shortest, which have all the odd characters, and one long word.
LONGEST = sorted(len(text) for text in TEXTS)[198]
PICKED = [text for text in TEXTS if len(text) <= LONGEST][:199] + ["ab" * 50]
PAIRS = [("Hello world", "How are you?"), ("", "second"), ("first", ""), ("é 漢字 😀", "  a  b "), ("a", "a")]

# --- models ----------------------------------------------------------------------------------------------------------


def rules(folds_case):
    """NMT-NFKC for what the texts hold; the whole of it takes 240 KB."""
    table = {"\t": " ", "\n": " ", "\r": " ", "\u000b": "", "\u0007": "", "\u200b": " ", "\u3000": " ", "\ufeff": ""}
    for text in PICKED:
        for length in (1, 2, 3):
            for start in range(len(text) - length + 1):
                source = text[start : start + length]
                target = unicodedata.normalize("NFKC", source)
                parts = "".join(table.get(c, c) for c in source)
                whole = target.casefold() if folds_case else target
                if whole not in (parts, source) and (length == 1 or unicodedata.combining(source[-1])) and "\0" not in source:
                    table[source] = whole
    def code(text):
        return " ".join(f"{ord(c):X}" for c in text)
    return "".join(f"{code(source)}\t{code(target)}\n" for source, target in sorted(table.items()))


def train(kind, **options):
    model = io.BytesIO()
    if name := options.pop("rules", None):
        file = pathlib.Path(tempfile.mkdtemp()) / "rules.tsv"
        file.write_text(rules(folds_case=name == "nfkc_cf"))
        options["normalization_rule_tsv"] = str(file)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS), model_writer=model, model_type=kind, minloglevel=2,
        num_threads=1, hard_vocab_limit=False, **options)
    message = proto(model.getvalue())
    message.normalizer_spec.ClearField("normalization_rule_tsv")  # the name of a temporary file
    return message.SerializeToString(deterministic=True)


MODELS = {
    # T5: unigram with pad, no begin; a user-defined piece.
    "t5": dict(kind="unigram", vocab_size=400, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, rules="nfkc", user_defined_symbols=["tion", "▁the▁"]),
    # Unigram that spells unknown characters by bytes.
    "unigram_bytes": dict(kind="unigram", vocab_size=600, byte_fallback=True, character_coverage=0.98,
                          rules="nfkc"),
    # Llama 2: BPE, bytes, text kept as it is.
    "llama2": dict(kind="bpe", vocab_size=600, byte_fallback=True, normalization_rule_name="identity",
                   remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True),
    # BPE without bytes: unknown characters are one token.
    "bpe": dict(kind="bpe", vocab_size=300, character_coverage=0.98, add_dummy_prefix=False, rules="nfkc"),
    # ALBERT: lower case.
    "albert": dict(kind="unigram", vocab_size=350, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
                   control_symbols=["[CLS]", "[SEP]", "[MASK]"], rules="nfkc_cf"),
    # Whole words, and characters.
    "words": dict(kind="word", vocab_size=120, normalization_rule_name="identity"),
    "characters": dict(kind="char", vocab_size=60, rules="nfkc", user_defined_symbols=["tion", "▁the▁"]),
}


def proto(model):
    from sentencepiece import sentencepiece_model_pb2 as format
    message = format.ModelProto()
    message.ParseFromString(model)
    return message


def scores(message):
    return [(piece.piece, piece.score) for piece in message.pieces]


def precompiled(message):
    return normalizers.Precompiled(message.normalizer_spec.precompiled_charsmap)


def template(tokenizer, single, pair, names):
    return processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(n, tokenizer.token_to_id(n)) for n in names])


def t5(message):
    tokenizer = Tokenizer(models.Unigram(scores(message), unk_id=2))
    tokenizer.normalizer = normalizers.Sequence([precompiled(message), normalizers.Replace(Regex(" {2,}"), "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>", AddedToken("<extra_id_0>", lstrip=True, rstrip=True)])
    tokenizer.post_processor = template(tokenizer, "$A </s>", "$A </s> $B </s>", ["</s>"])
    return tokenizer


def t5_old(message):
    tokenizer = t5(message)
    tokenizer.normalizer = precompiled(message)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")])
    return tokenizer


def xlm_roberta(message):
    """Bytes for what is unknown, and a segment for each text."""
    tokenizer = Tokenizer(models.Unigram(scores(message), unk_id=0, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Strip(right=False), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(replacement="▁", prepend_scheme="first")])
    tokenizer.add_special_tokens(["<s>", "</s>", "<unk>", AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = template(tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B </s>", ["<s>", "</s>"])
    return tokenizer


def albert(message):
    tokenizer = Tokenizer(models.Unigram(scores(message), unk_id=1))
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD(), normalizers.StripAccents(),
        normalizers.Lowercase(), precompiled(message), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.add_special_tokens(["[CLS]", "[SEP]", AddedToken("[MASK]", lstrip=True), "<unk>"])
    tokenizer.post_processor = template(
        tokenizer, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1", ["[CLS]", "[SEP]"])
    return tokenizer


def xlnet(message):
    tokenizer = albert(message)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFD(), precompiled(message), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation("isolated"), pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first")])
    tokenizer.post_processor = template(
        tokenizer, "$A:0 [SEP]:0 [CLS]:2", "$A:0 [SEP]:0 $B:1 [SEP]:1 [CLS]:2", ["[CLS]", "[SEP]"])
    return tokenizer


def merges(message):
    """The pairs of pieces that make a piece, best score first, as converters of SentencePiece's BPE list them."""
    known = {piece.piece: piece.score for piece in message.pieces if piece.type == 1}
    pairs = []
    for piece, score in known.items():
        splits = [(piece[:i], piece[i:]) for i in range(1, len(piece)) if piece[:i] in known and piece[i:] in known]
        pairs += [(-score, split) for split in splits]
    return [split for _, split in sorted(pairs, key=lambda pair: pair[0])]


def llama2(message):
    vocab = {piece.piece: id for id, piece in enumerate(message.pieces)}
    tokenizer = Tokenizer(models.BPE(vocab, merges(message), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = template(tokenizer, "<s> $A", "<s> $A <s>:1 $B:1", ["<s>"])
    return tokenizer


def gemma(message):
    """Unknown characters one by one, words cut before they are merged, whole words found."""
    vocab = {piece.piece: id for id, piece in enumerate(message.pieces)}
    pairs = merges(message)
    tokenizer = Tokenizer(models.BPE(vocab, pairs[: len(pairs) // 2], unk_token="<unk>", ignore_merges=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = template(tokenizer, "<s> $A </s>", "<s> $A </s> $B </s>", ["<s>", "</s>"])
    return tokenizer


def byte_level(pre, post):
    file = json.loads((HERE / "bpe.json").read_text())
    pieces = [p for p in file["pieces"] if p is not None]
    kept = {"".join(m) for m in file["merges"][:150]}
    # Whole words that the merges no longer reach are what ignore_merges is for.
    kept |= {p for p in pieces if len(p) == 1} | set(pieces[-40:])
    vocab = {piece: id for id, piece in enumerate(p for p in pieces if p in kept)}
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(m) for m in file["merges"][:150]], ignore_merges=True))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = post(tokenizer)
    return tokenizer


def word_ends():
    """The pieces and merges of bpe.json's words, without spaces before them and with `</w>` after them."""
    file = json.loads((HERE / "bpe.json").read_text())
    letters = sorted({p for p in file["pieces"] if p is not None and len(p) == 1})
    merges = [(a, b) for a, b in file["merges"] if "Ġ" not in a + b][:120]
    ends = [(a, b + "</w>") for a, b in merges]
    pieces = letters + [p + "</w>" for p in letters] + [a + b for pair in zip(merges, ends) for a, b in pair]
    known, usable = set(pieces), []
    for pair in (pair for pairs in zip(merges, ends) for pair in pairs):
        if pair[0] in known and pair[1] in known:
            usable.append(pair)
    return {piece: id for id, piece in enumerate(dict.fromkeys(pieces))}, usable


def gpt1():
    """GPT-1: BERT's words, characters merged, `</w>` after each word; of the byte alphabet ASCII alone is itself."""
    vocab, pairs = word_ends()
    plain = lambda piece: all(c.isascii() for c in piece)
    kept = {piece: id for id, piece in enumerate(["<unk>"] + [p for p in vocab if plain(p)])}
    tokenizer = Tokenizer(models.BPE(
        kept, [p for p in pairs if plain(p[0] + p[1])], unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=False))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    tokenizer.add_special_tokens(["<unk>"])
    return tokenizer


def clip():
    """CLIP: bytes with `</w>` after each word."""
    vocab, pairs = word_ends()
    tokenizer = Tokenizer(models.BPE(vocab, pairs, end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    tokenizer.post_processor = edges(tokenizer, trim_offsets=False, add_prefix_space=False)
    return tokenizer


def word_level():
    words = sorted({word for line in CORPUS for word in line.split()})[::2]
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, **{w: i + 1 for i, w in enumerate(words)}}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(["[UNK]"])
    return tokenizer


def edges(tokenizer, **options):
    return processors.RobertaProcessing(
        sep=("</s>", tokenizer.token_to_id("</s>")), cls=("<s>", tokenizer.token_to_id("<s>")), **options)


LLAMA3_WORDS = pre_tokenizers.Sequence(
    [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])

# --- goldens ---------------------------------------------------------------------------------------------------------


def pack(offsets):
    result, last = [], 0
    for start, end in offsets:
        result.append(f"{end - start}" if start == last else f"{start - last}+{end - start}")
        last = end
    return " ".join(result)


def words(numbers):
    return " ".join("-" if n is None else str(n) for n in numbers)


def goldens(tokenizer, decode=lambda text: text):
    encodings = [tokenizer.encode(text) for text in PICKED]
    decoded = [decode(tokenizer.decode(e.ids)) for e in encodings]
    pairs = []
    for first, second in PAIRS:
        e = tokenizer.encode(first, second)
        pairs.append([first, second, words(e.ids), words(e.type_ids), words(e.sequence_ids), pack(e.offsets)])
    return {"ids": [words(e.ids) for e in encodings], "places": [pack(e.offsets) for e in encodings],
            "decoded": [None if d == t else d for d, t in zip(decoded, PICKED)], "pairs": pairs}


def judged_by_sentencepiece(model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    ids, places, decoded = [], [], []
    for text in PICKED:
        pieces = processor.encode(text, return_type="proto").pieces
        ids.append(words(p.id for p in pieces))
        offsets, run, needed = [], 0, 0
        at = [len(text.encode()[:byte].decode(errors="ignore")) for byte in range(len(text.encode()) + 1)]
        for p in pieces:
            if not processor.is_byte(p.id):
                offsets.append((at[p.begin], at[p.end]))
                continue
            # A character spelled by bytes is the place of all of them here, there of the last alone.
            if run == 0:
                lead = int(p.piece[3:5], 16)
                needed = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            run += 1
            if run == needed:
                offsets += [(at[p.begin], at[p.end])] * run
                run = 0
        places.append(pack(offsets))
        text_again = processor.decode([p.id for p in pieces])
        decoded.append(None if text_again == text else text_again)
    return {"ids": ids, "places": places, "decoded": decoded, "pairs": []}


FAMILY_TEXTS = [
    ("Attention is a way to look back.", None), ("  It's  simple, Ünïted Ⅷ 漢字 ", None), ("model reads", "the sum"),
    ("the words", ""), ("100 or 1000 words,", "été"), ("", None)]


def families(built):
    """Each family's own tokenizer over the small models."""
    def of(tokenizer, type, files, config={}, **more):
        texts = []
        for first, second in FAMILY_TEXTS:
            encoded = tokenizer(first, second, return_token_type_ids=True)
            segments = encoded["token_type_ids"]
            if type in ("marian", "mbart"):  # they have none, and the lists are not of one length
                segments = [0] * len(encoded["input_ids"])
            texts.append([first, second, words(encoded["input_ids"]), words(segments)])
        return {"type": type, "files": files, "config": config, "texts": texts, **more}

    folder = pathlib.Path(tempfile.mkdtemp())
    def file(name):
        (folder / f"{name}.model").write_bytes(built[name])
        return str(folder / f"{name}.model")

    pieces = [piece.piece for piece in proto(built["t5"]).pieces]
    vocabulary = {piece: id for id, piece in enumerate(["</s>", "<unk>", *reversed(pieces[4:]), "<pad>", ">>fra<<"])}
    target = {piece: id for id, piece in enumerate(["</s>", "<unk>", *pieces[4:100], "<pad>"])}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "target_vocab.json").write_text(json.dumps(target))
    marian = transformers.MarianTokenizer(
        source_spm=file("t5"), target_spm=file("t5"), vocab=str(folder / "vocab.json"),
        target_vocab_file=str(folder / "target_vocab.json"), separate_vocabs=True)
    begin = dict(bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return {
        "t5": of(transformers.T5Tokenizer(file("t5"), extra_ids=10, legacy=True), "t5", {"spiece.model": "t5"},
                 {"extra_ids": 10}),
        "llama": of(transformers.LlamaTokenizer(file("llama2"), legacy=False, **begin), "llama",
                    {"tokenizer.model": "llama2"}),
        "albert": of(transformers.AlbertTokenizer(file("albert")), "albert", {"spiece.model": "albert"}),
        "xlm_roberta": of(transformers.XLMRobertaTokenizer(file("bpe")), "xlm-roberta",
                          {"sentencepiece.bpe.model": "bpe"}),
        "mbart": of(transformers.MBartTokenizer(file("bpe"), src_lang="de_DE"), "mbart",
                    {"sentencepiece.bpe.model": "bpe"}, {"src_lang": "de_DE"}),
        "deberta": of(transformers.DebertaV2Tokenizer(file("albert")), "deberta-v2", {"spm.model": "albert"}),
        "marian": of(marian, "marian", {"source.spm": "t5", "target.spm": "t5"}, vocab=list(vocabulary),
                     target_vocab=list(target), target_ids=words(marian(text_target="look back")["input_ids"])),
    }


def write_gguf(name, model):
    """The same model as GGUF's metadata; a file without tensors."""
    message = proto(model)
    writer = gguf.GGUFWriter(HERE / f"{name}.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_token_list([piece.piece.encode() for piece in message.pieces])
    writer.add_token_scores([piece.score for piece in message.pieces])
    writer.add_token_types([piece.type for piece in message.pieces])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write_gguf_bert():
    """The pieces of wordpiece.json as llama.cpp's converter spells them."""
    pieces = json.loads((HERE / "wordpiece.json").read_text())["pieces"]
    def phantom(piece):
        if piece.startswith("[") and piece.endswith("]") and len(piece) > 2:
            return piece
        return piece[2:] if piece.startswith("##") else "\u2581" + piece
    writer = gguf.GGUFWriter(HERE / "bert.gguf", "bert")
    writer.add_tokenizer_model("bert")
    writer.add_token_list([phantom(piece).encode() for piece in pieces])
    writer.add_token_types([3 if phantom(piece) == piece else 1 for piece in pieces])
    for add, piece in ((writer.add_bos_token_id, "[CLS]"), (writer.add_sep_token_id, "[SEP]"), (writer.add_unk_token_id, "[UNK]")):
        add(pieces.index(piece))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def write(name, value):
    (HERE / name).write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


def main():
    built = {name: train(**options) for name, options in MODELS.items()}
    for name, model in built.items():
        (HERE / f"{name}.model").write_bytes(model)
        write(f"spans_{name}.model.json", judged_by_sentencepiece(model))
    messages = {name: proto(model) for name, model in built.items()}
    ROBERTA = lambda t: edges(t, trim_offsets=True, add_prefix_space=True)
    SEQUENCE = lambda t: processors.Sequence(
        [processors.ByteLevel(trim_offsets=False), template(t, "<s> $A", "<s> $A <s>:1 $B:1", ["<s>"])])
    tokenizers = {
        "t5": t5(messages["t5"]), "t5_old": t5_old(messages["t5"]), "albert": albert(messages["albert"]),
        "xlnet": xlnet(messages["albert"]), "xlm_roberta": xlm_roberta(messages["unigram_bytes"]),
        "llama2": llama2(messages["llama2"]), "gemma": gemma(messages["bpe"]),
        "roberta": byte_level(pre_tokenizers.ByteLevel(add_prefix_space=True), ROBERTA),
        "llama3": byte_level(LLAMA3_WORDS, SEQUENCE), "gpt1": gpt1(), "clip": clip(), "word_level": word_level(),
    }
    write("span_texts.json", PICKED)
    write("families.json", families(built))
    write_gguf("llama2", built["llama2"])
    write_gguf_bert()
    for name, tokenizer in tokenizers.items():
        file = json.loads(tokenizer.to_str())
        write(f"{name}.tokenizer.json", file)
        # What transformers makes of CLIP's bytes.
        spaced = {"decode": lambda text: text.replace("</w>", " ").strip(" ")} if name == "clip" else {}
        write(f"spans_{name}.json", goldens(tokenizer, **spaced))


if __name__ == "__main__":
    main()
