import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from datasets import DatasetDict
from torch.nn import functional
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages import finetune
from stages.core.launch.errors import InputError
from stages.core.launch.paths import CHECKPOINTS, ENCODER, variant_directory
from stages.core.training.trainer import bf16_wanted, run_key
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


STEPS_AN_EPOCH = 23  # of 180 texts, 8 a batch


@pytest.fixture
def cut_off(project: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Return what starts to fine-tune and dies after so many steps."""

    def run(steps: int) -> None:
        losses = iter(range(steps))

        def dying(*arguments: torch.Tensor) -> torch.Tensor:
            if next(losses, None) is None:
                raise KeyboardInterrupt
            return consistency_loss(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(finetune, "consistency_loss", dying)
            with pytest.raises(KeyboardInterrupt):
                project("finetune")

    return run


def test_a_run_that_was_cut_off_continues_to_the_same_weights(
    project: Callable, cut_off: Callable, capsys: pytest.CaptureFixture
) -> None:
    undisturbed = weights(TEACHER), pd.read_csv("reports/finetune.csv")
    shutil.rmtree(TEACHER)
    cut_off(2 * STEPS_AN_EPOCH + 5)
    assert not TEACHER.exists()
    cut_off(STEPS_AN_EPOCH + 5)  # so that it is after its third epoch when it goes on again
    project("finetune")
    printed = capsys.readouterr().out
    assert f"continuing after checkpoint {2 * STEPS_AN_EPOCH} of" in printed
    assert f"continuing after checkpoint {3 * STEPS_AN_EPOCH} of" in printed
    assert weights(TEACHER) == undisturbed[0]
    pd.testing.assert_frame_equal(pd.read_csv("reports/finetune.csv"), undisturbed[1])
    assert not CHECKPOINTS.exists()


def test_a_run_that_was_cut_off_before_it_was_saved_is_not_lost(
    project: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    undisturbed = weights(TEACHER), pd.read_csv("reports/finetune.csv")
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(finetune, "save_run", Mock(side_effect=KeyboardInterrupt))
        project("finetune")
    project("finetune")
    assert "continuing after checkpoint" in capsys.readouterr().out  # that of the best epoch
    assert weights(TEACHER) == undisturbed[0]
    pd.testing.assert_frame_equal(pd.read_csv("reports/finetune.csv"), undisturbed[1])


@pytest.mark.parametrize(
    "file", ["weights.safetensors", "model.safetensors", "trainer_state.json", "SHA256SUMS"]
)
@pytest.mark.parametrize("damage", ["remove", "truncate", "flip"])
def test_a_damaged_checkpoint_is_no_place_to_continue_from(
    project: Callable, cut_off: Callable, file: str, damage: str
) -> None:
    undisturbed = weights(TEACHER)
    cut_off(STEPS_AN_EPOCH + 5)
    (path,) = CHECKPOINTS.rglob(file)
    content = path.read_bytes()
    middle = len(content) // 2
    match damage:
        case "remove":
            path.unlink()
        case "truncate":
            path.write_bytes(content[:middle])
        case "flip":
            path.write_bytes(
                content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
            )
    project("finetune")
    assert weights(TEACHER) == undisturbed


def test_a_run_is_known_by_the_models_settings_too(project: Callable) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    key = run_key(model, DatasetDict())
    assert run_key(model, DatasetDict()) == key
    model.config.hidden_dropout_prob = 0.3
    assert run_key(model, DatasetDict()) != key


def test_a_run_with_other_settings_starts_anew(
    project: Callable, cut_off: Callable, capsys: pytest.CaptureFixture
) -> None:
    project("finetune", "seed=14")
    undisturbed = weights(TEACHER)
    cut_off(STEPS_AN_EPOCH + 5)
    project("finetune", "seed=14")
    assert "continuing" not in capsys.readouterr().out
    assert weights(TEACHER) == undisturbed
    assert not CHECKPOINTS.exists()


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


def test_a_checkpoint_whose_head_has_no_weights_is_not_kept(project: Callable) -> None:
    config = json.loads((ENCODER / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (ENCODER / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"lacks classifier.bias, classifier.weight; set finetune"):
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
    monkeypatch.setattr("stages.core.training.trainer.cpu_has_bf16", lambda: supported)
    assert bf16_wanted(setting) is wanted


def test_bf16_is_refused_where_it_would_be_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.core.training.trainer.cpu_has_bf16", lambda: False)
    with pytest.raises(InputError, match="no bfloat16 instructions; use auto or off"):
        bf16_wanted("on")
