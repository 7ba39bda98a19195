"""Makes goldens.json and cases.json: what transformers renders.

goldens.json   templates/*.jinja × conversations.json by `apply_chat_template`, whose clock stands at NOW
cases.json     [template, what it renders or null where it fails, the message of raise_exception or null] in the same
               environment, over VARIABLES

Run with transformers 4.57 and Jinja2 3.1: python make_goldens.py
"""

import copy
import datetime
import json
import pathlib

import jinja2
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils
from tokenizers import Tokenizer, models

HERE = pathlib.Path(__file__).parent
NOW = datetime.datetime(2026, 3, 7, 16, 5, 9)


class Clock(datetime.datetime):
    @classmethod
    def now(cls, zone=None):
        return NOW


chat_template_utils.datetime = Clock

VARIABLES = {
    "s": "  Hello, wörld ",
    "words": ["beta", "Alpha", "gamma", "alpha", "Beta"],
    "numbers": [3, 1, 2.5, -4, 0],
    "people": [
        {"name": "Ann", "age": 31, "home": {"town": "Oslo"}},
        {"name": "Bob", "age": 7},
        {"name": "cid", "age": 31, "home": {"town": "Rome"}},
    ],
    "d": {"b": 1, "a": [1, 2], "C": None},
    "empty": [],
    "text": "line one\n  line two\r\n\nlast",
    "odd": "ǆ ß ΑΣ ΑΣΑ ﬁ İ é",
    "yes": True,
    "nothing": None,
    "f": 0.1,
    "big": 1e16,
}

CASES = open(HERE / "cases.txt", encoding="utf-8").read().rstrip("\n").split("\n---\n")


def render(call):
    """[text, None], or [None, the template's own message or None]."""
    try:
        return [call(), None]
    except jinja2.exceptions.TemplateError as error:
        own = type(error) is jinja2.exceptions.TemplateError
        return [None, error.message if own else None]
    except Exception:
        return [None, None]


def main():
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>")),
        bos_token="<s>", eos_token="</s>", unk_token="<unk>",
    )
    conversations = json.load(open(HERE / "conversations.json", encoding="utf-8"))
    goldens = {}
    for path in sorted((HERE / "templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        goldens[path.stem] = [
            render(lambda: tokenizer.apply_chat_template(
                conversation["messages"], chat_template=source, tokenize=False,
                **{key: value for key, value in conversation.items() if key != "messages"}))
            for conversation in conversations
        ]
    cases = []
    for source in CASES:
        cases.append([source] + render(
            lambda: chat_template_utils._compile_jinja_template(source).render(**copy.deepcopy(VARIABLES))))  # indent changes lists
    write("goldens.json", goldens)
    write("cases.json", {"variables": VARIABLES, "cases": cases})
    print(sum(len(g) for g in goldens.values()), "goldens,",
          sum(r[0] is None for g in goldens.values() for r in g), "fail;", len(cases), "cases,",
          sum(c[1] is None for c in cases), "fail")


def write(name, value):
    text = json.dumps(value, ensure_ascii=False, indent=0, separators=(",", ":"))
    (HERE / name).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
