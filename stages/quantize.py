"""Quantize an exported model's weights to INT8, its activations as it runs."""

import shutil
from fnmatch import fnmatchcase
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.registry import IntegerOpsRegistry
from pydantic.dataclasses import dataclass

from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError, readable
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import existing, variant_directory
from stages.core.launch.settings import QuantizeConfig

# Operators that hold products with weights, and as what they are quantized.
PRODUCTS = {"MatMul": "MatMul", "Gemm": "MatMul", "Attention": "Attention"}


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    quantize: QuantizeConfig


def run(config: Config) -> str:
    """Write a model's int8 variant, once its matrix products are integer ones."""
    settings = config.quantize
    source = variant_directory(f"{settings.model}_onnx")
    target = variant_directory(f"{settings.model}_int8")
    graph = load_graph(source / "model.onnx")
    check_types(graph, settings.op_types)
    excluded = matching(graph, settings.exclude_nodes)
    expected = products_to_quantize(graph, settings.op_types, excluded)
    with atomic_directory(target) as directory:
        for file in source.iterdir():
            if not file.name.startswith("model.onnx"):  # nor its data, if that is beside it
                shutil.copyfile(file, directory / file.name)
        quantize_dynamic(
            model_input=source / "model.onnx",
            model_output=directory / "model.onnx",
            weight_type=QuantType.QInt8,
            per_channel=settings.per_channel,
            reduce_range=settings.reduce_range,
            op_types_to_quantize=settings.op_types,
            # onnxruntime first turns a Gemm into a MatMul of this name and an Add.
            nodes_to_exclude=[*excluded, *(f"{name}_MatMul" for name in excluded)],
            # ONNX can't infer the types that a fused attention, which is not its own, gives.
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        found = integer_products(directory / "model.onnx")
        if found != expected:
            raise InputError(
                f"{found} of the {settings.model}'s products and attentions became integer ones, "
                f"{expected} should have; look at quantize.op_types and quantize.exclude_nodes"
            )
        size = (directory / "model.onnx").stat().st_size / (source / "model.onnx").stat().st_size
    return f"{target}, {found} integer products and attentions, {size:.0%} of the size"


def load_graph(model: Path) -> onnx.GraphProto:
    """Return the graph of an ONNX file; onnx itself refuses weights that lie outside its directory.

    Raises:
        InputError: the file, or one that it names, is damaged or refused.
    """
    with readable(existing(model)):
        return onnx.load(model).graph


def check_types(graph: onnx.GraphProto, op_types: list[str] | None) -> None:
    """Raise InputError if an operator type to quantize is not in the model."""
    known = {node.op_type for node in graph.node} & set(IntegerOpsRegistry)
    missing = sorted(set(op_types or ()) - known)
    if missing:
        raise InputError(
            f"quantize.op_types names {', '.join(missing)}; what the model has and can be "
            f"quantized is {', '.join(sorted(known))}"
        )


def matching(graph: onnx.GraphProto, patterns: list[str]) -> list[str]:
    """Return the names of the nodes that match one of `patterns`; every pattern must match."""
    found = []
    for pattern in patterns:
        names = [node.name for node in graph.node if fnmatchcase(node.name, pattern)]
        if not names:
            raise InputError(
                f"quantize.exclude_nodes has {pattern!r}, which matches no node; one is called "
                f"{graph.node[0].name!r}"
            )
        found += names
    return found


def products_to_quantize(
    graph: onnx.GraphProto, op_types: list[str] | None, excluded: list[str]
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
    graph = onnx.load(model).graph
    return sum(node.op_type in ("MatMulInteger", "QAttention") for node in graph.node)


if __name__ == "__main__":
    launch(run, Config)
