"""OpenVINO's sides, on the CPU: ONNX's graphs, with operands bound once; of f16 operands too it computes in f32.

onnxruntime's operators of attention are left to it: OpenVINO takes `MultiHeadAttention` for what it makes of
`Attention`, and what it makes of `GroupQueryAttention` are other numbers.
"""

import openvino

from onnx_graphs import ONNXGraphs
from sides import Refused


class OpenVINO(ONNXGraphs):
    name = "OpenVINO"

    def __init__(self, device="cpu", threads=2, draw=None):
        super().__init__(device, draw)
        self.version = openvino.__version__.split("-")[0]  # the release, without its build
        if device != "cpu":
            raise Refused("no CUDA", "OpenVINO has no CUDA")
        self.core = openvino.Core()
        self.settings = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }

    def _bound(self, graph, values, results):
        request = self._request(graph)
        for name, array in values.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))

        # A shared tensor keeps an address alone: the call holds on to what it reads.
        def call(values=values):
            return list(request.infer(share_outputs=True).values())

        return call

    def _hidden(self, graph):
        request = self._request(graph)
        return lambda ids, mask: request.infer({"ids": ids, "mask": mask}, share_outputs=True)[0]

    def _request(self, graph):
        model = self.core.compile_model(self.core.read_model(graph), "CPU", self.settings)
        return model.create_infer_request()
