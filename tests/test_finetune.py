import json
import shutil
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
)

from stages import finetune
from stages.core.engines.variant import Manifest, Variant
from stages.core.launch.errors import InputError
from stages.core.launch.paths import CHECKPOINTS, ENCODER
from stages.core.task import losses
from stages.core.task.losses import consistency_loss
from stages.core.text.corpus import load_corpus

TEACHER = Variant("teacher", "pytorch").directory


def weights(directory: Path) -> bytes:
    return (directory / "model.safetensors").read_bytes()


def test_the_teacher_has_learnt_and_kept_its_best_epoch(project: Callable) -> None:
    curve = pd.read_csv("reports/finetune.csv")
    assert curve["epoch"].tolist() == list(range(1, len(curve) + 1))
    assert curve["train_loss"].iloc[-1] < curve["train_loss"].iloc[0]
    assert curve["validation_accuracy"].max() > 0.9
    model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    assert model.config.id2label == {0: "negative", 1: "positive"}


def test_the_teachers_directory_holds_no_pickle_and_says_how_to_serve_it(project: Callable) -> None:
    assert Manifest.read(TEACHER) == Manifest("pytorch", "PyTorch", positions=64)
    names = {path.name for path in TEACHER.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_another_seed_gives_other_weights(project: Callable) -> None:
    first = weights(TEACHER)
    project("finetune", "seed=14", "finetune.epochs=1")
    assert weights(TEACHER) != first


STEPS_AN_EPOCH = 23  # of 180 texts, 8 a batch


def test_an_interrupted_run_resumes_and_ends_with_the_same_weights(
    project: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    undisturbed = weights(TEACHER), pd.read_csv("reports/finetune.csv")
    shutil.rmtree(TEACHER)
    steps = iter(range(2 * STEPS_AN_EPOCH + 5))

    def dying(*arguments: torch.Tensor) -> torch.Tensor:
        if next(steps, None) is None:
            raise KeyboardInterrupt
        return consistency_loss(*arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(losses, "consistency_loss", dying)
        project("finetune")
    assert not TEACHER.exists()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # when it had all but
        patch.setattr(finetune, "save_run", Mock(side_effect=KeyboardInterrupt))  # been saved
        project("finetune")
    assert f"from checkpoint {2 * STEPS_AN_EPOCH}\n" in capsys.readouterr().out
    project("finetune")
    assert "from checkpoint" in capsys.readouterr().out  # that of the best epoch
    assert weights(TEACHER) == undisturbed[0]
    pd.testing.assert_frame_equal(pd.read_csv("reports/finetune.csv"), undisturbed[1])
    assert not CHECKPOINTS.exists()


def test_a_training_without_finite_weights_saves_nothing_and_says_so(project: Callable) -> None:
    encoder = AutoModel.from_pretrained(ENCODER)
    torch.nn.init.constant_(encoder.embeddings.word_embeddings.weight, float("nan"))
    encoder.save_pretrained(ENCODER)
    shutil.rmtree(TEACHER)
    Path("reports/finetune.csv").unlink()
    message = r"^finetune.learning_rate = 0.003: the validation loss is nan after epoch 1; use"
    with pytest.raises(InputError, match=message):
        project("finetune")
    assert not TEACHER.exists()
    assert not Path("reports/finetune.csv").exists()
    assert not [*CHECKPOINTS.rglob("*.safetensors")]


def test_a_fine_tuned_checkpoint_can_be_kept(project: Callable, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    TEACHER.rename(mine)
    overrides = [f"model.source.path={mine}", "finetune.epochs=0"]
    project("fetch", "run.item=encoder", *overrides)
    assert "already fine-tuned" in project("finetune", *overrides)
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
    project("fetch", "run.item=encoder", *overrides)
    with pytest.raises(InputError, match=r"set data.label_names to the classifier's"):
        project("finetune", *overrides)


def test_more_tokens_than_the_encoder_reads_are_refused(project: Callable) -> None:
    with pytest.raises(InputError, match=r"the encoder reads at most 64 tokens; use 64 or less"):
        project("finetune", "model.max_length=65")
    RobertaConfig(max_position_embeddings=66, pad_token_id=1).save_pretrained(ENCODER)
    with pytest.raises(InputError, match=r"max_length = 66, .* reads at most 64 tokens; use 64"):
        project("finetune", "model.max_length=66")


def test_a_head_for_other_classes_is_replaced(project: Callable) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        TEACHER, num_labels=5, ignore_mismatched_sizes=True
    )
    model.save_pretrained(ENCODER)
    replaced = finetune.load_classifier(load_corpus(), keep=False)
    assert replaced.classifier.out_features == replaced.config.num_labels == 2
