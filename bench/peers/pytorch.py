"""PyTorch's sides: the eager operators, scaled_dot_product_attention by each of its kernels, compiled flex_attention,
and transformers' models.

On the CPU scaled_dot_product_attention chooses for itself (`sdpa`); on CUDA each kernel that it could choose is a
side (`math`, `efficient`, `flash`, `cudnn`), and one that does not take the shape refuses. Every call allocates its
results, as PyTorch does it; FlashCL, onnxruntime and OpenVINO write theirs to the same place again.
"""

import contextlib
import functools
import io
import warnings

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from shapes import EPSILON, HEADS, WINDOW, ids
from sides import Refused, Side

TYPES = {"f32": torch.float32, "f16": torch.float16}


class PyTorch:
    name = "PyTorch"

    def __init__(self, device="cpu", threads=2, draw=None):
        """`draw(*sizes)` makes an operand; normal numbers without it."""
        if device == "cuda" and not torch.cuda.is_available():
            raise Refused("no CUDA", f"PyTorch {torch.__version__} finds no CUDA device")
        self.device, self.version = device, torch.__version__
        self.draw = draw or (lambda *sizes: torch.randn(*sizes, device=device))
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        warnings.filterwarnings("ignore")  # of kernels, why they refuse: they say it again in the error

    def sides(self, shape):
        make = getattr(self, f"_{shape.kind}")
        if shape.kind != "attention":
            yield self._side("eager", lambda: make(shape.sizes))
            return
        if self.device == "cuda":
            for name, backend in (
                ("math", SDPBackend.MATH),
                ("efficient", SDPBackend.EFFICIENT_ATTENTION),
                ("flash", SDPBackend.FLASH_ATTENTION),
                ("cudnn", SDPBackend.CUDNN_ATTENTION),
            ):
                yield self._side(
                    name, lambda: make(shape.sizes), lambda backend=backend: sdpa_kernel(backend)
                )
        else:
            yield self._side("sdpa", lambda: make(shape.sizes))
        if shape.sizes.mask in ("window", "alibi"):
            yield self._side("flex", lambda: self._flex(shape.sizes))

    def _side(self, name, make, around=None):
        @torch.inference_mode()
        def inferring():
            call = make()
            return torch.inference_mode()(call)

        wait = torch.cuda.synchronize if self.device == "cuda" else (lambda: None)
        return Side(name, inferring, wait=wait, **({"around": around} if around else {}))

    # Attention

    def _operands(self, s):
        lengths = (s.queries, s.keys, s.keys)
        return [self.draw(1, HEADS, length, s.size).to(TYPES[s.type]) for length in lengths]

    def _distances(self, s):
        """Query's position minus key's, [queries, keys]."""
        positions = torch.arange(s.keys, dtype=torch.int32, device=self.device)
        return positions[s.keys - s.queries :, None] - positions

    def _slopes(self):
        return torch.tensor([2.0 ** (-8 * (head + 1) / HEADS) for head in range(HEADS)], device=self.device)

    def _attention(self, s):
        q, k, v = self._operands(s)
        mask = None
        if s.mask == "window":
            distances = self._distances(s)
            mask = (distances >= 0) & (distances < WINDOW)
        elif s.mask == "bias":
            mask = self.draw(1, HEADS, s.queries, s.keys)
        elif s.mask == "alibi":
            distances = self._distances(s)
            mask = (-self._slopes()[:, None, None] * distances).masked_fill_(distances < 0, float("-inf"))[
                None
            ]
        causal = s.mask == "causal"
        return lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)

    def _flex(self, s):
        q, k, v = self._operands(s)
        slopes, score = self._slopes(), None
        if s.mask == "window":

            def seen(b, h, i, j):
                return (j <= i) & (i - j < WINDOW)
        else:

            def seen(b, h, i, j):
                return j <= i

            def score(score, b, h, i, j):
                return score - slopes[h] * (i - j)

        blocks = compiled(create_block_mask)(seen, None, None, s.queries, s.keys, device=self.device)
        return lambda: compiled(flex_attention)(q, k, v, score_mod=score, block_mask=blocks)

    # Matrices

    def _linear(self, s):
        x, weight = self.draw(s.rows, s.inputs), self.draw(s.outputs, s.inputs)
        return lambda: F.linear(x, weight)

    def _layer_norm(self, s):
        x, gain, bias = self.draw(s.rows, s.cols), self.draw(s.cols), self.draw(s.cols)
        return self._norm(s, x, lambda x: F.layer_norm(x, [s.cols], gain, bias, EPSILON))

    def _rms_norm(self, s):
        x, gain = self.draw(s.rows, s.cols), self.draw(s.cols)
        return self._norm(s, x, lambda x: F.rms_norm(x, [s.cols], gain, EPSILON))

    def _norm(self, s, x, norm):
        if not s.residual:
            return lambda: norm(x)
        residual = self.draw(s.rows, s.cols)

        def call():
            total = x + residual
            return norm(total), total

        return call

    def _gelu(self, s):
        x = self.draw(s.rows, s.cols)
        return lambda: F.gelu(x, approximate=s.form)

    def _softmax(self, s):
        x = self.draw(s.rows, s.cols)
        return lambda: F.softmax(x, -1)

    # Models

    def _encoder(self, s):
        model = encoder(s.folder, self.device)
        tokens, mask = (torch.tensor(array, device=self.device) for array in padded(s.lengths, model))
        mask = None if mask.all() else mask
        return lambda: model(input_ids=tokens, attention_mask=mask).last_hidden_state

    def _prefill(self, s):
        model = decoder(s.file, self.device)
        ids = torch.randint(0, model.config.vocab_size, (1, s.prompt), device=self.device)
        return lambda: model(input_ids=ids, use_cache=True, logits_to_keep=1).logits

    def _decode(self, s):
        """Greedy; a call is a token. After `tokens` of them the cache is cut back to the prompt."""
        model = decoder(s.file, self.device)
        ids = torch.randint(0, model.config.vocab_size, (1, s.prompt), device=self.device)
        state = model(input_ids=ids, use_cache=True, logits_to_keep=1)

        def call():
            nonlocal state
            cache = state.past_key_values
            if cache.get_seq_length() >= s.prompt + s.tokens:
                cache.crop(s.prompt)
            token = state.logits[:, -1].argmax(-1, keepdim=True)
            state = model(input_ids=token, past_key_values=cache, use_cache=True, logits_to_keep=1)
            return state.logits

        return call


@functools.cache
def compiled(function):
    return torch.compile(function, dynamic=False)


def quiet_transformers():
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def padded(lengths, model):
    """Ids of sequences of these lengths, and where there are any, both [sequences, longest]."""
    sequences = ids(lengths, model.config.vocab_size)
    longest = max(lengths)
    return (
        [sequence + [0] * (longest - len(sequence)) for sequence in sequences],
        [[1] * length + [0] * (longest - length) for length in lengths],
    )


@functools.cache
def encoder(folder, device):
    """The encoder in a folder; without one MiniLM's shape, of random weights; f32."""
    from transformers import BertConfig, BertModel

    quiet_transformers()
    if folder:
        return BertModel.from_pretrained(folder, add_pooling_layer=False).eval().to(device)
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
    return BertModel(config, add_pooling_layer=False).eval().to(device)


@functools.cache
def decoder(file, device):
    """The weights of a GGUF file, dequantised; without one SmolLM2-135M's shape, of random weights; f32."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    quiet_transformers()
    if file:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar of progress, whatever is asked for
            model = AutoModelForCausalLM.from_pretrained(
                file.parent, gguf_file=file.name, dtype=torch.float32
            )
    else:
        model = AutoModelForCausalLM.from_config(
            LlamaConfig(
                hidden_size=576,
                num_hidden_layers=30,
                num_attention_heads=9,
                num_key_value_heads=3,
                intermediate_size=1536,
                vocab_size=49152,
                max_position_embeddings=8192,
                rms_norm_eps=1e-5,
                rope_theta=100000,
                tie_word_embeddings=True,
            ),
            dtype=torch.float32,
        )
    return model.eval().to(device)
