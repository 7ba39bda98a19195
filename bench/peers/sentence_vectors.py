"""sentence-transformers' side: its own encode, with PyTorch, from texts to vectors."""

import sentence_transformers
import torch

from sides import Side


class SentenceTransformers:
    name = "sentence-transformers"

    def __init__(self, device="cpu", threads=2):
        self.device, self.version = device, sentence_transformers.__version__
        torch.set_num_threads(threads)

    def sides(self, shape):
        yield Side("encode", lambda: self._encode(shape.sizes))

    def _encode(self, s):
        model = sentence_transformers.SentenceTransformer(
            str(s.folder), device=self.device, local_files_only=True
        )
        return lambda: model.encode(s.texts, batch_size=32, show_progress_bar=False)
