import pytest
import torch
from transformers import TrainerState, TrainingArguments

from stages.core.training.averaging import WeightAverage


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
