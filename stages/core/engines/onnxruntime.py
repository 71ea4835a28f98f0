"""ONNX Runtime, and its dynamic quantization."""

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le

from stages.core.engines import ENCODE, WARMUP, Inputs, Logits, Operators, Sample, operator_name
from stages.core.graph.quantization import SAMPLE, matching, products_by_weights, smooth
from stages.core.launch.atomic import scratch_beside
from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError, readable
from stages.core.launch.paths import existing

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto
    from onnxruntime import InferenceSession

PACKAGES = ("onnxruntime", "onnx", "optimum-onnx")
LIBRARY = "onnx"
EXAMPLE = """\
import json
import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # or else it reports its use, from its import on

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

"""
EXAMPLE += ENCODE
EXAMPLE += """\
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}  # as measured
session = onnxruntime.InferenceSession(
    "model.onnx",
    options,
    providers=["CPUExecutionProvider"],
    disabled_optimizers=["SkipLayerNormFusion"],  # slower than its parts on a CPU
)
inputs = {{node.name: np.array([values[node.name]]) for node in session.get_inputs()}}
print(labels[str(session.run(None, inputs)[0].argmax())])"""
OPERATORS = {
    "embedding": ("Gather of rows",),
    "matrix products": (
        *("MatMul", "Gemm", "FusedMatMul", "FusedGemm"),
        *("MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"),
    ),
    "quantize/dequantize": ("DynamicQuantizeLinear", "QuantizeLinear", "DequantizeLinear"),
    # A fused attention contains the products that make its queries, keys and values.
    "attention": ("Attention", "QAttention", "MultiHeadAttention", "Softmax", "work on heads"),
    "normalisation": ("LayerNormalization",),
    "activation": ("Gelu", "BiasGelu", "FastGelu", "QuickGelu", "Erf", "Tanh", "Relu"),
    "addition": ("Add",),
}
PRODUCTS = {"MatMul", "Gemm", "Attention"}  # operators that hold products with weights
SMOOTHED = PRODUCTS - {"Gemm"}  # whose weights may be transposed


@dataclass(frozen=True)
class Options:
    """Options of onnxruntime's quantize_dynamic, and of the smoothing before it."""

    per_channel: bool
    exclude_nodes: list[str]
    reduce_range: bool
    smoothing: Annotated[float, Ge(0), Le(1)]


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    session = open_session(directory / "model.onnx", threads)
    return logits_by(session), session.get_session_options().intra_op_num_threads


def logits_by(session: "InferenceSession") -> Logits:
    """Return a function that runs a session and returns its logits."""
    names = [node.name for node in session.get_inputs()]

    def logits(inputs: Inputs) -> np.ndarray:
        return session.run(None, {name: inputs[name] for name in names})[0]

    return logits


def open_session(file: Path, threads: int, profile: Path | None = None) -> "InferenceSession":
    """Open a session as it is served; `profile` is the prefix of the profile that it writes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    with readable(file):
        return onnxruntime.InferenceSession(
            file,
            options,
            providers=["CPUExecutionProvider"],
            # The fusion of a sum with the normalisation after it is slower than its parts on a
            # CPU, at equal output.
            disabled_optimizers=["SkipLayerNormFusion"],
        )


def profile(directory: Path, inputs: list[Inputs], threads: int) -> tuple[Operators, float]:
    """Return the operators and the milliseconds of all calls."""
    with tempfile.TemporaryDirectory() as scratch:
        session = open_session(directory / "model.onnx", threads, Path(scratch) / "profile")
        logits = logits_by(session)
        for encoded in [*inputs[:WARMUP], *inputs]:
            logits(encoded)
        events = json.loads(Path(session.end_profiling()).read_text())
    runs = [event for event in events if event["name"] == "model_run"]
    if len(runs) < len(inputs[:WARMUP]) + len(inputs):  # it keeps a million events
        raise InputError(
            f"profile.texts = {len(inputs)}, of which ONNX Runtime recorded {len(runs)}; use fewer"
        )
    runs = runs[-len(inputs) :]
    operators: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["cat"] == "Node" and event["ts"] >= runs[0]["ts"]:
            types = event["args"]["input_type_shape"]
            rank = len(next(iter(types[0].values()))) if types else 0
            name = operator_name(event["args"]["op_name"], rank)
            operators[name].append(event["dur"] / 1e3)
    rows = [(name, len(taken), sum(taken)) for name, taken in operators.items()]
    return rows, sum(run["dur"] for run in runs) / 1e3


def quantize(source: Path, target: Path, options: Options, sample: Sample) -> str:
    """Quantize weights to INT8, and activations at run time.

    Raises:
        InputError: exclude_nodes matches nothing, or a product stays in fp32.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    file = existing(source / "model.onnx")
    with readable(file):  # onnx itself refuses weights outside the model's directory
        loaded = onnx.load(file)
    graph = loaded.graph
    excluded = matching([node.name for node in graph.node], options.exclude_nodes)
    expected = products_to_quantize(graph, excluded)
    products = products_by_weights(graph, SMOOTHED, {*excluded})
    if options.smoothing and products:
        names = sorted({node.input[0] for nodes in products.values() for node in nodes})
        with scratch_beside(target / "model.onnx") as scratch:  # it takes as much as the model
            found = largest_activations(loaded, names, sample("train", SAMPLE), scratch)
        smooth(graph, products, found, options.smoothing)
    add_pre_process_metadata(loaded)  # which quantize_dynamic advises; the export has done it
    quantize_dynamic(
        model_input=loaded,
        model_output=target / "model.onnx",
        weight_type=QuantType.QInt8,
        per_channel=options.per_channel,
        reduce_range=options.reduce_range,
        # onnxruntime first turns a Gemm into a MatMul of this name and an Add.
        nodes_to_exclude=[*excluded, *(f"{name}_MatMul" for name in excluded)],
        # ONNX can't infer the output types of a fused attention, which is not its own operator.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    integer = integer_products(target / "model.onnx")
    if integer != expected:
        raise InputError(
            f"{integer} of {expected} products and attentions of {file} were quantized; check "
            "exclude_nodes"
        )
    return f"{expected} integer products and attentions"


def largest_activations(
    model: "ModelProto", names: list[str], inputs: list[Inputs], scratch: Path
) -> dict[str, np.ndarray]:
    """Return the largest absolute value of each feature of the named activations, over `inputs`.

    Writes a copy of the model with them as outputs into the directory `scratch`.
    """
    import onnx

    with_outputs = onnx.ModelProto()
    with_outputs.CopyFrom(model)
    for name in names:
        with_outputs.graph.output.add().name = name
    file = scratch / "with-outputs.onnx"
    onnx.save(with_outputs, file)
    session = open_session(file, cores())
    read = [node.name for node in session.get_inputs()]
    found: dict[str, np.ndarray] = {}
    for encoded in inputs:
        values = session.run(names, {name: encoded[name] for name in read})
        for name, each in zip(names, values, strict=True):
            features = np.abs(each).reshape(-1, each.shape[-1]).max(axis=0)
            found[name] = np.maximum(found.get(name, 0), features)
    return found


def products_to_quantize(graph: "GraphProto", excluded: list[str]) -> int:
    """Return how many products with constant weights, or fused attentions, are to be quantized."""
    constants = {tensor.name for tensor in graph.initializer}
    return sum(
        node.op_type in PRODUCTS and node.input[1] in constants and node.name not in excluded
        for node in graph.node
    )


def integer_products(model: Path) -> int:
    """Return the number of integer matrix products and attentions in an ONNX file."""
    import onnx

    graph = onnx.load(model).graph
    return sum(node.op_type in ("MatMulInteger", "QAttention") for node in graph.node)
