import pandas as pd
import pytest
import torch
from transformers import TrainerState, TrainingArguments

from stages.core.training.trainer import WeightAverage, learning_curve


def test_the_average_is_shown_between_epochs_and_training_goes_on_from_the_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    callback = WeightAverage(decay=0.75)
    torch.nn.init.constant_(model.weight, 8.0)
    callback.on_train_begin(TrainingArguments(), TrainerState(), model=model)
    for value in (8.0, 4.0, 0.0):
        torch.nn.init.constant_(model.weight, value)
        callback.on_step_end(model=model)
    callback.on_epoch_end(model=model)
    assert model.weight.item() == pytest.approx((8 * 0.75 + 4 * 0.25) * 0.75 + 0 * 0.25)
    callback.on_epoch_begin(model=model)
    assert model.weight.item() == 0


def test_a_decay_of_zero_keeps_the_last_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    callback = WeightAverage(decay=0.0)
    callback.on_train_begin(TrainingArguments(), TrainerState(), model=model)
    for value in (8.0, 4.0):
        torch.nn.init.constant_(model.weight, value)
        callback.on_step_end(model=model)
    callback.on_epoch_end(model=model)
    assert model.weight.item() == 4


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
