"""Blockwise 8-bit matrix products, for activations with outliers.

ONNX Runtime's dynamic quantization gives all activations of a product one scale, so that an outlier
in one token costs every other its precision. Its MatMulNBits has one scale per token and block of
features, and takes up to twice as long.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

LARGEST, SMALLEST = 256, 16  # features that share a scale; large blocks are faster
INT8_LEVEL = 4  # of MatMulNBits: the products themselves are of 8 bits
OPERATOR = "MatMulNBits"
DOMAIN = "com.microsoft"


def kinds_of_products(graph: "GraphProto", excluded: set[str]) -> dict[str, list[str]]:
    """Return the names of the products that can be made in blocks, by kind: one for all layers."""
    shapes = {tensor.name: tensor.dims for tensor in graph.initializer}
    kinds: dict[str, list[str]] = {}
    for node in graph.node:
        if node.op_type != "MatMul" or node.name in excluded:
            continue
        shape = shapes.get(node.input[1], ())
        if len(shape) == 2 and shape[0] % SMALLEST == 0:
            kinds.setdefault(re.sub(r"\d+", "N", node.name), []).append(node.name)
    return kinds


def make_blockwise(model: "ModelProto", names: set[str]) -> None:
    """Replace these products with weights (MatMul) by those in blocks."""
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.name not in names:
            continue
        matrix = numpy_helper.to_array(weights[node.input[1]])
        features, outputs = matrix.shape
        block = np.gcd(features, LARGEST).item()
        blocks = matrix.T.reshape(outputs, features // block, block)
        scales = np.abs(blocks).max(axis=2).astype(np.float32) / 127
        scales[scales == 0] = 1
        integers = (np.round(blocks / scales[..., None]) + 128).astype(np.uint8)
        added = [f"{node.name}_{part}" for part in ("blocks", "scales")]
        for name, array in zip(added, (integers, scales), strict=True):
            graph.initializer.append(numpy_helper.from_array(array, name))
        replacement = helper.make_node(
            OPERATOR,
            [node.input[0], *added],
            node.output,
            node.name,
            domain=DOMAIN,
            K=features,
            N=outputs,
            bits=8,
            block_size=block,
            accuracy_level=INT8_LEVEL,
        )
        node.CopyFrom(replacement)
    read = {name for node in graph.node for name in node.input}
    for name in weights.keys() - read:
        graph.initializer.remove(weights[name])
    if DOMAIN not in {each.domain for each in model.opset_import}:
        model.opset_import.append(helper.make_opsetid(DOMAIN, 1))


def fewest_kinds(
    error: Callable[[Sequence[str]], float], kinds: Sequence[str], tolerance: float
) -> tuple[list[str], float]:
    """Return which kinds of products to make in blocks, and the error of the logits with these.

    Greedily, until the error is within the tolerance: each step adds the kind that lowers it most.
    """
    chosen: list[str] = []
    found = error(chosen)
    while found > tolerance and len(chosen) < len(kinds):
        errors = {kind: error([*chosen, kind]) for kind in kinds if kind not in chosen}
        best = min(errors, key=lambda kind: errors[kind])
        if errors[best] >= found:
            break
        chosen, found = [*chosen, best], errors[best]
    return chosen, found
