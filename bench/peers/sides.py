"""What a peer is: sides, each of which can be timed at a shape, or a word for why not."""

import contextlib
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


class Refused(Exception):
    """A peer does not take a shape: a word for the table, and the reason at length."""

    def __init__(self, word, reason=""):
        super().__init__(reason or word)
        self.word = word


@dataclass
class Side:
    """A way of a peer to compute a shape.

    `make` allocates the operands and returns the call that is timed; `around` is entered while it is called; `wait`
    returns when what was called is done.
    """

    name: str
    make: Callable
    around: Callable = contextlib.nullcontext
    wait: Callable = lambda: None
    call: Callable | None = None

    def measure(self, budget):
        """Median seconds of a call; the operands stay for the next round."""
        with self.around():
            if not self.call:
                self.call = self.make()
                self.call()  # compiles, allocates
                self.wait()
            return median_seconds(self.call, budget, self.wait)


def median_seconds(call, budget, wait=lambda: None):
    """Median over the batches that fit in the budget, three at least, after a call that is not counted.

    A batch is as many calls as fill 30 ms, as in `flashcl bench`: launching then overlaps computing, as in a model.
    Where one call fills the budget, that one is the result.
    """

    def batch(calls):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait()
        return (time.perf_counter() - start) / calls

    once = batch(1)
    if once > budget:
        return once
    calls = max(1, min(1000, int(0.03 / max(once, 1e-7))))
    times, end = [], time.perf_counter() + budget
    while len(times) < 3 or time.perf_counter() < end:
        times.append(batch(calls))
    return statistics.median(times)


class Absent:
    """A peer that is not there, for a reason in a word."""

    def __init__(self, name, word, reason=""):
        self.name, self.version, self.reason = name, word, reason

    def sides(self, shape):
        def refuse():
            raise Refused(self.version, self.reason)

        return [Side("", refuse)]
