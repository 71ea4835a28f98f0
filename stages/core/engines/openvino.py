"""OpenVINO, and the post-training quantization of NNCF."""

import logging
import sys
from collections import defaultdict
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Gt, Interval

from stages.core.engines import (
    ENCODE,
    WARMUP,
    Inputs,
    Logits,
    Operators,
    Sample,
    milliseconds,
    operator_name,
)
from stages.core.graph.quantization import matching
from stages.core.launch.errors import InputError, readable, reason
from stages.core.launch.paths import existing

if TYPE_CHECKING:
    from openvino import CompiledModel, Model, Node

# Importing openvino, and quantizing with nncf, would report to Google Analytics unasked. Both skip
# that where this package can't be imported.
sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]

PACKAGES = ("openvino", "nncf", "onnx")
LIBRARY = "openvino"
EXAMPLE = """\
import json

import numpy as np
import openvino  # reports its import to Google Analytics, unless the environment has CI=true
from tokenizers import Tokenizer

"""
EXAMPLE += ENCODE
EXAMPLE += """\
threads = {threads}  # as measured
model = openvino.compile_model(
    "model.xml",
    "CPU",
    {{
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # of whatever is not an integer product
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,  # or else a thread for each physical core at most
        "ENABLE_CPU_PINNING": False,  # or else other processes' threads get the same cores
    }},
)
inputs = {{each.any_name: np.array([values[each.any_name]]) for each in model.inputs}}
print(labels[str(model(inputs)[0].argmax())])"""
OPERATORS = {
    "embedding": ("Gather of rows",),
    "matrix products": ("FullyConnected", "FullyConnectedQuantizedLegacy", "MatMul"),
    # NNCF multiplies activations by features, so that outliers among these cost less.
    "quantize/dequantize": ("FakeQuantize", "Multiply"),
    "attention": ("Softmax", "work on heads"),
    "normalisation": ("MVN", "MulAdd"),
    "activation": ("Gelu", "Tanh", "Relu"),
    "addition": ("Add",),
}
WITHOUT = "leave its form out: -S 'quantize=[int8]' -S 'forms=[pytorch,onnx,int8]'"
# Operators between a MatMul and its constant weights.
PREPARATION = {"Convert", "Multiply", "Subtract", "Transpose", "Reshape"}


@dataclass(frozen=True)
class Options:
    """Options of NNCF's quantize."""

    texts: Annotated[int, Gt(0)]
    smooth_quant_alpha: Annotated[float, Interval(ge=0, le=1)] | None
    exclude_nodes: list[str]


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    compiled = compile_model(directory / "model.xml", threads)
    names = [each.any_name for each in compiled.inputs]
    request = compiled.create_infer_request()

    def logits(inputs: Inputs) -> np.ndarray:
        request.infer({name: inputs[name] for name in names}, share_inputs=True)
        return request.get_output_tensor().data.copy()  # the next call overwrites it

    return logits, compiled.get_property("INFERENCE_NUM_THREADS")


def compile_model(file: Path, threads: int, *, profiled: bool = False) -> "CompiledModel":
    """Return a model as it is served."""
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # or else bfloat16, where the CPU has it
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,  # or else a thread for each physical core at most
        "ENABLE_CPU_PINNING": False,  # or else other processes' threads get the same cores
        "PERF_COUNT": profiled,
    }
    with readable(file):
        return openvino.Core().compile_model(file, "CPU", settings)


def profile(directory: Path, inputs: list[Inputs], threads: int) -> tuple[Operators, float]:
    """Return the operators and the milliseconds of all calls."""
    compiled = compile_model(directory / "model.xml", threads, profiled=True)
    names = [each.any_name for each in compiled.inputs]
    nodes = {node.get_friendly_name(): node for node in compiled.get_runtime_model().get_ops()}
    request = compiled.create_infer_request()
    operators: dict[str, list[float]] = defaultdict(list)
    ms = 0.0
    for number, encoded in enumerate([*inputs[:WARMUP], *inputs]):
        taken = milliseconds(partial(request.infer, {name: encoded[name] for name in names}))
        if number < len(inputs[:WARMUP]):
            continue
        ms += taken
        for event in request.profiling_info:
            if event.status == event.EXECUTED:
                node = nodes[event.node_name]
                rank = len(node.get_input_partial_shape(0)) if node.get_input_size() else 0
                name = operator_name(event.node_type, rank)
                operators[name].append(event.real_time.total_seconds() * 1e3)
    return [(name, len(times), sum(times)) for name, times in operators.items()], ms


def quantize(source: Path, target: Path, options: Options, sample: Sample) -> str:
    """Quantize weights and activations to INT8, calibrated on train texts.

    Raises:
        InputError: an option names what the graph lacks, a product stays in fp32, or the library
            doesn't know what is in the graph.
    """
    import nncf
    import onnx
    import openvino

    nncf.set_log_level(logging.WARNING)
    file = existing(source / "model.onnx")
    with readable(file):
        onnx.load(file)  # which refuses weights outside the model's directory
    try:
        model = openvino.Core().read_model(file)
    except RuntimeError as error:
        raise InputError(f"OpenVINO can't read {file} ({reason(error)}); {WITHOUT}") from error
    names = [each.any_name for each in model.inputs]
    nodes = [node.get_friendly_name() for node in model.get_ops()]
    excluded = matching(nodes, options.exclude_nodes)
    expected = [name for name in products(model) if name not in excluded]
    texts = [{name: each[name] for name in names} for each in sample("train", options.texts)]
    alphas = nncf.AdvancedSmoothQuantParameters()
    if options.smooth_quant_alpha is not None:
        alphas.matmul = options.smooth_quant_alpha
    try:
        quantized = nncf.quantize(
            model,
            nncf.Dataset(texts),
            subset_size=len(texts),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=excluded),
            advanced_parameters=nncf.AdvancedQuantizationParameters(smooth_quant_alphas=alphas),
        )
    except nncf.InternalError as error:  # such as over the branches in DeBERTa's graph
        raise InputError(f"NNCF can't quantize {file} ({reason(error)}); {WITHOUT}") from error
    found = products(quantized, integer=True)
    if found != expected:
        odd = sorted({*found} ^ {*expected})
        raise InputError(
            f"{len(found)} products of {file} were quantized, not {len(expected)}: "
            f"{', '.join(odd[:3])} differ; check exclude_nodes, or {WITHOUT}"
        )
    openvino.save_model(quantized, target / "model.xml", compress_to_fp16=False)
    return f"{len(found)} integer products"


def products(model: "Model", *, integer: bool = False) -> list[str]:
    """Return the names of products with weights; `integer`: those of integers alone."""
    found = []
    for node in model.get_ordered_ops():
        if node.get_type_name() == "MatMul":
            weights = _constant(node.input_value(1).get_node())
            if weights and (not integer or weights.get_element_type().get_type_name() == "i8"):
                found.append(node.get_friendly_name())
    return found


def _constant(node: "Node") -> "Node | None":
    while node.get_type_name() in PREPARATION:
        node = node.input_value(0).get_node()
    return node if node.get_type_name() == "Constant" else None
