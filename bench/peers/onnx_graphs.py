"""ONNX's graphs, for the peers that run them: graphs of one operator, made in memory, with operands and results bound
once; and encoders, as PyTorch exports them, held against PyTorch before they are timed.

Attention is ONNX's own operator. What is constant in a model (weights, gains, biases of a norm) is an initialiser.
"""

import functools
import io

import numpy
import onnx
from onnx import helper

from shapes import EPSILON, HEADS, WINDOW
from sides import Refused, Side

TYPES = {"f32": numpy.float32, "f16": numpy.float16}
# The CPU's operators keep the whole matrix of scores.
SCORES_LIMIT = 2 << 30


class ONNXGraphs:
    """A peer that runs graphs; its own class says how, in `_bound` and `_hidden`."""

    def __init__(self, device, draw=None):
        """`draw(*sizes)` makes an operand; normal numbers without it."""
        self.device = device
        random = numpy.random.default_rng(0)
        self.draw = draw or (lambda *sizes: random.standard_normal(sizes, dtype=numpy.float32))

    def _bound(self, graph, values, results):
        """The call that runs a graph over `values`, arrays by name, and returns what it writes.

        `results` are (type, sizes) by name.
        """
        raise NotImplementedError

    def _hidden(self, graph):
        """An encoder's graph as a function of ids and mask."""
        raise NotImplementedError

    def sides(self, shape):
        yield Side("", lambda: getattr(self, f"_{shape.kind}")(shape.sizes))

    def _call(self, operator, inputs, outputs, constants=(), domain="", **attributes):
        """The call that runs one operator, and returns its results.

        `inputs` are arrays, followed by `constants`; `outputs` are (type, sizes) each; None is one that is left out.
        """

        def name(letter, place, what):
            return "" if what is None else f"{letter}{place}"

        def infos(values):
            return [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(numpy.dtype(type)), sizes)
                for name, (type, sizes) in values.items()
            ]

        operands = [*inputs, *constants]
        read = [name("x", place, array) for place, array in enumerate(operands)]
        written = [name("y", place, what) for place, what in enumerate(outputs)]
        values = {name: array for name, array in zip(read, inputs) if name}
        results = {name: what for name, what in zip(written, outputs) if name}
        graph = helper.make_graph(
            [helper.make_node(operator, read, written, domain=domain, **attributes)],
            operator,
            infos({name: (array.dtype, array.shape) for name, array in values.items()}),
            infos(results),
            [
                onnx.numpy_helper.from_array(array, name)
                for name, array in zip(read[len(inputs) :], constants)
            ],
        )
        model = helper.make_model(
            graph,
            ir_version=10,
            opset_imports=[helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)],
        )
        return self._bound(model.SerializeToString(), values, results)

    # Attention

    def _operands(self, s):
        if self.device == "cpu" and HEADS * s.queries * s.keys * 4 > SCORES_LIMIT:
            raise Refused("too large", "the CPU's operators keep the whole matrix of scores")
        lengths = (s.queries, s.keys, s.keys)
        return [self.draw(1, HEADS, length, s.size).astype(TYPES[s.type]) for length in lengths]

    def _distances(self, s):
        """Query's position minus key's, [queries, keys]."""
        positions = numpy.arange(s.keys, dtype=numpy.float32)
        return positions[s.keys - s.queries :, None] - positions

    def _added(self, s):
        """What is added to the scores, [1, 1 or HEADS, queries, keys], or None."""
        if s.mask == "bias":
            return self.draw(1, HEADS, s.queries, s.keys)
        if s.mask not in ("window", "alibi"):
            return None
        distances = self._distances(s)
        if s.mask == "window":
            added, seen = numpy.zeros_like(distances), (distances >= 0) & (distances < WINDOW)
        else:
            slopes = 2.0 ** (-8 * numpy.arange(1, HEADS + 1, dtype=numpy.float32) / HEADS)
            added, seen = -slopes[:, None, None] * distances, distances >= 0
        return numpy.where(seen, added, numpy.float32("-inf")).reshape(1, -1, s.queries, s.keys)

    def _attention(self, s):
        q, k, v = self._operands(s)
        added = self._added(s)
        return self._call(
            "Attention", [q, k, v, added], [(q.dtype, q.shape)], is_causal=int(s.mask == "causal")
        )

    # Matrices

    def _linear(self, s):
        x, weight = self.draw(s.rows, s.inputs), self.draw(s.outputs, s.inputs)
        return self._call("Gemm", [x], [(x.dtype, (s.rows, s.outputs))], [weight], transB=1)

    def _layer_norm(self, s):
        x, gain, bias = self.draw(s.rows, s.cols), self.draw(s.cols), self.draw(s.cols)
        return self._norm(s, x, [gain, bias], "LayerNormalization", "SkipLayerNormalization")

    def _rms_norm(self, s):
        x, gain = self.draw(s.rows, s.cols), self.draw(s.cols)
        return self._norm(s, x, [gain], "RMSNormalization", "SkipSimplifiedLayerNormalization")

    def _norm(self, s, x, constants, plain, skip):
        y = (x.dtype, x.shape)
        if not s.residual:
            return self._call(plain, [x], [y], constants, epsilon=EPSILON)
        residual = self.draw(s.rows, s.cols)
        return self._call(
            skip, [x, residual], [y, None, None, y], constants, "com.microsoft", epsilon=EPSILON
        )

    def _gelu(self, s):
        x = self.draw(s.rows, s.cols)
        return self._call("Gelu", [x], [(x.dtype, x.shape)], approximate=s.form)

    def _softmax(self, s):
        x = self.draw(s.rows, s.cols)
        return self._call("Softmax", [x], [(x.dtype, x.shape)], axis=-1)

    # Encoders

    def _encoder(self, s):
        from pytorch import encoder, padded

        tokens, mask = (numpy.array(array) for array in padded(s.lengths, encoder(s.folder, "cpu")))
        hidden = self._proved(s.folder, tokens, mask)
        return lambda: hidden(tokens, mask)

    def _sentences(self, s):
        """As sentence-transformers does it: tokens, hidden states, their mean, length 1."""
        import tokenizers

        tokenizer = tokenizers.Tokenizer.from_file(str(s.folder / "tokenizer.json"))
        tokenizer.enable_truncation(256)
        tokenizer.enable_padding()

        def operands():
            encodings = tokenizer.encode_batch(s.texts)
            tokens = numpy.array([encoding.ids for encoding in encodings])
            return tokens, numpy.array([encoding.attention_mask for encoding in encodings])

        hidden = self._proved(s.folder, *operands())

        def call():
            tokens, mask = operands()
            states = hidden(tokens, mask)
            total = numpy.einsum("btw,bt->bw", states, mask.astype(states.dtype))
            return total / numpy.linalg.norm(total, axis=1, keepdims=True)

        return call

    def _proved(self, folder, tokens, mask):
        """The exported encoder as a function of ids and mask, which gives for these operands what PyTorch gives."""
        import torch
        from pytorch import encoder

        hidden = self._hidden(exported(folder))
        with torch.inference_mode():
            model = encoder(folder, "cpu")
            truth = model(input_ids=torch.tensor(tokens), attention_mask=torch.tensor(mask)).last_hidden_state
        error = abs(hidden(tokens, mask) - truth.numpy())[mask > 0].max()
        if not error < 1e-4:
            raise Refused("differs", f"hidden states are {error:.2g} off PyTorch's")
        return hidden


@functools.cache
def exported(folder):
    """The encoder as an ONNX file's bytes, for any number of sequences of any length."""
    import torch
    from pytorch import encoder

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = encoder(folder, "cpu")

        def forward(self, ids, mask):
            return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    file = io.BytesIO()
    operand = torch.ones(2, 8, dtype=torch.long)
    axes = {0: "sequences", 1: "tokens"}
    with torch.inference_mode():
        torch.onnx.export(
            Hidden().eval(),
            (operand, operand),
            file,
            input_names=["ids", "mask"],
            output_names=["hidden"],
            dynamic_axes={"ids": axes, "mask": axes, "hidden": axes},
            opset_version=17,
            dynamo=False,
        )
    return file.getvalue()
