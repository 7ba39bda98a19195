"""Tests of the comparison itself, which need no peer: python3 -m unittest discover -p '*_test.py' here."""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree as XML
from pathlib import Path

import plot
import report
import shapes
from sides import Absent, Refused, Side, median_seconds

HERE = Path(__file__).resolve().parent
SHAPE = next(shape for shape in shapes.shapes() if shape.name == "full 1024")


def ours(*seconds):
    return [{"seconds": value, "work": 8, "strategy": "rows"} for value in seconds]


def results(rows):
    return {
        "device": "A <device> & more (GPU, Maker)",
        "revision": "0123456789abcdef",
        "peer_device": "cpu",
        "threads": 2,
        "rounds": 3,
        "seconds": 1,
        "peers": {"P": "1.0"},
        "rows": rows,
    }


class Summaries(unittest.TestCase):
    def test_ratios_are_taken_round_by_round(self):
        row = report.summary(SHAPE, ours(1, 2, 4), {("P", "a"): [3, 2, 6]})
        (side,) = row["sides"]
        self.assertEqual((side["ratio"], side["ratio_least"], side["ratio_greatest"]), (1.5, 1, 3))
        self.assertEqual((side["median_s"], side["rate"]), (3, 8 / 3))
        self.assertEqual((row["flashcl"]["median_s"], row["flashcl"]["rate"]), (2, 4))

    def test_a_word_stands_for_what_was_not_measured(self):
        theirs = {("P", "a"): ("refused", "why"), ("P", "b"): [], ("P", "c"): [2]}
        row = report.summary(SHAPE, [{"word": "check failed", "reason": "why"}], theirs)
        self.assertEqual([side.get("word") for side in row["sides"]], ["refused", "no time", None])
        self.assertEqual(row["flashcl"]["word"], "check failed")
        self.assertNotIn("ratio", row["sides"][2])
        self.assertIsNone(row["sides"][2]["rate"])

    def test_a_round_that_was_cut_counts_as_far_as_it_came(self):
        (side,) = report.summary(SHAPE, ours(1, 1), {("P", "a"): [2]})["sides"]
        self.assertEqual((side["ratio"], len(side["rounds_s"])), (2, 1))


class Tables(unittest.TestCase):
    def test_every_line_has_every_column(self):
        row = report.summary(SHAPE, ours(1, 2), {("P", "a"): [3, 2], ("P", "b"): ("refused", "why")})
        lines = [*report.header(), *report.lines(row), *report.lines(report.summary(SHAPE, [], {}))]
        self.assertEqual({line.count("|") for line in lines}, {len(report.COLUMNS) + 1})
        self.assertEqual(len({len(line) for line in lines}), 1, "columns stand under each other")
        self.assertIn("refused", lines[3])
        self.assertTrue(lines[3].startswith("|  "), "the shape stands in its first line alone")

    def test_three_digits_count(self):
        self.assertEqual(
            [report.digits(value) for value in (1234.4, 12.34, 1.234, 0.1234, 0.01234)],
            ["1234", "12.3", "1.23", "0.12", "0.012"],
        )


class Plots(unittest.TestCase):
    def setUp(self):
        names = ["a", "b <&>", "c"]
        sides = {("P", name): [ratio, ratio * 1.2] for name, ratio in zip(names, (0.02, 1, 40))}
        sides["P", "d"] = ("refused", "why")
        self.rows = [report.summary(SHAPE, ours(1, 1), sides)] * 3
        self.root = XML.fromstring(plot.svg(results(self.rows)))

    def elements(self, name):
        return [element.attrib for element in self.root.iter("{http://www.w3.org/2000/svg}" + name)]

    def test_there_is_a_bar_for_each_ratio_on_its_side_of_one(self):
        bars = [rect for rect in self.elements("rect") if rect["height"] == f"{plot.BAR - 2:.1f}"][
            3:
        ]  # the legend has 3
        self.assertEqual(len(bars), 9)
        one = float(bars[2]["x"])
        self.assertAlmostEqual(float(bars[0]["x"]) + float(bars[0]["width"]), one, delta=0.2)
        # Decades are equally long: log₁₀ 44 to log₁₀ 0.022.
        scale = float(bars[2]["width"]) / math.log10(44)
        self.assertAlmostEqual(float(bars[0]["width"]) / -math.log10(0.022), scale, delta=0.5)

    def test_all_is_within_the_picture(self):
        height = float(self.root.attrib["height"])
        for element in self.elements("rect")[1:] + self.elements("text"):
            self.assertTrue(
                0 <= float(element["x"]) <= plot.WIDTH and 0 <= float(element["y"]) <= height, element
            )

    def test_a_long_name_moves_the_bars(self):
        self.assertLess(
            self.left_of_one("full"), self.left_of_one("a model's name that is as long as names of files are")
        )

    def left_of_one(self, name):
        row = report.summary(SHAPE, ours(1), {("P", "a"): [2]}) | {"shape": name}
        root = XML.fromstring(plot.svg(results([row])))
        return min(float(line.attrib["x1"]) for line in root.iter("{http://www.w3.org/2000/svg}line"))

    def test_nothing_measured_is_a_picture_too(self):
        XML.fromstring(plot.svg(results([])))


class Timing(unittest.TestCase):
    def test_a_call_that_fills_the_budget_is_the_result(self):
        calls = []
        seconds = median_seconds(lambda: (calls.append(1), time.sleep(0.01)), 0.001)
        self.assertEqual(len(calls), 1)
        self.assertGreaterEqual(seconds, 0.01)

    def test_short_calls_are_batched_and_waited_for(self):
        calls, waits = [], []
        median_seconds(lambda: calls.append(1), 0.01, lambda: waits.append(1))
        self.assertGreaterEqual(len(waits), 5)
        self.assertGreater(len(calls), 100 * len(waits))

    def test_operands_are_made_and_calls_compiled_once(self):
        made, calls = [], []
        side = Side("a", lambda: made.append(1) or (lambda: (calls.append(1), time.sleep(0.002))))
        side.measure(0.001), side.measure(0.001)
        self.assertEqual((len(made), len(calls)), (1, 3))

    def test_who_is_absent_refuses(self):
        (side,) = Absent("P", "not installed").sides(SHAPE)
        with self.assertRaises(Refused):
            side.measure(1)


class Shapes(unittest.TestCase):
    def test_names_are_unique_and_kinds_known(self):
        all = list(shapes.shapes())
        self.assertEqual(len({shape.name for shape in all}), len(all))
        self.assertLessEqual({shape.kind for shape in all}, shapes.OPERATIONS | shapes.MODELS)


    def test_texts_need_a_sentence_encoder(self):
        self.assertNotIn("sentences", {shape.kind for shape in shapes.shapes()})
        added = [shape for shape in shapes.shapes(encoder=Path("e")) if shape.kind == "sentences"]
        self.assertEqual([len(shape.sizes.texts) for shape in added], [32, 32])
        self.assertTrue(all("e" in shape.flashcl for shape in added))

    def test_lengths_are_spread_as_the_command_spreads_them(self):
        self.assertEqual(shapes.spread(4, 120, 3), [4, 62, 120])
        self.assertEqual(shapes.ids([2, 1], 12), [[11, 6], [11]])


class CommandLine(unittest.TestCase):
    """The whole of it, over commands that print what they are made to."""

    FLASHCL = {
        "device": "A (CPU, Maker)",
        "revision": "abc",
        "model": "m",
        "failures": [],
        "results": [
            {
                "strategy": "rows",
                "median_s": 0.5,
                "gflops": 4,
                "gbytes_per_s": 2,
                "prompt_tokens": 512,
                "batch": 1,
                "prefill_s": 0.5,
                "prefill_tokens_per_s": 1024,
                "decode_tokens_per_s": 4,
            }
        ],
    }
    LLAMA = [{"build_commit": "c0ffee", "backends": "CPU", "samples_ns": [3e8, 1e9, 2e9]}]

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "model.gguf").write_text("")
        self.fake("flashcl", self.FLASHCL)
        self.fake("llama-bench", self.LLAMA)

    def fake(self, name, output, code=0):
        path = self.folder / name
        path.write_text(f"#!{sys.executable}\nprint('''{json.dumps(output)}''')\nraise SystemExit({code})\n")
        path.chmod(0o755)

    def run_it(self, *arguments):
        return subprocess.run(
            [
                sys.executable,
                HERE / "compare.py",
                "--flashcl",
                "./flashcl",
                "--peers",
                "llama.cpp",
                "--rounds",
                "2",
                "--llama-bench",
                "./llama-bench",
                "--json",
                "b.json",
                *arguments,
            ],
            cwd=self.folder,
            capture_output=True,
            text=True,
        )

    def rows(self):
        return json.loads((self.folder / "b.json").read_text())["rows"]

    def test_a_table_a_file_and_a_plot(self):
        run = self.run_it("--model", "model.gguf", "--only", "model", "--plot", "b.svg")
        self.assertEqual(run.returncode, 0, run.stderr)
        prefill, decode = self.rows()
        self.assertEqual(prefill["sides"][0]["ratio"], 2)  # 1 s to 0.5 s
        self.assertEqual(decode["sides"][0]["ratio"], 1 / 128 / 0.25)
        self.assertEqual(prefill["flashcl"]["rate"], 1024)
        self.assertIn("c0ffee", (self.folder / "b.json").read_text())
        XML.parse(self.folder / "b.svg")
        before = (self.folder / "b.svg").read_text()
        again = self.run_it("--from", "b.json", "--plot", "b.svg")
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertEqual(again.stdout.splitlines()[2:], run.stdout.splitlines()[2:])
        self.assertEqual((self.folder / "b.svg").read_text(), before)

    def test_a_folder_has_files_with_the_device_s_name(self):
        self.run_it("--limit", "0", "--json", ".", "--plot", ".")
        self.assertLessEqual(
            {"a-cpu-maker-peers.json", "a-cpu-maker-peers.svg"}, set(os.listdir(self.folder))
        )

    def test_words_for_what_is_missing(self):
        run = self.run_it("--only", "prefill")
        self.assertIn("needs --model", run.stdout)
        self.fake("llama-bench", "oops", code=1)
        self.assertIn("refused", self.run_it("--model", "model.gguf", "--only", "prefill").stdout)
        (self.folder / "llama-bench").unlink()
        self.assertIn("not installed", self.run_it("--only", "prefill").stdout)

    def test_the_limit_leaves_what_there_is(self):
        run = self.run_it("--limit", "0")
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn("left out", run.stderr)
        self.assertEqual(self.rows(), [])

    def test_a_failed_check_is_a_row_and_a_missing_command_is_an_error(self):
        failed = self.FLASHCL | {"results": [], "failures": [{"reason": "4 elements are wrong"}]}
        good = json.dumps(self.FLASHCL)
        (self.folder / "flashcl").write_text(
            f"#!{sys.executable}\nimport sys\nsmall = 'rows=1,cols=32' in sys.argv\n"
            f"print('''{good}''' if small else '''{json.dumps(failed)}''')\nraise SystemExit(0 if small else 1)\n"
        )
        self.assertIn("check failed", self.run_it("--only", "softmax").stdout)
        (self.folder / "flashcl").unlink()
        run = self.run_it("--only", "softmax")
        self.assertEqual(run.returncode, 1)
        self.assertIn("flashcl", run.stderr)
        self.assertNotIn("Traceback", run.stderr)

    def test_a_file_of_something_else_is_an_error(self):
        for text in ("[]", "{}", "no"):
            (self.folder / "other.json").write_text(text)
            run = self.run_it("--from", "other.json")
            self.assertEqual(run.returncode, 1)
            self.assertNotIn("Traceback", run.stderr)

    def test_wrong_usage(self):
        for arguments in (
            ["--peers", "nobody"],
            ["--rounds", "0"],
            ["--only", "("],
            ["--only", "nothing"],
            ["--model", "none.gguf"],
        ):
            run = self.run_it(*arguments)
            self.assertEqual(run.returncode, 2, arguments)
            self.assertNotIn("Traceback", run.stderr)


if __name__ == "__main__":
    unittest.main()
