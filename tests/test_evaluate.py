from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stages.core.launch.paths import EVALUATION
from stages.core.serving.classifier import encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Variant
from stages.core.text.corpus import load_corpus
from tests.conftest import STEPS, VARIANTS, make_texts


@pytest.mark.parametrize("variant", VARIANTS)
def test_predictions_of_both_splits_are_kept(project: Callable, variant: str) -> None:
    predictions = pd.read_parquet(EVALUATION / variant / "predictions.parquet")
    corpus = load_corpus()
    for split in ("validation", "test"):
        rows = predictions[predictions["split"] == split]
        assert rows["label"].tolist() == corpus[split]["label"][:]
        assert (rows["predicted"] == rows["label"]).mean() > 0.85
        logits = rows[["logit_negative", "logit_positive"]].to_numpy()
        assert rows["predicted"].tolist() == logits.argmax(axis=1).tolist()


def test_every_text_is_a_request_of_its_own(project: Callable) -> None:
    directory = Variant("student", "int8").directory
    classifier, tokenizer = load_classifier(directory), load_tokenizer(directory)
    predictions = pd.read_parquet(EVALUATION / "student_int8" / "predictions.parquet")
    logits = predictions.loc[
        predictions["split"] == "test", ["logit_negative", "logit_positive"]
    ].to_numpy()
    for row, text in enumerate(load_corpus()["test"]["text"][:5]):
        alone = classifier.logits(encode(tokenizer, [text]))[0]
        np.testing.assert_allclose(logits[row], alone, atol=1e-6)


def test_three_classes_go_all_the_way(project: Callable) -> None:
    table = make_texts(240)
    neutral = table["label"].where(table.index % 4 > 1, "neutral")
    Path("three").mkdir()
    table.assign(label=neutral).to_csv("three/texts.csv", index=False)
    data = ["data.source.path=three", "data.files.transfer=[]", "finetune.epochs=1"]
    for stage, *overrides in STEPS[2 : STEPS.index(("benchmark",))]:
        project(stage, *data, "distill.epochs=1", *overrides)
    for variant in VARIANTS:
        predictions = pd.read_parquet(EVALUATION / variant / "predictions.parquet")
        assert set(predictions["label"]) == {0, 1, 2}
        logits = [name for name in predictions if name.startswith("logit_")]
        assert logits == ["logit_negative", "logit_neutral", "logit_positive"]


def test_a_variant_that_was_not_made_is_named(empty: Callable) -> None:
    with pytest.raises(FileNotFoundError, match="data/models/student/int8/"):
        empty("evaluate", "run.model=student", "run.form=int8")
