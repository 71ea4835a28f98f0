import math
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import AutoTokenizer, pipeline

from stages.core.engines.onnxruntime import integer_products
from stages.core.launch.errors import InputError
from stages.core.serving.variant import Variant
from stages.core.text.corpus import load_corpus

INT8 = Variant("teacher", "int8").directory
TEACHER = ("run.model=teacher", "run.form=int8")
ATTENTIONS = 3  # a layer's queries, keys and values are made in its fused attention
PRODUCTS = 3 * 3 + 2  # three more a layer, pooler and classifier


def node_counts(file: Path) -> dict[str, int]:
    types = [node.op_type for node in onnx.load(file).graph.node]
    return {name: types.count(name) for name in set(types)}


def test_every_product_by_weights_is_an_integer_one(project: Callable) -> None:
    before = node_counts(Variant("teacher", "onnx").directory / "model.onnx")
    after = node_counts(INT8 / "model.onnx")
    assert before["MatMul"] + before["Gemm"] == after["MatMulInteger"] == PRODUCTS
    assert before["Attention"] == after["QAttention"] == ATTENTIONS
    assert not {"MatMul", "Gemm", "Attention"} & set(after)
    assert integer_products(INT8 / "model.onnx") == PRODUCTS + ATTENTIONS


def test_a_plain_export_is_quantized_whole_too(project: Callable) -> None:
    project("export", "run.model=teacher", "export.optimize=false")
    project("quantize", *TEACHER)
    after = node_counts(INT8 / "model.onnx")
    assert after["MatMulInteger"] == PRODUCTS + 3 * ATTENTIONS
    assert after["MatMul"] == 2 * ATTENTIONS  # queries by keys, and those by values


def test_the_directory_is_complete(project: Callable) -> None:
    """It loads in optimum and in a transformers pipeline, and classifies right."""
    model = ORTModelForSequenceClassification.from_pretrained(INT8)
    classify = pipeline(
        "text-classification", model=model, tokenizer=AutoTokenizer.from_pretrained(INT8)
    )
    test = load_corpus()["test"]
    names = test.features["label"].names
    found = [answer["label"] for answer in classify(test["text"][:])]
    right = [names[label] == answer for label, answer in zip(test["label"], found, strict=True)]
    assert sum(right) / len(right) > 0.9


def test_excluded_nodes_stay_fp32(project: Callable) -> None:
    def quantized(*settings: str) -> tuple[int, int]:
        project("quantize", *TEACHER, *(f"quantize.int8.{each}" for each in settings))
        counts = node_counts(INT8 / "model.onnx")
        return counts.get("MatMulInteger", 0), counts.get("QAttention", 0)

    assert quantized("exclude_nodes=['*/classifier/*']") == (PRODUCTS - 1, ATTENTIONS)
    assert quantized("exclude_nodes=['*/layer.0/*']") == (PRODUCTS - 3, ATTENTIONS - 1)
    assert quantized("exclude_nodes=['*/Attention_*']") == (PRODUCTS, 0)


def test_outliers_are_smoothed(project: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def divided() -> int:
        project("quantize", *TEACHER)
        nodes = onnx.load(INT8 / "model.onnx").graph.node
        return sum(any(name.startswith("smoothing_") for name in node.input) for node in nodes)

    assert divided() == 0
    monkeypatch.setattr("stages.core.graph.quantization.OUTLIER", 1)
    assert divided() == 4 * ATTENTIONS  # what attention, its output and the two layers after read


def test_per_channel_gives_every_output_its_scale(project: Callable) -> None:
    def largest_scale() -> int:
        tensors = onnx.load(INT8 / "model.onnx").graph.initializer
        return max(math.prod(each.dims) for each in tensors if each.name.endswith("_scale"))

    assert largest_scale() == 3 * 32  # an attention's: queries, keys and values
    project("quantize", "quantize.int8.per_channel=false", *TEACHER)
    assert largest_scale() == 1


def test_a_pattern_that_matches_no_node_is_named(project: Callable) -> None:
    with pytest.raises(InputError, match="exclude_nodes has 'nothing', which matches no node"):
        project("quantize", *TEACHER, "quantize.int8.exclude_nodes=[nothing]")


def test_products_that_stay_fp32_fail_the_check(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (INT8 / "model.onnx").read_bytes()
    expected = PRODUCTS + ATTENTIONS

    def copy(model_input: onnx.ModelProto, model_output: Path, **_: object) -> None:
        model_output.write_bytes(model_input.SerializeToString())

    monkeypatch.setattr("onnxruntime.quantization.quantize_dynamic", copy)
    with pytest.raises(InputError, match=f"^0 of {expected} products .*; check exclude_nodes"):
        project("quantize", *TEACHER)
    assert (INT8 / "model.onnx").read_bytes() == before
