"""Holds the sides of PyTorch, onnxruntime and OpenVINO against each other, where they are installed."""

import copy
import importlib.util
import os
import unittest
from types import SimpleNamespace
from unittest import mock

import compare
import shapes
from sides import Absent


def installed(*names):
    """The peers by their names, but for those that are not there."""
    peers = {name: compare.peer(name, "cpu", SimpleNamespace(threads=2)) for name in names}
    return {name: peer for name, peer in peers.items() if not isinstance(peer, Absent)}


@unittest.skipUnless(
    all(importlib.util.find_spec(name) for name in ("torch", "onnx", "onnxruntime")), "needs both peers"
)
class Agreement(unittest.TestCase):
    """A wrong graph's time says nothing: all sides compute the same from the same operands."""

    LENGTH, WINDOW = 80, 7

    def values(self, peer, shape, operand):
        """Each side's name and what it computes, [1, heads, length, size] for attention."""
        import numpy

        for side in peer.sides(shape):
            if side.name == "flex" and not os.environ.get("FLEX"):
                continue  # half a minute of compiling: FLEX=1 has it tried too
            random = numpy.random.default_rng(7)
            peer.draw = lambda *sizes: operand(random.standard_normal(sizes, dtype=numpy.float32))
            value = side.make()()
            value = value[0] if isinstance(value, (list, tuple)) else value
            array = numpy.asarray(value).astype(numpy.float32)
            if array.ndim == 3:  # heads side by side
                array = array.reshape(1, array.shape[1], shapes.HEADS, -1).transpose(0, 2, 1, 3)
            yield f"{peer.name} {side.name}", array

    def test_all_sides_compute_the_same(self):
        import numpy
        import onnx_graphs
        import onnx_runtime
        import pytorch
        import torch

        peers = installed("pytorch", "onnxruntime", "openvino")
        operands = {"pytorch": torch.from_numpy}
        for shape in copy.deepcopy([shape for shape in shapes.shapes() if shape.kind in shapes.OPERATIONS]):
            for size in ("queries", "keys", "rows"):
                if getattr(shape.sizes, size, 0) > 1:
                    setattr(shape.sizes, size, self.LENGTH)
            with (
                self.subTest(shape.name),
                mock.patch.object(pytorch, "WINDOW", self.WINDOW),
                mock.patch.object(onnx_graphs, "WINDOW", self.WINDOW),
                mock.patch.object(onnx_runtime, "WINDOW", self.WINDOW),
            ):
                (_, truth), *others = (
                    pair
                    for name, peer in peers.items()
                    for pair in self.values(peer, shape, operands.get(name, numpy.asarray))
                )
                self.assertGreaterEqual(len(others), 1)
                for name, array in others:
                    error = float(numpy.abs(array - truth).max())
                    self.assertLess(error, 2e-2 if getattr(shape.sizes, "type", "") == "f16" else 2e-3, name)


@unittest.skipUnless(
    compare.fetched("all-MiniLM-L6-v2")
    and all(importlib.util.find_spec(name) for name in ("torch", "onnxruntime", "sentence_transformers")),
    "needs the peers and the fetched encoder",
)
class Encoders(unittest.TestCase):
    def test_hidden_states_and_vectors_are_the_same(self):
        import numpy

        peers = installed("pytorch", "onnxruntime", "openvino", "sentence-transformers")
        for shape in shapes.encoders(compare.fetched("all-MiniLM-L6-v2")):
            sides = {
                name: side
                for name, peer in peers.items()
                if shape.kind in compare.PEERS[name]
                for side in peer.sides(shape)
            }
            truth, *others = ((name, numpy.asarray(side.make()())) for name, side in sides.items())
            self.assertGreaterEqual(len(others), 1)
            for name, array in others:
                error = numpy.abs(array - truth[1])
                if shape.kind == "encoder":  # what stands beyond a sequence's end means nothing
                    error = error[numpy.arange(error.shape[1]) < numpy.array(shape.sizes.lengths)[:, None]]
                self.assertLess(float(error.max()), 1e-4, f"{shape.name}: {name}")


if __name__ == "__main__":
    unittest.main()
