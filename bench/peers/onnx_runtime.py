"""onnxruntime's sides: ONNX's graphs, with operands and results bound once.

Attention has up to three operators: ONNX's own `Attention`, and onnxruntime's `MultiHeadAttention` and
`GroupQueryAttention`.
"""

import numpy
import onnxruntime

from onnx_graphs import ONNXGraphs
from shapes import HEADS, WINDOW
from sides import Refused, Side


class ONNXRuntime(ONNXGraphs):
    name = "onnxruntime"

    def __init__(self, device="cpu", threads=2, draw=None):
        super().__init__(device, draw)
        self.version = onnxruntime.__version__
        provider = "CUDAExecutionProvider" if device == "cuda" else "CPUExecutionProvider"
        if provider not in onnxruntime.get_available_providers():
            raise Refused("no CUDA", f"this onnxruntime has no {provider}")
        self.providers = [provider]
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.log_severity_level = 3

    def sides(self, shape):
        s = shape.sizes
        if shape.kind != "attention":
            yield from super().sides(shape)
            return
        yield Side("Attention", lambda: self._attention(s))
        yield Side("MHA", lambda: self._multi_head(s))
        if s.mask in ("causal", "window"):
            yield Side("GQA", lambda: self._group_query(s))

    def _bound(self, graph, values, results):
        session = self._session(graph)

        # A binding keeps addresses alone: the call holds on to what it reads and writes.
        def value(array):
            return onnxruntime.OrtValue.ortvalue_from_numpy(array, self.device)

        sources = {name: value(array) for name, array in values.items()}
        targets = {name: value(numpy.zeros(sizes, type)) for name, (type, sizes) in results.items()}
        binding = session.io_binding()
        for name, source in sources.items():
            binding.bind_ortvalue_input(name, source)
        for name, target in targets.items():
            binding.bind_ortvalue_output(name, target)

        def call(sources=sources):
            session.run_with_iobinding(binding)
            return list(targets.values())

        return call

    def _hidden(self, graph):
        session = self._session(graph)
        return lambda ids, mask: session.run(None, {"ids": ids, "mask": mask})[0]

    def _session(self, graph):
        return onnxruntime.InferenceSession(graph, self.options, providers=self.providers)

    def _multi_head(self, s):
        """Queries are [1, queries, HEADS · size]; a cache's keys and values keep their heads apart."""
        q, k, v = self._operands(s)
        q = folded(q)
        if s.queries > 1:
            k, v = folded(k), folded(v)
        bias = padding = None
        return self._call(
            "MultiHeadAttention",
            [q, k, v, bias, padding, self._added(s)],
            [(q.dtype, q.shape)],
            domain="com.microsoft",
            num_heads=HEADS,
            unidirectional=int(s.mask == "causal"),
        )

    def _group_query(self, s):
        q, k, v = (folded(array) for array in self._operands(s))
        past = numpy.zeros((1, HEADS, 0, s.size), q.dtype)
        last, total = numpy.array([s.keys - 1], numpy.int32), numpy.array([s.keys], numpy.int32)
        cache = (q.dtype, (1, HEADS, s.keys, s.size))
        return self._call(
            "GroupQueryAttention",
            [q, k, v, past, past, last, total],
            [(q.dtype, q.shape), cache, cache],
            domain="com.microsoft",
            num_heads=HEADS,
            kv_num_heads=HEADS,
            local_window_size=WINDOW if s.mask == "window" else -1,
        )


def folded(array):
    """[1, heads, length, size] as [1, length, heads · size]."""
    _, heads, length, size = array.shape
    return numpy.ascontiguousarray(array.transpose(0, 2, 1, 3)).reshape(1, length, heads * size)
