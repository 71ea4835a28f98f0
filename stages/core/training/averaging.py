"""The exponential moving average of the weights during training."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import PreTrainedModel, TrainerCallback, TrainerState, TrainingArguments

from stages.core.launch.processes import rank
from stages.core.training.exchange import wait_for_all
from stages.core.training.resuming import seal

WEIGHTS = "weights.safetensors"  # in a checkpoint: the weights before averaging


class WeightAverage(TrainerCallback):
    """Puts the exponential moving average of the weights into the model between epochs.

    The Trainer validates and saves the average, which is more accurate than the last weights
    (Polyak & Juditsky, 1992). Training continues from the weights themselves, which are
    saved beside it.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        *_: Any,
        model: PreTrainedModel,
        **__: Any,
    ) -> None:
        """Start the average at the initial weights, or restore both from a checkpoint."""
        self.average = AveragedModel(model, multi_avg_fn=self._average)
        self.weights: dict[str, torch.Tensor] = {}
        if state.global_step:
            self.average.n_averaged.fill_(state.global_step)
            self.weights = load_file(_checkpoint(args, state) / WEIGHTS)

    def _average(
        self, averages: list[torch.Tensor], weights: list[torch.Tensor], steps: torch.Tensor
    ) -> None:
        get_ema_multi_avg_fn(ramped(self.decay, int(steps)))(averages, weights, steps)

    def on_step_end(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        """Add the new weights to the average."""
        self.average.update_parameters(model)

    def on_epoch_end(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        """Swap the average in for validation and saving."""
        self.weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(self.average.module.state_dict())

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Save the weights themselves, the last file of a checkpoint, then seal it."""
        wait_for_all()  # each has saved the state of its random numbers
        if rank() == 0:
            save_file(self.weights, _checkpoint(args, state) / WEIGHTS)
            seal(_checkpoint(args, state))

    def on_epoch_begin(self, *_: Any, model: PreTrainedModel, **__: Any) -> None:
        """Swap the weights themselves back in."""
        if self.weights:
            model.load_state_dict(self.weights)


def ramped(decay: float, steps: int) -> float:
    """Return the decay after so many steps, ramped up as in TensorFlow's ExponentialMovingAverage.

    So the initial weights don't dominate the average of a short training.
    """
    return min(decay, (1 + steps) / (10 + steps))


def _checkpoint(args: TrainingArguments, state: TrainerState) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"
