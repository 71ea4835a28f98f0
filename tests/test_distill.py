from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages import distill
from stages.core.launch.paths import LABELLED
from stages.core.serving.classifier import encode, load_classifier, load_tokenizer
from stages.core.serving.variant import Manifest, Variant
from stages.core.text.corpus import load_corpus, load_texts
from tests.families import make

TEACHER = Variant("teacher", "pytorch").directory
STUDENT = Variant("student", "pytorch").directory


def test_the_student_has_learnt_from_the_teacher(project: Callable) -> None:
    assert pd.read_csv("reports/distill.csv")["validation_accuracy"].max() > 0.9
    student = AutoModelForSequenceClassification.from_pretrained(STUDENT)
    assert student.config.model_type == "bert"
    assert student.config.num_hidden_layers == 2
    assert student.config.id2label == {0: "negative", 1: "positive"}
    encoded = AutoTokenizer.from_pretrained(STUDENT)("a lovely film")
    assert [*encoded] == ["input_ids", "token_type_ids", "attention_mask"]  # as its teacher
    assert Manifest.read(STUDENT) == Manifest("pytorch", "PyTorch", positions=64)


@pytest.mark.parametrize("label_weight", [0.5, 1])
def test_the_student_learns_from_labelled_texts_and_never_from_held_out_ones(
    project: Callable, monkeypatch: pytest.MonkeyPatch, label_weight: float
) -> None:
    train = Mock(return_value=pd.read_csv("reports/distill.csv"))
    monkeypatch.setattr(distill.trainer, "train", train)
    project("distill", f"distill.label_weight={label_weight}")
    texts = train.call_args.args[2]
    assert {*texts} == {"train", "validation"}
    taught = label_weight < 1  # by the teacher
    assert ("teacher_logits" in texts["train"].column_names) is taught
    source = load_texts(LABELLED) if taught else load_corpus()["train"]
    assert texts["train"]["label"][:] == source["label"][:]


def test_a_student_can_start_from_another_encoder_with_a_tokenizer_of_its_own(
    project: Callable, tmp_path: Path
) -> None:
    other = make("roberta", tmp_path / "other")
    tokenizer = AutoTokenizer.from_pretrained(other, truncation_side="left", padding_side="left")
    tokenizer.save_pretrained(other)
    own = ["student.init=checkpoint", f"student.checkpoint={other}", "student.n_layers=1"]
    project("prepare", *own)
    project("distill", *own, "distill.epochs=1")
    student = AutoModelForSequenceClassification.from_pretrained(STUDENT)
    assert student.config.model_type == "roberta"
    assert student.config.num_hidden_layers == 1
    tokens = [AutoTokenizer.from_pretrained(each)("a lovely film") for each in (other, STUDENT)]
    assert tokens[0]["input_ids"] == tokens[1]["input_ids"]
    assert AutoTokenizer.from_pretrained(STUDENT).truncation_side == "right"  # as it is served
    project("export", "run.model=student", *own)
    text = ["a lovely film", "bad " * 99]
    exported = Variant("student", "onnx").directory
    ours, theirs = (
        load_classifier(each).logits(encode(load_tokenizer(each), text))
        for each in (exported, STUDENT)
    )
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
