"""llama.cpp's side: `llama-bench`, for the GGUF file that is given; a process for each shape and round."""

import json
import shutil
import statistics
import subprocess

from sides import Refused, Side


class LlamaCpp:
    name = "llama.cpp"

    def __init__(self, binary=None, device="cpu", threads=2):
        """`binary` is the path of llama-bench, which is else looked for on PATH."""
        self.binary = shutil.which(binary or "llama-bench")
        if not self.binary:
            raise Refused("not installed", f"no {binary or 'llama-bench on PATH'}")
        self.version = "installed"
        layers = "99" if device == "cuda" else "0"
        self.options = ["-r", "3", "-t", str(threads), "-ngl", layers, "-o", "json"]

    def sides(self, shape):
        def make():
            if not shape.sizes.file:
                raise Refused("needs --model", "llama-bench times a GGUF file")
            return lambda: self._seconds(shape)

        side = Side("", make)
        side.measure = lambda budget: make()()  # llama-bench warms up and repeats by itself
        yield side

    def _seconds(self, shape):
        s = shape.sizes
        tokens = (
            ["-p", str(s.prompt), "-n", "0"]
            if shape.kind == "prefill"
            else ["-p", "0", "-n", str(s.tokens), "-d", str(s.prompt)]
        )
        run = subprocess.run(
            [self.binary, "-m", str(s.file), *tokens, *self.options], capture_output=True, text=True
        )
        try:
            (result,) = json.loads(run.stdout)
        except ValueError:
            lines = run.stderr.strip().splitlines()
            raise Refused("refused", lines[-1] if lines else f"exit {run.returncode}") from None
        self.version = f"{result.get('build_commit', '?')}, {result.get('backends', '?')}"
        seconds = statistics.median(result["samples_ns"]) * 1e-9
        return seconds if shape.kind == "prefill" else seconds / s.tokens
