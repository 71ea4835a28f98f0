"""ONNX Runtime, and its dynamic quantization."""

import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Le, MinLen

from stages.core.engines import WARMUP, Inputs, Logits, Operators, Sample, operator_name
from stages.core.graph.quantization import (
    TEXTS,
    matching,
    products_by_weights,
    smooth,
)
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

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.no_padding()
tokenizer.enable_truncation({max_length})
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = {threads}  # as measured
session = onnxruntime.InferenceSession(
    "model.onnx",
    options,
    providers=["CPUExecutionProvider"],
    disabled_optimizers=["SkipLayerNormFusion"],  # slower than its parts on a CPU
)
labels = json.load(open("config.json"))["id2label"]

encoding = tokenizer.encode("A lovely film.")
values = {{
    "input_ids": encoding.ids,
    "attention_mask": encoding.attention_mask,
    "token_type_ids": encoding.type_ids,
}}
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
# Operators that hold products with weights, and the type as which each is quantized.
PRODUCTS = {"MatMul": "MatMul", "Gemm": "MatMul", "Attention": "Attention"}
SMOOTHED = {"MatMul", "Attention"}  # not Gemm, whose weights may be transposed


@dataclass(frozen=True)
class Options:
    """Options of onnxruntime's quantize_dynamic, and of the smoothing before it."""

    per_channel: bool
    op_types: Annotated[list[str], MinLen(1)] | None
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
        InputError: an option names what the graph lacks, or a product stays in fp32.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    file = existing(source / "model.onnx")
    with readable(file):  # onnx itself refuses weights outside the model's directory
        loaded = onnx.load(file)
    graph = loaded.graph
    excluded = nodes_to_exclude(graph, options)
    expected = products_to_quantize(graph, options.op_types, excluded)
    types = SMOOTHED & {*(options.op_types or SMOOTHED)}
    products = products_by_weights(graph, types, {*excluded})
    if options.smoothing and products:
        names = sorted({node.input[0] for nodes in products.values() for node in nodes})
        with scratch_beside(target / "model.onnx") as scratch:  # it takes as much as the model
            found = largest(loaded, names, sample("train", TEXTS), scratch)
        smooth(graph, products, found, options.smoothing)
    add_pre_process_metadata(loaded)  # which quantize_dynamic advises; the export has done it
    quantize_dynamic(
        model_input=loaded,
        model_output=target / "model.onnx",
        weight_type=QuantType.QInt8,
        per_channel=options.per_channel,
        reduce_range=options.reduce_range,
        op_types_to_quantize=options.op_types,
        # onnxruntime first turns a Gemm into a MatMul of this name and an Add.
        nodes_to_exclude=[*excluded, *(f"{name}_MatMul" for name in excluded)],
        # ONNX can't infer the output types of a fused attention, which is not its own operator.
        extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
    )
    integer = integer_products(target / "model.onnx")
    if integer != expected:
        raise InputError(
            f"{integer} products and attentions of {file} were quantized, not {expected}; check "
            "op_types and exclude_nodes"
        )
    return f"{expected} integer products and attentions"


def largest(
    model: "ModelProto", names: list[str], inputs: list[Inputs], scratch: Path
) -> dict[str, np.ndarray]:
    """Return the largest absolute value of each feature of the named activations, over `inputs`.

    A copy of the model that shows them is written into the directory `scratch`.
    """
    import onnx

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    for name in names:
        shown.graph.output.add().name = name
    onnx.save(shown, scratch / "shown.onnx")
    session = open_session(scratch / "shown.onnx", cores())
    read = [node.name for node in session.get_inputs()]
    found: dict[str, np.ndarray] = {}
    for encoded in inputs:
        values = session.run(names, {name: encoded[name] for name in read})
        for name, each in zip(names, values, strict=True):
            features = np.abs(each).reshape(-1, each.shape[-1]).max(axis=0)
            found[name] = np.maximum(found.get(name, 0), features)
    return found


def nodes_to_exclude(graph: "GraphProto", options: Options) -> list[str]:
    """Return the nodes that stay fp32; raise InputError if an option names what the graph lacks."""
    from onnxruntime.quantization.registry import IntegerOpsRegistry

    known = {node.op_type for node in graph.node} & set(IntegerOpsRegistry)
    if missing := sorted(set(options.op_types or ()) - known):
        raise InputError(
            f"op_types has {', '.join(missing)}; the model's types that can be quantized are "
            f"{', '.join(sorted(known))}"
        )
    return matching([node.name for node in graph.node], options.exclude_nodes)


def products_to_quantize(
    graph: "GraphProto", op_types: list[str] | None, excluded: list[str]
) -> int:
    """Return how many products with constant weights, or fused attentions, are to be quantized."""
    constants = {tensor.name for tensor in graph.initializer}
    return sum(
        node.op_type in PRODUCTS
        and (op_types is None or PRODUCTS[node.op_type] in op_types)
        and node.input[1] in constants
        and node.name not in excluded
        for node in graph.node
    )


def integer_products(model: Path) -> int:
    """Return the number of integer matrix products and attentions in an ONNX file."""
    import onnx

    graph = onnx.load(model).graph
    return sum(node.op_type in ("MatMulInteger", "QAttention") for node in graph.node)
