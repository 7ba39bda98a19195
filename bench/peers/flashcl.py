"""FlashCL's side: `flashcl bench`, a process for each shape and round."""

import json
import subprocess


class Stopped(Exception):
    """The command cannot run at all."""


class FlashCL:
    def __init__(self, binary, device=None):
        self.binary = str(binary)
        self.options = ["--device", device] if device else []
        # The smallest run tells whether there is such a command and such a device, and what it is called.
        code, report, error = self._bench("softmax", "--sweep", "rows=1,cols=32", "--chosen")
        if not report or code != 0:
            raise Stopped(f"{self.binary} bench: {error}")
        self.device, self.revision = report["device"], report["revision"]

    @property
    def is_gpu(self):
        return "(GPU" in self.device

    def _bench(self, *arguments):
        command = [self.binary, "bench", *arguments, *self.options, "--format", "json"]
        try:
            run = subprocess.run(command, capture_output=True, text=True)
        except OSError as error:
            return 127, None, str(error)
        try:
            report = json.loads(run.stdout)
        except ValueError:
            report = None
        lines = run.stderr.strip().splitlines()
        return run.returncode, report, lines[-1] if lines else f"exit {run.returncode}"

    def measure(self, shape):
        """Seconds of a call (of a token, for decoding), the work that it does in the shape's unit × seconds, and the
        strategy; or a word for why not and the reason."""
        model = shape.unit == "tokens/s"
        _, report, error = self._bench(*shape.flashcl, *([] if model else ["--chosen"]))
        if not report or not report["results"]:
            failures = (report or {}).get("failures")
            word = "check failed" if failures else "no case" if "no case" in error else "failed"
            return {"word": word, "reason": failures[0].get("reason") if failures else error}
        result = report["results"][0]
        if not model:
            rate = result["gflops" if shape.unit == "GFLOP/s" else "gbytes_per_s"]
            return {
                "seconds": result["median_s"],
                "work": rate * result["median_s"],
                "strategy": result["strategy"],
            }
        if shape.kind == "decode":
            return {"seconds": 1 / result["decode_tokens_per_s"], "work": 1, "strategy": report["model"]}
        seconds = result["prefill_s"]
        return {
            "seconds": seconds,
            "work": result["prefill_tokens_per_s"] * seconds,
            "strategy": report["model"],
        }
