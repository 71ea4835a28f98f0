from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.engines import KINDS
from stages.core.serving.variant import Variant
from tests.conftest import QUANTIZED, VARIANTS


@pytest.fixture
def profile(project: Callable) -> pd.DataFrame:
    return pd.read_csv("reports/profile.csv")


def milliseconds(profile: pd.DataFrame, variant: str) -> pd.Series:
    return profile[profile["variant"] == variant].groupby("kind")["ms"].sum()


def test_every_variant_spends_time_on_what_it_is_made_of(profile: pd.DataFrame) -> None:
    for variant in VARIANTS:
        spent = milliseconds(profile, variant)
        form = Variant.named(variant).form
        if form == "openvino":  # what its products contain depends on the machine
            assert set(spent.index) >= {"matrix products", "quantize/dequantize", "attention"}
        else:
            expected = set(KINDS) - ({"quantize/dequantize"} if form not in QUANTIZED else set())
            assert set(spent.index) == expected
        assert (spent.drop("overhead") > 0).all()


def test_operators_are_counted_by_text(profile: pd.DataFrame) -> None:
    calls = profile.set_index(["variant", "operator"])["calls"]
    assert calls["teacher_pytorch", "aten::native_layer_norm"] == 1 + 2 * 3
    assert calls["teacher_onnx", "LayerNormalization"] == 1 + 2 * 3
    assert calls["student_pytorch", "aten::embedding"] == 3
    for form in ("onnx", "int8"):
        assert calls[f"student_{form}", "Gather of rows"] == 3  # words, positions, types
    assert calls["student_int8", "encode"] == 1


def test_integer_products_are_found_in_int8_alone(profile: pd.DataFrame) -> None:
    integer = profile[profile["operator"].str.contains("Integer|DynamicQuantize")]
    assert set(integer["variant"]) == {"teacher_int8", "student_int8"}


def test_the_slowdown_is_one_factor_a_variant(profile: pd.DataFrame) -> None:
    assert (profile.groupby("variant")["slowdown"].nunique() == 1).all()
    assert (profile["slowdown"] > 0).all()


def test_kinds_come_in_the_figures_order(profile: pd.DataFrame) -> None:
    assert profile["kind"].unique().tolist() == list(KINDS)
    figure = Path("reports/profile.svg").read_text()
    assert all(kind in figure for kind in KINDS)
