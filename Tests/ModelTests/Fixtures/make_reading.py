"""What `transformers`' pipelines say of texts, by the tiny BERTs of encoders/ and the vocabulary below.

    python make_reading.py                 (packages: requirements.txt; after make_encoders.py)

Writes reading/vocab.txt and reading/answers.json: fill-mask, text-classification (pairs too), token-classification
(aggregation "simple") and question-answering.
"""

import json
import shutil
import tempfile
from pathlib import Path

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

        answers = {
            "fill_mask": run("fill-mask", "masked", AutoModelForMaskedLM, lambda p: [
                {"text": t, "guesses": p(t, top_k=4)} for t in ["The [MASK] is there.", "paris is [MASK]"]]),
            "classify": run("text-classification", "sequence", AutoModelForSequenceClassification, lambda p: [
                {"text": t, "pair": None, "scores": p(t, top_k=None)} for t in TEXTS] + [
                {"text": t, "pair": "it is", "scores": p({"text": t, "text_pair": "it is"}, top_k=None)} for t in TEXTS]),
            "tag": run("token-classification", "token", AutoModelForTokenClassification, lambda p: [
                {"text": t, "entities": p(t, aggregation_strategy="simple")} for t in TEXTS]),
            "answer": run("question-answering", "span", AutoModelForQuestionAnswering, lambda p: [
                {"question": "Is it?", "context": t, "answer": p(question="Is it?", context=t)}
                for t in TEXTS]),
        }
    text = json.dumps(rounded(answers), indent=1, ensure_ascii=False)
    (folder / "answers.json").write_text(text + "\n")
    print(text[:3000])


main()
