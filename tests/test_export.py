from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from stages import export
from stages.core.engines import Inputs
from stages.core.graph.optimize import optimize
from stages.core.launch.errors import InputError
from stages.core.serving.classifier import Classifier, encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Variant
from stages.core.text.corpus import load_corpus


@pytest.mark.parametrize("model", ["teacher", "student"])
def test_the_logits_equal_pytorchs_on_every_text_and_in_a_batch(
    project: Callable, model: str
) -> None:
    checkpoint, exported = (Variant(model, form).directory for form in ("pytorch", "onnx"))
    pytorch, onnx = load_classifier(checkpoint), load_classifier(exported)
    tokenizer = load_tokenizer(exported)
    texts = load_corpus()["test"]["text"][:]
    for batch in ([text] for text in texts):
        inputs = encode(tokenizer, batch)
        np.testing.assert_allclose(onnx.logits(inputs), pytorch.logits(inputs), atol=1e-5)
    inputs = encode(tokenizer, texts)
    np.testing.assert_allclose(onnx.logits(inputs), pytorch.logits(inputs), atol=1e-5)


def test_a_graph_can_stay_as_optimum_exports_it(project: Callable) -> None:
    message = project("export", "run.model=student", "export.optimize=false")
    assert "not optimized" in message
    model = onnx.load(Variant("student", "onnx").directory / "model.onnx")
    assert {node.domain for node in model.graph.node} == {""}  # standard operators


def test_a_difference_above_the_tolerance_fails_and_keeps_the_old_export(project: Callable) -> None:
    target = Variant("teacher", "onnx").directory / "model.onnx"
    before = target.read_bytes()
    with pytest.raises(
        InputError, match=r"gives other logits than PyTorch, by .*export.tolerance = 1e-12"
    ):
        project("export", "run.model=teacher", "export.tolerance=1e-12")
    assert target.read_bytes() == before


@pytest.mark.parametrize("damage", ["two files", "no graph", "an operator's input"])
def test_a_graph_that_cant_be_optimized_names_the_way_out(
    project: Callable, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    def break_it(file: Path, positions: int) -> str:
        if damage == "two files":
            file.with_name("model.onnx_data").touch()
            return optimize(file, positions)
        model = onnx.load(file)
        if damage == "no graph":
            del model.graph.node[:]
        else:
            model.graph.node.insert(0, onnx.helper.make_node("Unsqueeze", ["input_ids", ""], ["x"]))
        onnx.save(model, file)
        return "broken"

    monkeypatch.setattr(export, "optimize", break_it)
    with pytest.raises(InputError, match=r"can't be optimized \(.+\); use export.optimize=false"):
        project("export", "run.model=student")


def test_logits_that_are_no_numbers_fail(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(inputs: Inputs) -> np.ndarray:
        return np.full((len(inputs["input_ids"]), 2), np.nan)

    classifier = Classifier(nothing, labels=["negative", "positive"], threads=1)
    monkeypatch.setattr(export, "load_classifier", lambda _: classifier)
    with pytest.raises(InputError, match="gives other logits than PyTorch, by nan"):
        project("export", "run.model=student")


def fake(scale: float, error: float) -> Classifier:
    """Return a classifier whose logits are `scale` times as large, and all wrong by `error`."""

    def logits(inputs: Inputs) -> np.ndarray:
        return scale * np.tile([1.0, -1.0], (len(inputs["input_ids"]), 1)) + error

    return Classifier(logits, labels=["negative", "positive"], threads=1)


@pytest.mark.parametrize(
    ("scale", "error", "found"), [(1.0, 1e-3, 1e-3), (100.0, 1e-3, 1e-5), (0.01, 1e-3, 1e-3)]
)
def test_a_difference_is_a_share_of_the_largest_logit(
    project: Callable, scale: float, error: float, found: float
) -> None:
    tokenizer = load_tokenizer(Variant("teacher", "pytorch").directory)
    exact, wrong = fake(scale, 0), fake(scale, error)
    difference = export.largest_difference(tokenizer, exact, wrong, ["good film", "a bad plot"])
    assert difference == pytest.approx(found)
