from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from stages.core.engines import Inputs
from stages.core.engines.onnxruntime import (
    Options,
    largest_activations,
    load,
    open_session,
    quantize,
)
from stages.core.graph.quantization import (
    OUTLIER,
    products_by_weights,
    ratios,
    relative_error,
    smooth,
)

FEATURES, PLACE = 48, 3


def model(products: dict[str, tuple[str, str]], inputs: str, width: int = 8) -> onnx.ModelProto:
    """Return a graph of products: output → (input, weights)."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=(FEATURES, width)) for _, name in products.values()}
    for matrix in weights.values():
        matrix[PLACE] /= 100
    graph = helper.make_graph(
        [helper.make_node("MatMul", each, [name], name) for name, each in products.items()],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, FEATURES]) for name in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in products],
        [numpy_helper.from_array(m.astype(np.float32), name) for name, m in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def values(names: str, count: int) -> list[Inputs]:
    """Return inputs of which one feature stands out."""
    random = np.random.default_rng(1)
    found = [{name: random.normal(size=(1, FEATURES)) for name in names} for _ in range(count)]
    for each in (array for inputs in found for array in inputs.values()):
        each[:, PLACE] *= 100
    return [{name: array.astype(np.float32) for name, array in each.items()} for each in found]


def test_products_stay_as_they_are(tmp_path: Path) -> None:
    # Two layers with the same weights and two products of each layer's input; one is excluded.
    products = {
        **{"a": ("x", "shared"), "b": ("z", "shared"), "c": ("x", "also"), "d": ("z", "also")},
        **{"e": ("x", "own"), "f": ("x", "excluded")},
    }
    graph, inputs = model(products, "xz"), values("xz", 5)

    def answers() -> list[np.ndarray]:
        onnx.save(graph, tmp_path / "model.onnx")
        session = open_session(tmp_path / "model.onnx", 1)
        return [array for each in inputs for array in session.run([*products], each)]

    before = answers()
    found = products_by_weights(graph.graph, {"MatMul"}, {"f"})
    assert {name: len(nodes) for name, nodes in found.items()} == {"shared": 2, "also": 2, "own": 1}
    smooth(graph.graph, found, largest_activations(graph, ["x", "z"], inputs, tmp_path), 0.5)
    for expected, array in zip(before, answers(), strict=True):
        np.testing.assert_allclose(array, expected, rtol=1e-5, atol=1e-5)
    divided = [node.input[0] for node in graph.graph.node if node.op_type == "Mul"]
    assert sorted(divided) == ["x", "x", "z"]  # x once for both that z is read by, once for e


def test_weights_that_other_nodes_read_are_left_alone() -> None:
    graph = model({"a": ("x", "w")}, "x").graph
    graph.node.append(helper.make_node("Identity", ["w"], ["copy"], "copy"))
    assert products_by_weights(graph, {"MatMul"}, set()) == {}


def test_a_feature_that_stands_out_costs_the_others_less_precision(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    onnx.save(model({"logits": ("x", "w")}, "x"), tmp_path / "source" / "model.onnx")
    inputs = values("x", 50)

    def error(smoothing: float) -> float:
        target = tmp_path / f"{smoothing}"
        target.mkdir()
        options = Options(
            per_channel=True, exclude_nodes=[], reduce_range=True, smoothing=smoothing
        )
        quantize(tmp_path / "source", target, options, lambda _, count: values("x", count))
        runs = [load(directory, 1)[0] for directory in (target, tmp_path / "source")]
        return relative_error(*(np.concatenate([*map(run, inputs)]) for run in runs))

    assert error(0.75) < 0.5 * error(0)


@given(arrays.arrays(np.float32, 9, elements=st.floats(0, 2**20, width=32)))
def test_only_what_exceeds_the_median_is_divided(activations: np.ndarray) -> None:
    found = ratios(activations)
    assert np.isfinite(found).all()
    assert (found >= 1).all()
    median = np.median(activations[activations > 0]) if activations.any() else 0
    assert (found[activations <= median] == 1).all()
    assert (np.diff(found[np.argsort(activations)]) >= 0).all()


@pytest.mark.parametrize(("times", "smoothed"), [(0.99, False), (1.01, True)])
def test_without_outliers_nothing_is_smoothed(times: float, smoothed: bool) -> None:
    graph = model({"a": ("x", "w")}, "x").graph
    activations = np.ones(FEATURES, np.float32)
    activations[PLACE] = times * OUTLIER
    before = graph.SerializeToString()
    smooth(graph, products_by_weights(graph, {"MatMul"}, set()), {"x": activations}, 1)
    assert (graph.SerializeToString() != before) is smoothed


def test_the_error_is_that_of_differences_between_classes() -> None:
    exact = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert relative_error(exact + 5, exact) == 0
    assert round(relative_error(1.1 * exact, exact), 6) == 0.1
