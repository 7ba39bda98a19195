"""Times FlashCL beside its peers, in turn, and prints a table of medians and ratios.

For each shape every side runs in every round, one after the other, so that a machine that drifts does so under
all of them. A side's figure is the median over the rounds of its medians in a round. The ratio (the peer's time
over FlashCL's: above 1 FlashCL is faster) is taken round by round and given as median, least and greatest. Rates
divide the work that `flashcl bench` counts by each side's time. A peer that is not installed, or does not take a
shape, has a word for why in place of a ratio; the JSON file has the reason at length.

    python compare.py --rounds 3 --json peers.json --plot peers.svg
    python compare.py --only 'causal|decode' --peers pytorch --seconds 0.3
    python compare.py --only MiniLM --encoder all-MiniLM-L6-v2    # ids, and texts through sentence-transformers
    python compare.py --only SmolLM2 --model SmolLM2-135M-Instruct.Q4_1.gguf --llama-bench ./llama-bench
    python compare.py --from peers.json --plot peers.svg     # the table and the plot again
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

import plot
import report
from flashcl import FlashCL, Stopped
from shapes import MODELS, OPERATIONS, shapes
from sides import Absent, Refused

# What each peer can be asked for.
PEERS = {
    "pytorch": OPERATIONS | MODELS - {"sentences"},
    "onnxruntime": OPERATIONS | {"encoder", "sentences"},
    "openvino": OPERATIONS | {"encoder", "sentences"},
    "sentence-transformers": {"sentences"},
    "llama.cpp": {"prefill", "decode"},
}


def peer(name, device, options):
    """A peer by its name, or what stands for it where it is not there."""
    try:
        if name == "pytorch":
            from pytorch import PyTorch

            return PyTorch(device, options.threads)
        if name == "onnxruntime":
            from onnx_runtime import ONNXRuntime

            return ONNXRuntime(device, options.threads)
        if name == "openvino":
            from open_vino import OpenVINO

            return OpenVINO(device, options.threads)
        if name == "sentence-transformers":
            from sentence_vectors import SentenceTransformers

            return SentenceTransformers(device, options.threads)
        from llama_cpp import LlamaCpp

        return LlamaCpp(options.llama_bench, device, options.threads)
    except (ImportError, OSError) as error:  # OSError: a library of its own is missing
        return Absent(name, "not installed", str(error))
    except Refused as refusal:
        return Absent(name, refusal.word, str(refusal))


def has_cuda():
    try:
        import torch

        return torch.cuda.is_available()
    except (ImportError, OSError):
        return False


class Comparison:
    """Rounds of measuring, until the limit."""

    def __init__(self, flashcl, peers, options, deadline):
        self.flashcl, self.peers, self.options, self.deadline = flashcl, peers, options, deadline

    @property
    def is_over(self):
        return time.monotonic() >= self.deadline

    def row(self, shape):
        """One shape's row: every side in every round, each round beginning with another side."""
        sides = {
            (peer.name, side.name): side
            for name, peer in self.peers.items()
            if shape.kind in PEERS[name]
            for side in peer.sides(shape)
        }
        ours, theirs = [], {key: [] for key in sides}
        turns = [None, *sides]
        for round in range(self.options.rounds):
            first = round % len(turns)
            for key in turns[first:] + turns[:first]:
                if self.is_over:
                    break
                if key is None:
                    ours.append(self.flashcl.measure(shape))
                elif isinstance(theirs[key], list):
                    try:
                        theirs[key].append(sides[key].measure(self.options.seconds))
                    except Exception as error:  # whatever a peer says, the others go on
                        theirs[key] = refusal(error)
        return report.summary(shape, ours, theirs)


def refusal(error):
    """A word for the table, and the first line of the reason."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, Refused):
        return error.word, reason
    if isinstance(error, ImportError):
        return "not installed", reason
    if isinstance(error, MemoryError) or "out of memory" in reason.lower():
        return "no memory", reason
    return "refused", reason


def fetched(name):
    """The folder of a model that `make models` fetches; None where it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flashcl"
    folder = Path(os.environ.get("FLASHCL_CACHE") or cache) / "models" / name
    return folder if (folder / "model.safetensors").is_file() else None


def arguments():
    root = Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def option(name, metavar, help, default=None, **more):
        shown = "" if default in (None, "") else f" (default: {str(default).replace('%', '%%')})"
        parser.add_argument(name, metavar=metavar, help=help + shown, default=default, **more)

    option("--flashcl", "PATH", "the built command", str(root / ".build/release/flashcl"))
    option("--device", "D", "FlashCL's device, as in `flashcl bench --device`")
    option("--peers", "LIST", "whom to compare with", ",".join(PEERS))
    option(
        "--peer-device",
        "cpu|cuda",
        "theirs (default: cuda where FlashCL's is a GPU and PyTorch has it)",
        choices=("cpu", "cuda"),
    )
    option("--only", "REGEX", "searched for in the names of shapes", "")
    option("--rounds", "N", "how often each side runs", 3, type=int)
    option("--seconds", "S", "of each side of a peer in a round", 0.5, type=float)
    option("--limit", "SECONDS", "when nothing more is begun; what there is is written", type=float)
    option("--threads", "N", "of the peers on a CPU", len(os.sched_getaffinity(0)), type=int)
    option("--model", "FILE", "a GGUF file, in place of random weights in SmolLM2's shape", type=Path)
    option(
        "--encoder",
        "FOLDER",
        "a sentence encoder, in place of random weights in MiniLM's shape, which know no texts (default: the one that "
        "`make models` fetches, where it is)",
        type=Path,
    )
    option("--llama-bench", "PATH", "llama.cpp's command (default: that on PATH)")
    option("--json", "FILE", "the results; in a folder, a file with the device's name", type=Path)
    option("--plot", "FILE", "the ratios as .svg; in a folder, a file with the device's name", type=Path)
    option("--from", "FILE", "a JSON file to show again; nothing is measured", type=Path, dest="source")
    options = parser.parse_args()
    options.peers = options.peers.split(",")
    unknown = [name for name in options.peers if name not in PEERS]
    if unknown:
        parser.error(f"there is no peer '{unknown[0]}'; known: {', '.join(PEERS)}")
    if options.rounds < 1 or options.threads < 1 or not options.seconds > 0:
        parser.error("--rounds and --threads are 1 or more, --seconds above 0")
    for file in (options.model, options.source):
        if file and not file.is_file():
            parser.error(f"there is no file {file}")
    if options.encoder and not (options.encoder / "config.json").is_file():
        parser.error(f"there is no model in {options.encoder}")
    known = list(shapes(options.model, options.encoder or fetched("all-MiniLM-L6-v2")))
    try:
        options.shapes = [shape for shape in known if re.search(options.only, shape.name)]
    except re.error as error:
        parser.error(f"--only: {error}")
    if not options.shapes and not options.source:
        names = ", ".join(shape.name for shape in known)
        parser.error(f"no shape's name has '{options.only}' in it; there are: {names}")
    for file in (options.json, options.plot):
        if file and not file.absolute().parent.is_dir():
            parser.error(f"there is no folder {file.absolute().parent}")
    if options.json and options.json == options.plot and not options.json.is_dir():
        parser.error(f"--json and --plot would both write {options.json}: give a file for each, or a folder")
    return options


def measure(options):
    """Prints rows as they are measured, and writes the files after each: however this ends, they are whole."""
    deadline = time.monotonic() + (options.limit if options.limit is not None else float("inf"))
    flashcl = FlashCL(options.flashcl, options.device)
    device = options.peer_device or ("cuda" if flashcl.is_gpu and has_cuda() else "cpu")
    peers = {name: peer(name, device, options) for name in options.peers}
    comparison = Comparison(flashcl, peers, options, deadline)
    results = {
        "device": flashcl.device,
        "revision": flashcl.revision,
        "peer_device": device,
        "threads": options.threads,
        "rounds": options.rounds,
        "seconds": options.seconds,
        "peers": {peer.name: peer.version for peer in peers.values()},
        "rows": [],
    }
    print(*report.heading(results), *report.header(), sep="\n", flush=True)
    save(results, options)
    try:
        for shape in options.shapes:
            if comparison.is_over:
                left = len(options.shapes) - len(results["rows"])
                print(f"{left} shapes were left out: {options.limit:g} s are over", file=sys.stderr)
                break
            results["rows"].append(comparison.row(shape))
            # Some know their version when they have run.
            results["peers"] = {peer.name: peer.version for peer in peers.values()}
            print(*report.lines(results["rows"][-1]), sep="\n", flush=True)
            save(results, options)
    except KeyboardInterrupt:
        print("stopped; what was measured is written", file=sys.stderr)
        sys.exit(130)


def show(options):
    try:
        results = json.loads(options.source.read_text(encoding="utf-8"))
        results["rows"] = [row for row in results["rows"] if re.search(options.only, row["shape"])]
        lines = [line for row in results["rows"] for line in report.lines(row)]
        print(*report.heading(results), *report.header(), *lines, sep="\n")
        save(results, options)
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"{options.source} is no file of this command: {type(error).__name__}: {error}")


def save(results, options):
    if options.json:
        report.write(
            report.path(options.json, results, "json"),
            json.dumps(results, indent=1, ensure_ascii=False) + "\n",
        )
    if options.plot:
        report.write(report.path(options.plot, results, "svg"), plot.svg(results))


def main():
    options = arguments()
    try:
        if options.source:
            show(options)
        else:
            measure(options)
    except (Stopped, OSError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
