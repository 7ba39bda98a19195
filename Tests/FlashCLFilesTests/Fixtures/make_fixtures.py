"""Makes the fixtures of this folder: pip install gguf==0.19.0 safetensors==0.8.0 numpy, then run it here.

types.gguf          version 3: one [37, 96] tensor per storage type, named after it; metadata of every value type
types-v2.gguf       the same bytes under version 2
types.safetensors   the same names: what gguf's own dequantiser makes of each, as F32
unsupported.gguf    alignment 64; tensors of types that are only listed (IQ4_XS, I64, F64, I8), between two that are read
mixed.safetensors   every data type that safetensors' NumPy side writes and BF16, a scalar, an empty tensor, metadata
folder/             config.json as Python writes it (NaN, 1e30 as an integer) and model.safetensors
*.npy               float16, float32, float64, int8, uint8, int32, int64, bool arrays of 0 to 3 dimensions
"""

import json
import os

import numpy as np
from gguf import GGMLQuantizationType as Type, GGUFWriter, quants
from safetensors import TensorSpec, serialize_file
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
random = np.random.default_rng(20240601)


def at(name):
    return os.path.join(here, name)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_types():
    writer = GGUFWriter(at("types.gguf"), "fixture")
    for kind, value in [("uint8", 200), ("int8", -100), ("uint16", 60000), ("int16", -30000), ("uint32", 4000000000),
                        ("int32", -2000000000), ("float32", 0.1), ("uint64", 2**63 + 1), ("int64", -(2**62)),
                        ("float64", 0.1), ("bool", True), ("string", "caf\u00e9 \U0001f600")]:
        getattr(writer, "add_" + kind)("value." + kind, value)
    writer.add_array("array.strings", ["a", "caf\u00e9", "cafe\u0301", ""])
    writer.add_array("array.ints", [1, -2, 3])
    writer.add_array("array.floats", [0.5, -1.5])
    writer.add_array("array.bools", [True, False, True])
    # Bytes that are no UTF-8, as a byte-level vocabulary may hold.
    writer.add_array("array.bytes", [b"\xff\xfe", b"ok"])

    # Rows of different sizes, so that the scales differ; one row of zeros, where a block's scale is 0.
    truth = (random.standard_normal((37, 96)) * np.exp(random.uniform(-3, 3, (37, 1)))).astype(np.float32)
    truth[5] = 0
    dequantised = {}
    for type in [Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1]:
        name = type.name.lower()
        packed = quants.quantize(truth, type)
        writer.add_tensor(name, packed, raw_dtype=type)
        dequantised[name] = np.ascontiguousarray(quants.dequantize(packed, type), dtype=np.float32)
    cube = random.standard_normal((2, 3, 4)).astype(np.float32)
    writer.add_tensor("cube", cube)
    writer.add_tensor("vector", np.arange(5, dtype=np.int32))
    dequantised["cube"] = cube
    finish(writer)
    save_file(dequantised, at("types.safetensors"))

    with open(at("types.gguf"), "rb") as file:
        bytes = bytearray(file.read())
    bytes[4] = 2
    with open(at("types-v2.gguf"), "wb") as file:
        file.write(bytes)


def make_unsupported():
    writer = GGUFWriter(at("unsupported.gguf"), "fixture")
    writer.add_custom_alignment(64)
    writer.add_tensor("first", np.arange(6, dtype=np.float32).reshape(2, 3))
    packed = random.integers(0, 256, (3, 2 * 136), dtype=np.uint8)
    writer.add_tensor("blk.0.ffn_down.weight", packed, raw_dtype=Type.IQ4_XS)
    writer.add_tensor("positions", np.arange(4, dtype=np.int64))
    writer.add_tensor("doubles", np.arange(4, dtype=np.float64))
    writer.add_tensor("bytes", np.arange(4, dtype=np.int8))
    writer.add_tensor("last", np.arange(6, 12, dtype=np.float32).reshape(2, 3))
    finish(writer)


def make_split():
    """Four vectors in parts of at most two: split-00001-of-00002.gguf, split-00002-of-00002.gguf."""
    writer = GGUFWriter(at("split.gguf"), "fixture", split_max_tensors=2)
    for number in range(4):
        writer.add_tensor(f"part.{number}", np.arange(3, dtype=np.float32) + 10 * number)
    finish(writer)


def make_safetensors():
    tensors = {}

    def add(name, dtype, array):
        tensors[name] = array, dtype

    values = np.arange(6).reshape(2, 3)
    for dtype in ["float64", "float32", "float16", "int64", "uint64", "int32", "uint32", "int16", "uint16", "int8",
                  "uint8", "bool"]:
        add(dtype, dtype, values.astype(dtype))
    add("bfloat16", "bfloat16", (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16))
    add("scalar", "float32", np.array(2.5, dtype=np.float32))
    add("empty", "float32", np.zeros((0, 7), dtype=np.float32))
    specs = {}
    for name, (array, dtype) in tensors.items():
        specs[name] = TensorSpec(dtype=dtype, shape=list(array.shape), data_ptr=array.ctypes.data, data_len=array.nbytes)
    serialize_file(specs, at("mixed.safetensors"), {"note": "caf\u00e9"})


def make_folder():
    os.makedirs(at("folder"), exist_ok=True)
    with open(at("folder/config.json"), "w") as file:
        json.dump({"model_type": "fixture", "hidden_size": 3, "norm_eps": 1e-05, "nothing": None, "limit": int(1e30),
                   "nan": float("nan"), "low": float("-inf"), "name": "caf\u00e9 \U0001f600"}, file, indent=2)
    save_file({"weight": np.arange(6, dtype=np.float32).reshape(2, 3)}, at("folder/model.safetensors"))


def make_npy():
    np.save(at("float16.npy"), np.array([[0.1, -0.0], [np.inf, 65504]], dtype=np.float16))
    np.save(at("int8.npy"), np.array([-128, 0, 127], dtype=np.int8))
    np.save(at("uint8.npy"), np.array([[0, 1, 255]], dtype=np.uint8))
    np.save(at("bool.npy"), np.array([[True, False], [False, True]]))
    np.save(at("text.npy"), np.array(["one"]))
    np.save(at("float32.npy"), np.array([[0.1, -0.0, np.inf], [1e-45, 3e38, -2.5]], dtype=np.float32))
    np.save(at("float64.npy"), np.array([0.1, 1e-300, -2.5]))
    np.save(at("int32.npy"), np.arange(-12, 12, dtype=np.int32).reshape(2, 3, 4))
    np.save(at("int64.npy"), np.array(2**62 + 1, dtype=np.int64))
    np.save(at("fortran.npy"), np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)))
    np.save(at("bigendian.npy"), np.arange(6, dtype=">f4"))


make_types()
make_unsupported()
make_split()
make_safetensors()
make_folder()
make_npy()
