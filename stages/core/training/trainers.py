"""The Trainers of the teacher and of its student: the loss of a batch, and the order of texts."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from torch.nn import functional
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from stages.core.task import losses
from stages.core.training.exchange import from_rank_zero, gathered

Batch = dict[str, torch.Tensor]


def lengths(texts: Dataset) -> np.ndarray:
    """Return the number of tokens of each tokenized text."""
    table = texts.select_columns("input_ids").with_format("arrow")[:]
    return pc.list_value_length(table.column("input_ids")).to_numpy()


class SharedOrder(LengthGroupedSampler):
    """The order that rank zero draws: after a dropout, each process would draw another."""

    def __iter__(self) -> Iterator[int]:
        return iter(from_rank_zero(lambda: [*super(SharedOrder, self).__iter__()]))


class WeightedTrainer(Trainer):
    """A Trainer whose cross-entropy weights the classes (None: equally).

    Processes share a batch, but its loss is that of the whole one, so that results don't depend on
    how many there are: a mean of the shares' means differs where classes have weights.
    """

    def __init__(self, *args: Any, class_weights: list[float] | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.class_weights = None if weights is None else weights.to(self.args.device)

    def _get_train_sampler(self, train_dataset: Any = None) -> SharedOrder:
        # The Trainer's own measures a million texts one by one.
        return SharedOrder(
            self.args.train_batch_size, lengths=lengths(train_dataset or self.train_dataset)
        )

    def compute_loss(
        self, model: torch.nn.Module, inputs: Batch, return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's cross-entropy."""
        labels, outputs = inputs.pop("labels"), model(**inputs)
        logits, labels = self.gathered_batch(outputs.logits), self.gathered_batch(labels)
        loss = functional.cross_entropy(logits, labels, self.class_weights)
        return (loss, outputs) if return_outputs else loss

    def gathered_batch(self, share: torch.Tensor) -> torch.Tensor:
        """Return the rows of all processes, without those that fill up an epoch's last batch."""
        batch, state = gathered(share), self.accelerator.gradient_state
        partial = len(batch) > len(share) and state.end_of_dataloader and state.remainder > 0
        return batch[: state.remainder] if partial else batch


class ConsistencyTrainer(WeightedTrainer):
    """R-Drop (Liang et al., 2021, arXiv:2106.14448).

    Two forward passes a batch under different dropout masks, and a term that makes them agree.
    """

    def __init__(self, *args: Any, consistency_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.consistency_weight = consistency_weight

    def compute_loss(
        self, model: torch.nn.Module, inputs: Batch, return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's cross-entropy and, in training, the divergence of both passes."""
        if not (model.training and self.consistency_weight):
            return super().compute_loss(model, inputs, return_outputs)
        labels = self.gathered_batch(inputs.pop("labels"))
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in inputs.items()}
        first, second = map(self.gathered_batch, model(**twice).logits.chunk(2))
        options = self.consistency_weight, self.class_weights
        return losses.consistency_loss(first, second, labels, *options)


class DistillationTrainer(WeightedTrainer):
    """Knowledge distillation: a mix of the teacher's softened distribution and the labels."""

    def __init__(self, *args: Any, temperature: float, label_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.temperature = temperature
        self.label_weight = label_weight

    def compute_loss(
        self, model: torch.nn.Module, inputs: Batch, return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's mean loss; in validation, without teacher logits, that on labels."""
        if "teacher_logits" not in inputs:
            return super().compute_loss(model, inputs, return_outputs)
        targets, labels = (self.gathered_batch(inputs.pop(k)) for k in ("teacher_logits", "labels"))
        outputs = model(**inputs)
        options = self.temperature, self.label_weight, self.class_weights
        logits = self.gathered_batch(outputs.logits)
        loss = losses.distillation_loss(logits, targets, labels, *options)
        return (loss, outputs) if return_outputs else loss
