import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from stages import finetune
from stages.core.launch.errors import InputError
from stages.core.launch.paths import CHECKPOINTS, ENCODER
from stages.core.serving.variant import Manifest, Variant
from stages.core.task import losses
from stages.core.task.losses import consistency_loss
from stages.core.text.corpus import label_names, load_corpus
from stages.core.training.heads import with_head

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
    found = set()
    for seed in (13, 14):
        project("finetune", f"seed={seed}", "finetune.epochs=1")
        found.add(weights(TEACHER))
    assert len(found) == 2


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


@pytest.fixture
def mine(project: Callable, tmp_path: Path) -> Callable[..., str]:
    """Return what takes over the teacher as one's own classifier, its config changed."""

    def take_over(**changes: Any) -> str:
        model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
        for key, value in changes.items():
            setattr(model.config, key, value)
        model.save_pretrained(tmp_path / "mine")
        AutoTokenizer.from_pretrained(TEACHER).save_pretrained(tmp_path / "mine")
        overrides = [f"model.source.path={tmp_path / 'mine'}", "finetune.epochs=0"]
        project("fetch", "run.item=encoder", *overrides)
        return project("finetune", *overrides)

    return take_over


def test_a_fine_tuned_checkpoint_is_kept_and_its_accuracy_printed(
    mine: Callable, capsys: pytest.CaptureFixture
) -> None:
    before = AutoModelForSequenceClassification.from_pretrained(TEACHER).state_dict()
    accuracy = pd.read_csv("reports/finetune.csv")["validation_accuracy"].max()
    assert f"already fine-tuned, with a validation accuracy of {accuracy:.4f}" in mine()
    assert "validation texts by label (row) and the classifier's answer" in capsys.readouterr().out
    kept = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    assert all(torch.equal(before[name], tensor) for name, tensor in kept.state_dict().items())
    assert kept.config.problem_type == "single_label_classification"


@pytest.mark.parametrize(
    "names",
    [
        {0: "LABEL_0", 1: "LABEL_1"},  # told by its answers
        {0: "Positive", 1: "Negative"},
    ],
)
def test_a_classifiers_classes_are_put_into_the_corpuss_order(
    project: Callable, mine: Callable, names: dict[int, str]
) -> None:
    expected = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    swapped = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    for weights in swapped.classifier.parameters():
        weights.data = weights.data.flip(0)
    swapped.save_pretrained(TEACHER)
    said = mine(id2label=names, label2id={name: i for i, name in names.items()})
    assert f"({names[1]} = negative, {names[0]} = positive)" in said
    kept = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    assert kept.config.id2label == {0: "negative", 1: "positive"}
    assert torch.equal(kept.classifier.weight, expected.classifier.weight)


def test_a_classifier_whose_config_and_answers_disagree_is_refused(mine: Callable) -> None:
    with pytest.raises(InputError, match=r"its answers .see above. are those of .'positive', 'neg"):
        mine(id2label={0: "positive", 1: "negative"}, label2id={"positive": 0, "negative": 1})


def test_anonymous_classes_in_doubt_are_refused(project: Callable, mine: Callable) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    for weights in model.classifier.parameters():
        torch.nn.init.zeros_(weights)
    model.save_pretrained(TEACHER)
    with pytest.raises(InputError, match=r"which of .'LABEL_0', 'LABEL_1'. is which of .'negative"):
        mine(id2label={0: "LABEL_0", 1: "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1})


def test_a_classifier_of_other_labels_or_of_several_at_once_is_refused(mine: Callable) -> None:
    with pytest.raises(InputError, match=r"labels are .'negative', 'neutral'., the corpus's .'neg"):
        mine(id2label={0: "negative", 1: "neutral"}, label2id={"negative": 0, "neutral": 1})
    with pytest.raises(InputError, match="problem_type = multi_label_classification"):
        mine(problem_type="multi_label_classification")


def test_a_checkpoint_without_a_head_is_not_kept(project: Callable) -> None:
    with pytest.raises(InputError, match=r"no classification head; set finetune.epochs"):
        project("finetune", "finetune.epochs=0")


def test_a_checkpoint_whose_head_has_no_weights_is_not_kept(project: Callable) -> None:
    config = json.loads((ENCODER / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (ENCODER / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"lacks classifier.bias, classifier.weight; set finetune"):
        project("finetune", "finetune.epochs=0")


@pytest.mark.parametrize(
    ("labels", "kept"), [(["Positive", "Negative"], True), (["LABEL_0", "LABEL_1"], False)]
)
def test_a_head_for_as_many_classes_stays_only_if_they_are_the_same(
    project: Callable, labels: list[str], kept: bool
) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(TEACHER)
    model.config.id2label = dict(enumerate(labels))
    model.config.label2id = {label: number for number, label in enumerate(labels)}
    model.save_pretrained(ENCODER)
    found = with_head(label_names(load_corpus()))
    assert found.config.id2label == {0: "negative", 1: "positive"}
    assert torch.equal(found.classifier.weight, model.classifier.weight.flip(0)) == kept
    assert torch.equal(found.classifier.weight, model.classifier.weight) is False


def test_a_head_for_other_classes_is_replaced(project: Callable) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(
        TEACHER, num_labels=5, ignore_mismatched_sizes=True
    )
    model.save_pretrained(ENCODER)
    replaced = with_head(label_names(load_corpus()))
    assert replaced.classifier.out_features == replaced.config.num_labels == 2
