"""The least time that a call can take on this machine: a roofline (Williams et al., 2009).

A call multiplies, and reads every weight once. Neither can beat the machine's rates for large
matrix products and for summing one large array, which are measured here.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from safetensors import safe_open

from stages.core.engines import milliseconds
from stages.core.launch.errors import read_json
from stages.tools.peers import UnsupportedError

SIZES = (512, 1024, 2048)  # of square matrices; which one is the fastest depends on the caches
REPEATS = 20
# The products of a layer: BERT's, RoBERTa's and ELECTRA's; MPNet's; DistilBERT's. The last layer
# needs the keys and values of all tokens, but the rest of the first one alone.
ALL_TOKENS = re.compile(r"\b(key|value|attn\.k|attn\.v|k_lin|v_lin)\.weight$")
ONE_TOKEN = re.compile(
    r"\b(query|attn\.q|attn\.o|q_lin|out_lin|attention\.output\.dense|intermediate\.dense|"
    r"output\.dense|lin1|lin2)\.weight$"
)
LAYER = re.compile(r"\blayer\.(\d+)\.")


@dataclass(frozen=True)
class Rates:
    """Operations a second, of one addition or multiplication each."""

    int8: float
    fp32: float


@dataclass(frozen=True)
class Work:
    """What a call must do, for so many tokens."""

    bytes: int  # of INT8 weights
    products: int  # operations of INT8
    attention: int  # operations of fp32, on what depends on the text


def measure_rates(threads: int) -> Rates:
    """Return the highest rates of the fastest libraries here, over several sizes."""
    import torch

    torch.set_num_threads(threads)
    int8, fp32 = [], []
    for size in SIZES:
        operations = 2 * size**3
        matrix = torch.rand(size, size)
        fp32.append(operations / least_seconds(partial(torch.matmul, matrix, matrix)))
        int8.append(operations / least_seconds(integer_product(size, threads)))
    return Rates(max(int8), max(fp32))


def integer_product(size: int, threads: int) -> Callable[[], object]:
    """Return a function that multiplies two square INT8 matrices in ONNX Runtime."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    weights = random.integers(-127, 127, (size, size), dtype=np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, (size, size))],
        [helper.make_tensor_value_info("y", TensorProto.INT32, (size, size))],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(onnx.ModelProto.SerializeToString(model), options)
    values = random.integers(0, 255, (size, size), dtype=np.uint8)
    return lambda: session.run(None, {"x": values})


def seconds_to_read(count: int, threads: int) -> float:
    """Return how long it takes to read so many bytes that were read just before."""
    import torch

    torch.set_num_threads(threads)
    values = torch.zeros(count // 8, dtype=torch.int64)
    return least_seconds(values.sum)


def least_seconds(call: Callable[[], object]) -> float:
    """Return the least time of several calls."""
    return min(milliseconds(call) for _ in range(REPEATS)) / 1e3


def work(checkpoint: Path, tokens: int) -> Work:
    """Return what a call of a checkpoint must do; UnsupportedError if its layers are unknown."""
    config = read_json(checkpoint / "config.json")
    layers: dict[str, int] = {}
    shapes = {}
    with safe_open(checkpoint / "model.safetensors", "np") as weights:
        for name in weights.keys():  # noqa: SIM118
            shape = weights.get_slice(name).get_shape()
            if len(shape) != 2 or "embeddings" in name or "attention_bias" in name:
                continue
            shapes[name] = math.prod(shape)
            if found := LAYER.search(name):
                layers[name] = int(found[1])
                if not ALL_TOKENS.search(name) and not ONE_TOKEN.search(name):
                    raise UnsupportedError(f"roofline.py doesn't know what {name} is for")
    if not layers:
        raise UnsupportedError(f"roofline.py doesn't know the layers of {config['model_type']}")
    last = max(layers.values())
    products = 0
    for name, size in shapes.items():
        whole = name in layers and (layers[name] < last or ALL_TOKENS.search(name))
        products += 2 * size * (tokens if whole else 1)
    width = config.get("hidden_size") or config["dim"]
    queries = last * tokens + 1  # scores, and the sum that they weight, for each of them
    return Work(sum(shapes.values()), products, 4 * queries * tokens * width)


def limit_ms(needed: Work, rates: Rates, threads: int) -> float:
    """Return the least milliseconds of a call."""
    computing = needed.products / rates.int8 + needed.attention / rates.fp32
    return max(computing, seconds_to_read(needed.bytes, threads)) * 1e3
