from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.core.errors import InputError
from stages.core.layout import variant_directory
from stages.core.training import bf16_wanted
from stages.finetune import consistency_loss

TEACHER = variant_directory("teacher_pytorch")


def weights(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


def test_the_teacher_has_learnt_and_kept_its_best_epoch(project: Callable) -> None:
    curve = pd.read_csv("reports/finetune.csv")
    assert curve["epoch"].tolist() == list(range(1, len(curve) + 1))
    assert curve["train_loss"].iloc[-1] < curve["train_loss"].iloc[0]
    assert curve["validation_accuracy"].max() > 0.9
    model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_no_pickle_is_published(project: Callable) -> None:
    names = {path.name for path in TEACHER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_the_same_seed_gives_the_same_weights(project: Callable) -> None:
    first = weights(TEACHER)
    project("finetune")
    assert weights(TEACHER) == first
    project("finetune", "seed=14")
    assert weights(TEACHER) != first


def test_a_fine_tuned_checkpoint_can_be_kept(project: Callable, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    TEACHER.rename(mine)
    overrides = [f"model.source.path={mine}", "finetune.epochs=0"]
    project("fetch", "fetch.item=encoder", *overrides)
    assert "kept as it came" in project("finetune", *overrides)
    kept = AutoModelForSequenceClassification.from_pretrained(TEACHER).state_dict()
    source = AutoModelForSequenceClassification.from_pretrained(mine).state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in source.items())
    AutoTokenizer.from_pretrained(TEACHER)


def test_a_checkpoint_without_a_head_is_not_kept(project: Callable) -> None:
    with pytest.raises(InputError, match=r"no classification head; set finetune.epochs"):
        project("finetune", "finetune.epochs=0")


def test_a_checkpoint_for_other_labels_is_not_kept(project: Callable, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    model.config.id2label = {0: "positive", 1: "negative"}
    model.save_pretrained(mine)
    AutoTokenizer.from_pretrained(TEACHER).save_pretrained(mine)
    overrides = [f"model.source.path={mine}", "finetune.epochs=0"]
    project("fetch", "fetch.item=encoder", *overrides)
    with pytest.raises(InputError, match=r"set data.label_names to the classifier's"):
        project("finetune", *overrides)


def test_more_tokens_than_positions_are_refused(project: Callable) -> None:
    with pytest.raises(InputError, match=r"the encoder has 64 positions; use 64 or less"):
        project("finetune", "model.max_length=128")


def test_a_head_for_other_classes_is_replaced(project: Callable, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    model = AutoModelForSequenceClassification.from_pretrained(
        TEACHER, num_labels=5, ignore_mismatched_sizes=True
    )
    model.save_pretrained(mine)
    AutoTokenizer.from_pretrained(TEACHER).save_pretrained(mine)
    overrides = [f"model.source.path={mine}", "finetune.epochs=1"]
    project("fetch", "fetch.item=encoder", *overrides)
    project("finetune", *overrides)
    assert AutoModelForSequenceClassification.from_pretrained(TEACHER).config.num_labels == 2


def test_two_equal_answers_cost_their_cross_entropy_alone() -> None:
    logits, labels = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([0, 1])
    loss = consistency_loss(logits, logits, labels, weight=3)
    assert loss == pytest.approx(functional.cross_entropy(logits, labels).item())


def test_the_divergence_of_two_answers_counts_both_ways() -> None:
    first, second = torch.tensor([[2.0, -1.0]]), torch.tensor([[0.0, 0.5]])
    p, q = first.softmax(-1), second.softmax(-1)
    expected = ((p - q) * (p.log() - q.log())).sum() / 2
    labels = torch.tensor([1])
    plain, weighted = (
        consistency_loss(first, second, labels, weight=weight).item() for weight in (0, 2)
    )
    assert weighted - plain == pytest.approx(2 * expected.item())


@pytest.mark.parametrize(
    ("setting", "supported", "wanted"),
    [("auto", True, True), ("auto", False, False), ("off", True, False), ("on", True, True)],
)
def test_bf16_follows_the_cpu(
    monkeypatch: pytest.MonkeyPatch, setting: str, supported: bool, wanted: bool
) -> None:
    monkeypatch.setattr("stages.core.training.cpu_has_bf16", lambda: supported)
    assert bf16_wanted(setting) is wanted


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.training.cpu_has_bf16", lambda: False)
    with pytest.raises(InputError, match="no bfloat16 instructions; use auto or off"):
        bf16_wanted("on")
