"""What `transformers`' pipelines say of texts, by the tiny BERTs of encoders/ and the vocabulary below.

    python make_reading.py                 (packages: requirements.txt; after make_encoders.py)

Writes reading/vocab.txt, reading/bert-tag and reading/answers.json: fill-mask, text-classification (pairs too),
token-classification (aggregation "simple") and question-answering.
"""

import copy
import json
import shutil
import tempfile
from pathlib import Path

import torch
from transformers import (
    AutoModelForMaskedLM, AutoModelForQuestionAnswering, AutoModelForSequenceClassification,
    AutoModelForTokenClassification, BertTokenizerFast, pipeline,
)

HERE = Path(__file__).parent
VOCABULARY = (["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + list("abcdefghijklmnopqrstuvwxyz") + list(".,?!0123")
              + ["##" + c for c in "abcdeghilmnorstu"] + ["the", "cat", "is", "##er", "paris", "it"])
assert len(VOCABULARY) == 61, len(VOCABULARY)
TEXTS = ["The cat is there.", "Paris, 3 cats!", "a b c", "Is it the enemy? Ünïcode 東京 is not."]


def rounded(value):
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.7g}") if hasattr(value, "dtype") or isinstance(value, float) else value


def tagger(tokenizer):
    """The tiny BERT of classes, with B- and I- classes of two kinds, each of which is some token's likeliest."""
    model = AutoModelForTokenClassification.from_pretrained(HERE / "encoders" / "bert-token").float().eval()
    labels = ["O", "B-PLACE", "I-PLACE", "B-BEAST", "I-BEAST"]
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: index for index, label in enumerate(labels)}
    model.config.num_labels = len(labels)
    generator = torch.Generator().manual_seed(5)
    width = model.config.hidden_size
    head = torch.nn.Linear(width, len(labels))
    with torch.no_grad():
        head.weight.copy_(torch.randn(len(labels), width, generator=generator))
        head.bias.zero_()
        model.classifier, model.num_labels = head, len(labels)
        logits = torch.cat([model(**tokenizer(t, return_tensors="pt")).logits[0] for t in TEXTS])
        head.bias.copy_(-logits.mean(0))
    return model


def main():
    folder = HERE / "reading"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(folder / "vocab.txt", scratch)
        tokenizer = BertTokenizerFast(vocab_file=f"{scratch}/vocab.txt", do_lower_case=True)

        def run(task, head, kind, call):
            model = kind.from_pretrained(HERE / "encoders" / f"bert-{head}").float().eval()
            return call(pipeline(task, model=model, tokenizer=tokenizer, device="cpu"))

        model = tagger(tokenizer)
        model.save_pretrained(folder / "bert-tag")
        tag = pipeline("token-classification", model=copy.deepcopy(model), tokenizer=tokenizer, device="cpu")
        answers = {
            "fill_mask": run("fill-mask", "masked", AutoModelForMaskedLM, lambda p: [
                {"text": t, "guesses": p(t, top_k=4)} for t in ["The [MASK] is there.", "paris is [MASK]"]]),
            "classify": run("text-classification", "sequence", AutoModelForSequenceClassification, lambda p: [
                {"text": t, "pair": None, "scores": p(t, top_k=None)} for t in TEXTS] + [
                {"text": t, "pair": "it is", "scores": p({"text": t, "text_pair": "it is"}, top_k=None)} for t in TEXTS]),
            "tag": [{"text": t, "entities": tag(t, aggregation_strategy="simple")} for t in TEXTS],
            "answer": run("question-answering", "span", AutoModelForQuestionAnswering, lambda p: [
                {"question": "Is it?", "context": t, "answer": p(question="Is it?", context=t)}
                for t in TEXTS]),
        }
    text = json.dumps(rounded(answers), indent=1, ensure_ascii=False)
    (folder / "answers.json").write_text(text + "\n")
    print(text[:3000])


main()
