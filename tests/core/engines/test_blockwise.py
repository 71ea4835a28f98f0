from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from stages.core.engines.blockwise import fewest_kinds, kinds_of_products, make_blockwise
from stages.core.engines.onnxruntime import open_session, relative_error

TOKENS, FEATURES, OUTPUTS = 8, 48, 24


@pytest.fixture
def product() -> onnx.ModelProto:
    """Return x (tokens, features) by weights, and by others that can't be made in blocks."""
    random = np.random.default_rng(0)
    shapes = {"w": (FEATURES, OUTPUTS), "narrow": (OUTPUTS, 8)}
    weights = [
        numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"], "layer.0/product"),
        helper.make_node("MatMul", ["y", "narrow"], ["z"], "layer.0/narrow"),
    ]
    x, y, z = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xyz")
    graph = helper.make_graph(nodes, "graph", [x], [y, z], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def answer(model: onnx.ModelProto, file: Path, values: np.ndarray) -> np.ndarray:
    onnx.save(model, file)
    return open_session(file, 1).run(["y"], {"x": values})[0]


def test_an_outlier_of_one_token_leaves_the_others_precise(
    product: onnx.ModelProto, tmp_path: Path
) -> None:
    values = np.random.default_rng(1).normal(size=(TOKENS, FEATURES)).astype(np.float32)
    values[0] *= 1000
    exact = answer(product, tmp_path / "exact.onnx", values)
    make_blockwise(product, {"layer.0/product"})
    found = answer(product, tmp_path / "blocks.onnx", values)
    assert not np.array_equal(found, exact)
    assert np.abs(found - exact)[1:].max() < 0.05 * np.abs(exact[1:]).max()
    assert {each.name for each in product.graph.initializer} == {
        *("narrow", "layer.0/product_blocks", "layer.0/product_scales")
    }


def test_products_are_of_a_kind_over_all_layers(product: onnx.ModelProto) -> None:
    again = product.graph.node.add()
    again.CopyFrom(product.graph.node[0])
    again.name = "layer.11/product"
    found = kinds_of_products(product.graph, set())
    assert found == {"layer.N/product": ["layer.0/product", "layer.11/product"]}
    assert kinds_of_products(product.graph, {"layer.11/product"}) == {
        "layer.N/product": ["layer.0/product"]
    }


# Gains below the rounding of their sum would be found or not, as they are added.
GAINS = st.floats(-0.1, 1).map(lambda gain: round(gain, 6))


@given(st.dictionaries(st.text(), GAINS, max_size=6), st.floats(0.01, 5))
def test_kinds_are_chosen_until_the_error_is_small_enough(
    gains: dict[str, float], tolerance: float
) -> None:
    def error(kinds: Sequence[str]) -> float:
        return 6 - sum(gains[kind] for kind in kinds)

    chosen, found = fewest_kinds(error, [*gains], tolerance)
    assert found == error(chosen)
    assert all(gains[kind] > 0 for kind in chosen)
    if found > tolerance:
        assert {*chosen} == {kind for kind, gain in gains.items() if gain > 0}
    elif chosen:
        assert error(chosen[:-1]) > tolerance
        assert min(gains[kind] for kind in chosen) >= max(
            (gain for kind, gain in gains.items() if kind not in chosen), default=0
        )


def test_the_second_kind_is_the_best_beside_the_first() -> None:
    errors = {(): 9, ("a",): 8, ("b",): 6, ("c",): 7, ("a", "b"): 1, ("b", "c"): 5}
    found = fewest_kinds(lambda kinds: errors[(*sorted(kinds),)], ["a", "b", "c"], 2)
    assert found == (["b", "a"], 1)


def test_the_error_is_that_of_differences_between_classes() -> None:
    exact = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert relative_error(exact + 5, exact) == 0
    assert relative_error(1.1 * exact, exact) == pytest.approx(0.1)
