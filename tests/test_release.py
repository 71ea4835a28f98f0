import re
from collections.abc import Callable

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from optimum.onnxruntime import ORTModelForSequenceClassification
from transformers import pipeline

from stages.core.launch.paths import RELEASE
from stages.core.serving.answers import classify
from stages.core.serving.classifier import load_classifier, load_tokenizer
from stages.core.serving.variant import Variant
from stages.predict import predict
from tests.conftest import FORMS

INT8 = "release.variant=student_int8"


def card() -> ModelCard:
    return ModelCard.load(RELEASE / "README.md")


def test_the_release_is_the_recommended_variant_and_its_card(project: Callable) -> None:
    table = pd.read_csv("reports/results.csv", index_col="variant")
    (name,) = table.index[table["recommended"]]
    source = Variant.named(name).directory
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    released = {path.name: path.read_bytes() for path in RELEASE.iterdir()}
    assert {other for other in released if other not in files} == {"README.md"}
    assert all(released[other] == data for other, data in files.items())
    assert "and recommends it under its constraints" in " ".join(card().text.split())


def test_the_card_shows_what_the_report_measured(project: Callable) -> None:
    project("release", INT8)
    row = pd.read_csv("reports/results.csv", index_col="variant").loc["student_int8"]
    data, text = card().data, " ".join(card().text.split())
    assert {result.metric_type: result.metric_value for result in data.eval_results} == {
        "accuracy": row["accuracy"],
        "f1": row["macro_f1"],
    }
    assert f"| Test accuracy | {row['accuracy']:.1%} ({row['accuracy_low']:.1%}–" in text
    assert f"| Mean latency, text to label | {row['test_label_mean_ms']:.2f} ms |" in text
    assert "It is distilled from a local encoder, fine-tuned on local texts" in text
    assert "without integer dot products (VNNI)" in text
    assert "Texts of more than 32 tokens are truncated." in text


def test_the_card_names_the_licences_in_the_config(project: Callable) -> None:
    settings = ("model.license=apache-2.0", "data.license=cc-by-4.0", "data.title=Some reviews")
    project("release", *settings)
    assert card().data.license == "apache-2.0"
    assert "a local encoder: apache-2.0. The texts, Some reviews: cc-by-4.0." in card().text


ODD = [
    "a lovely film",
    "",
    "  two  spaces\n\nand lines\tand tabs ",
    "bad awful poor dull " * 100 + "lovely great good",  # what is cut off would change the answer
    "déjà vu 😀 [SEP] [MASK]",
]


@pytest.mark.parametrize("variant", [f"student_{form}" for form in FORMS])
def test_all_ways_to_serve_a_text_give_what_was_measured(
    project: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, variant: str
) -> None:
    """The command, the benchmark's call, the card's example and the libraries' own pipeline."""
    project("release", f"release.variant={variant}")
    rows = [*predict(ODD, RELEASE)]
    labels = [row["label"] for row in rows]
    classifier, tokenizer = load_classifier(RELEASE, threads=1), load_tokenizer(RELEASE)
    assert [classify(classifier, tokenizer, [text])[0] for text in ODD] == labels

    example = re.findall(r"```python\n(.*?)```", card().text, re.DOTALL)[0]
    assert "threads(1)" in example or "threads = 1 " in example  # as benchmarked
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.chdir(RELEASE)
        for text in ODD:
            exec(example.replace('"A lovely film."', repr(text)), {})  # noqa: S102
    assert capsys.readouterr().out.split() == labels
    assert len({*labels}) == 2

    form = Variant.named(variant).form
    if form == "openvino":  # transformers doesn't serve it
        assert card().data.library_name == "openvino"
        return
    loads_onnx = form != "pytorch"
    model = (
        ORTModelForSequenceClassification.from_pretrained(RELEASE) if loads_onnx else str(RELEASE)
    )
    answer = pipeline("text-classification", model, tokenizer=str(RELEASE), truncation=True)
    for row, theirs in zip(rows, answer(ODD), strict=True):
        assert row["label"] == theirs["label"]
        assert row["score"] == pytest.approx(theirs["score"], abs=2e-4)


def test_any_variant_can_be_released(project: Callable) -> None:
    assert "teacher pytorch" in project("release", "release.variant=teacher_pytorch")
    assert not (RELEASE / "model.onnx").exists()
    assert card().data.library_name == "transformers"
    assert "VNNI" not in card().text
    assert "It is a local encoder, fine-tuned on" in card().text
    (answer,) = pipeline("text-classification", str(RELEASE))("good lovely film")
    assert answer["label"] == "positive"
