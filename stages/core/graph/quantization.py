"""Smoothing of outliers, excluded nodes and the error, for engines that quantize.

Smoothing moves features whose activations stand out into the weights. Dynamic quantization gives
all activations of a product one scale, so that a feature with outliers costs all others their
precision. Weights have a scale per output (per_channel), and can take over a part of it: the
feature is divided by a factor and its row of weights multiplied by it, which leaves the product as
it is (SmoothQuant, Xiao et al., 2023, arXiv:2211.10438). Here a factor depends on the activations
alone and is never below 1: SmoothQuant's also raises features whose weights are large, which makes
new outliers.
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from stages.core.launch.errors import InputError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

SAMPLE = 200  # texts that activation ranges and the error are measured on
OUTLIER = 8  # times the median feature's largest activation; a product without one is not smoothed
MAX_RATIO = 1e4  # or else scaled weights would overflow


def products_by_weights(
    graph: "GraphProto", types: set[str], excluded: set[str]
) -> dict[str, list["NodeProto"]]:
    """Return the nodes of these types, by the name of their weights, shape (features, outputs).

    Weights that any other node reads are left out.
    """
    matrices = {tensor.name for tensor in graph.initializer if len(tensor.dims) == 2}
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        if node.op_type in types and node.input[1] in matrices and node.name not in excluded:
            found.setdefault(node.input[1], []).append(node)
    read = [name for node in graph.node for name in node.input]
    return {name: nodes for name, nodes in found.items() if read.count(name) == len(nodes)}


def smooth(
    graph: "GraphProto",
    products: Mapping[str, list["NodeProto"]],
    largest: Mapping[str, np.ndarray],
    strength: float,
) -> None:
    """Smooth the inputs of products, as `products_by_weights` returns them, that have outliers.

    `largest` has the largest absolute value of each feature of an input, shape (features,).
    """
    from onnx import helper, numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    # Layers may share weights (ALBERT's do), so the factor is that of all inputs they meet; and
    # products may share inputs (an attention's), and so the factor.
    numbers: dict[tuple[str, ...], int] = {}
    smoothed: dict[str, tuple[str, str]] = {}  # by a product's output
    for name, nodes in products.items():
        sources = tuple(node.input[0] for node in nodes)
        ratio = ratios(np.max([largest[source] for source in sources], axis=0))
        if ratio.max() < OUTLIER:
            continue
        number = numbers.setdefault(sources, len(numbers))
        factor = ratio ** np.float32(strength)
        scaled = numpy_helper.to_array(weights[name]) * factor[:, None]
        weights[name].CopyFrom(numpy_helper.from_array(scaled, name))
        divisor = f"smoothing_{number}"
        if divisor not in weights:
            weights[divisor] = graph.initializer.add()
            weights[divisor].CopyFrom(numpy_helper.from_array(1 / factor, divisor))
        smoothed |= {node.output[0]: (divisor, f"{node.input[0]}/{divisor}") for node in nodes}
    nodes, made = [], set()
    for node in graph.node:
        if node.output[0] in smoothed:
            divisor, target = smoothed[node.output[0]]
            if target not in made:
                nodes.append(helper.make_node("Mul", [node.input[0], divisor], [target], target))
                made.add(target)
            node.input[0] = target
        nodes.append(node)
    graph.ClearField("node")
    graph.node.extend(nodes)


def ratios(largest: np.ndarray) -> np.ndarray:
    """Return how many times each feature's largest value exceeds the median feature's.

    Shape (features,), each at least 1; features that are always zero don't count.
    """
    present = largest[largest > 0]
    median = np.median(present) if present.size else 1
    return np.maximum(largest.astype(float) / median, 1).clip(max=MAX_RATIO).astype(np.float32)


def matching(names: list[str], exclude_nodes: list[str]) -> list[str]:
    """Return the nodes to exclude; raise InputError if a pattern matches none."""
    for pattern in exclude_nodes:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise InputError(
                f"exclude_nodes has {pattern!r}, which matches no node; one is called {names[0]!r}"
            )
    return [name for name in names if any(fnmatchcase(name, p) for p in exclude_nodes)]


def relative_error(logits: np.ndarray, exact: np.ndarray) -> float:
    """Return the error of logits, shape (texts, classes), as a share of how far texts spread.

    Of the differences between classes alone: what is added to all of them changes no answer.
    """
    logits, exact = (each - each.mean(axis=1, keepdims=True) for each in (logits, exact))
    return float(np.sqrt(((logits - exact) ** 2).mean() / exact.var(axis=0).mean()))
