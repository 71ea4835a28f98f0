from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages import distill
from stages.core.launch.paths import variant_directory
from stages.core.text.corpus import load_corpus
from stages.core.training.trainer import tokenize
from stages.distill import UNLABELLED, distillation_loss, teacher_logits, with_transfer


def batch(rows: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(rows, 3), torch.randn(rows, 3), torch.randint(3, (rows,))


def test_the_loss_on_labels_alone_is_cross_entropy() -> None:
    logits, taught, labels = batch()
    loss = distillation_loss(logits, taught, labels, temperature=3, label_weight=1)
    assert loss == pytest.approx(functional.cross_entropy(logits, labels).item())


def test_the_loss_on_the_teacher_alone_vanishes_when_both_agree() -> None:
    logits, _, labels = batch()
    loss = distillation_loss(logits, logits + 5, labels, temperature=2, label_weight=0)
    assert loss == pytest.approx(0, abs=1e-6)


def test_unlabelled_texts_add_to_the_teachers_term_alone() -> None:
    logits, taught, labels = batch()
    hidden = torch.full_like(labels, UNLABELLED)
    both = distillation_loss(logits, taught, hidden, temperature=2, label_weight=0.25)
    soft = distillation_loss(logits, taught, labels, temperature=2, label_weight=0)
    assert both == pytest.approx(0.75 * soft.item())


def test_the_loss_is_a_mean_over_texts() -> None:
    """So halves of a batch, weighted alike, give the gradient of the whole."""
    logits, taught, labels = batch(8)
    labels[:3] = UNLABELLED
    whole = distillation_loss(logits, taught, labels, temperature=2, label_weight=0.3)
    halves = [
        distillation_loss(logits[part], taught[part], labels[part], temperature=2, label_weight=0.3)
        for part in (slice(0, 4), slice(4, 8))
    ]
    assert whole == pytest.approx(torch.stack(halves).mean().item())


def test_the_gradients_scale_does_not_depend_on_the_temperature() -> None:
    """The reason for the factor temperature², for small logits."""
    norms = []
    for temperature in (1.0, 8.0):
        logits = torch.tensor([[0.01, -0.01, 0.0]], requires_grad=True)
        taught = torch.tensor([[-0.01, 0.02, 0.0]])
        loss = distillation_loss(logits, taught, torch.tensor([0]), temperature, label_weight=0)
        loss.backward()
        assert logits.grad is not None
        norms.append(logits.grad.norm().item())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


def test_the_teachers_logits_are_those_of_each_text_alone(project: Callable) -> None:
    directory = variant_directory("teacher_pytorch")
    teacher = AutoModelForSequenceClassification.from_pretrained(directory).eval()
    tokenizer = AutoTokenizer.from_pretrained(directory)
    corpus = load_corpus()
    texts = with_transfer(tokenize(corpus, tokenizer, 32))
    logits = teacher_logits(teacher, tokenizer, texts, bf16=False)
    raw = [*corpus["train"]["text"], *corpus["transfer"]["text"]]
    assert logits.shape == (len(raw), 2)
    with torch.no_grad():
        for row in (0, 7, len(raw) - 1):
            alone = teacher(**tokenizer(raw[row], return_tensors="pt")).logits[0]
            np.testing.assert_allclose(logits[row], alone, atol=1e-5)


def test_the_student_has_learnt_from_the_teacher(project: Callable) -> None:
    assert pd.read_csv("reports/distill.csv")["validation_accuracy"].max() > 0.9
    student = AutoModelForSequenceClassification.from_pretrained(
        variant_directory("student_pytorch")
    )
    assert student.config.model_type == "distilbert"
    assert student.config.n_layers == 2
    assert student.config.id2label == {0: "negative", 1: "positive"}


def test_the_teacher_is_asked_once_a_text_and_not_at_all_by_the_control(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def counted(*args: object) -> np.ndarray:
        asked.append(len(args[2]))  # type: ignore[arg-type]
        return teacher_logits(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(distill, "teacher_logits", counted)
    project("distill", "distill.epochs=2")
    assert asked == [240]
    project("distill", "distill.label_weight=1")
    assert asked == [240]
