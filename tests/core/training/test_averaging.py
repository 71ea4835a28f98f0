import pytest
import torch
from transformers import TrainerState, TrainingArguments

from stages.core.training.averaging import WeightAverage, ramped


def test_the_average_is_shown_between_epochs_and_training_goes_on_from_the_weights() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    callback = WeightAverage(decay=0.15)
    torch.nn.init.constant_(model.weight, 8.0)
    callback.on_train_begin(TrainingArguments(), TrainerState(), model=model)
    for value in (8.0, 4.0, 0.0):
        torch.nn.init.constant_(model.weight, value)
        callback.on_step_end(model=model)
    callback.on_epoch_end(model=model)
    assert model.weight.item() == pytest.approx((8 * 0.15 + 4 * 0.85) * 0.15 + 0 * 0.85)
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


def test_the_decay_grows_with_the_steps() -> None:
    decays = [ramped(0.99, steps) for steps in (1, 10, 100, 1000)]
    assert decays == pytest.approx([2 / 11, 11 / 20, 101 / 110, 0.99])


def test_of_a_short_training_its_end_is_kept() -> None:
    """48 steps of a decay of 0.99, not ramped, would keep three fifths of the first weights."""
    model = torch.nn.Linear(1, 1, bias=False)
    callback = WeightAverage(decay=0.99)
    callback.on_train_begin(TrainingArguments(), TrainerState(), model=model)
    for step in range(48):
        torch.nn.init.constant_(model.weight, step)
        callback.on_step_end(model=model)
    callback.on_epoch_end(model=model)
    assert 40 < model.weight.item() < 47
