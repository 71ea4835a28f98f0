from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pytest
from transformers import BertConfig, TrainerState, TrainingArguments

from stages.core.launch.errors import InputError
from stages.core.launch.paths import CURVES
from stages.core.training.trainer import (
    FiniteLoss,
    TimeEstimate,
    kept_accuracy,
    learning_curve,
    save_run,
)


def test_the_learning_curve_has_one_row_an_epoch() -> None:
    history = [
        {"loss": 0.5, "learning_rate": 1e-4, "epoch": 1.0},
        {"eval_loss": 0.4, "eval_accuracy": 0.8, "epoch": 1.0},
        {"loss": 0.3, "learning_rate": 0.0, "epoch": 2.0},
        {"eval_loss": 0.35, "eval_accuracy": 0.9, "epoch": 2.0},
        {"train_runtime": 9.0, "train_loss": 0.4, "epoch": 2.0},
    ]
    expected = pd.DataFrame(
        {
            "epoch": [1.0, 2.0],
            "train_loss": [0.5, 0.3],
            "validation_loss": [0.4, 0.35],
            "validation_accuracy": [0.8, 0.9],
        }
    )
    pd.testing.assert_frame_equal(learning_curve(history), expected)


def test_the_reported_accuracy_is_the_kept_epochs_and_rounded_in_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    history = [
        {"loss": 0.5, "eval_loss": 0.30504, "eval_accuracy": 0.80001, "epoch": 1.0},
        {"loss": 0.4, "eval_loss": 0.30496, "eval_accuracy": 0.90001, "epoch": 2.0},
    ]
    curve = learning_curve(history)
    assert kept_accuracy(curve) == 0.90001
    save_run("teacher", Mock(config=BertConfig()), Mock(), curve)
    written = pd.read_csv(CURVES["teacher"])
    assert written["validation_loss"].tolist() == [0.305, 0.305]
    assert written["validation_accuracy"].tolist() == [0.8, 0.9]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_non_finite_validation_loss_names_the_learning_rate(loss: float) -> None:
    arguments, state = TrainingArguments(learning_rate=0.5), TrainerState(epoch=2.0)
    message = rf"^distill.learning_rate = 0.5: the validation loss is {loss} after epoch 2; use"
    with pytest.raises(InputError, match=message):
        FiniteLoss("distill").on_evaluate(arguments, state, metrics={"eval_loss": loss})


def test_a_training_says_once_how_long_it_will_take(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = iter(range(0, 1000, 2))  # two seconds a step
    monkeypatch.setattr("stages.core.training.trainer.time.perf_counter", lambda: next(clock))
    estimate = TimeEstimate("distill")
    arguments = TrainingArguments(per_device_train_batch_size=32)
    for step in range(1, 101):
        estimate.on_step_end(arguments, TrainerState(max_steps=650, global_step=step))
    expected = "distill: about 20 min to go (650 steps of 32 texts, 2.0 s each)\n"
    assert capsys.readouterr().out == expected
