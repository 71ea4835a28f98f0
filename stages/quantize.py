"""Quantize an exported model's weights to INT8, its activations as it runs."""

import shutil
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from pydantic.dataclasses import dataclass

from stages.core.app import launch
from stages.core.config import STRICT, ModelName
from stages.core.errors import InputError
from stages.core.files import whole_directory
from stages.core.layout import variant_directory


@dataclass(config=STRICT)
class QuantizeConfig:
    """Settings of onnxruntime's dynamic quantization."""

    model: ModelName
    per_channel: bool
    op_types: list[str] | None
    exclude_nodes: list[str]
    reduce_range: bool


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    quantize: QuantizeConfig


def run(config: Config) -> str:
    """Write a model's int8 variant, once its matrix products are integer ones."""
    settings = config.quantize
    source = variant_directory(f"{settings.model}_onnx")
    target = variant_directory(f"{settings.model}_int8")
    expected = quantizable(source / "model.onnx", settings)
    with whole_directory(target) as directory:
        for file in source.iterdir():
            if file.suffix != ".onnx":
                shutil.copyfile(file, directory / file.name)
        quantize_dynamic(
            model_input=source / "model.onnx",
            model_output=directory / "model.onnx",
            weight_type=QuantType.QInt8,
            per_channel=settings.per_channel,
            reduce_range=settings.reduce_range,
            op_types_to_quantize=settings.op_types,
            nodes_to_exclude=settings.exclude_nodes,
        )
        found = integer_products(directory / "model.onnx")
        if found != expected:
            raise InputError(
                f"{found} of the {settings.model}'s matrix products became integer ones, "
                f"{expected} should have; look at quantize.op_types and quantize.exclude_nodes"
            )
        size = (directory / "model.onnx").stat().st_size / (source / "model.onnx").stat().st_size
    return f"{target}, {found} integer matrix products, {size:.0%} of the size"


def quantizable(model: Path, settings: QuantizeConfig) -> int:
    """Return how many matrix products by a constant `settings` ask to quantize.

    Raises:
        InputError: a node or an operator type to quantize or to leave is not in the model.
    """
    graph = onnx.load(model, load_external_data=False).graph
    names, types = {node.name for node in graph.node}, {node.op_type for node in graph.node}
    for key, wanted, known in (
        ("exclude_nodes", settings.exclude_nodes, names),
        ("op_types", settings.op_types or [], types),
    ):
        missing = [item for item in wanted if item not in known]
        if missing:
            raise InputError(f"quantize.{key} names {', '.join(missing)}, which the model lacks")
    products = {"MatMul", "Gemm"} & (types if settings.op_types is None else set(settings.op_types))
    constants = {tensor.name for tensor in graph.initializer}
    return sum(
        node.op_type in products and node.input[1] in constants
        for node in graph.node
        if node.name not in settings.exclude_nodes
    )


def integer_products(model: Path) -> int:
    """Return the number of integer matrix products in an ONNX file."""
    graph = onnx.load(model, load_external_data=False).graph
    return sum(node.op_type == "MatMulInteger" for node in graph.node)


if __name__ == "__main__":
    launch(run, Config)
