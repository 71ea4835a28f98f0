"""The losses of single-label classification, and the Trainers that minimize them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
from datasets import Dataset
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional
from transformers import Trainer
from transformers.trainer_pt_utils import LengthGroupedSampler

from stages.core.task.exchange import from_rank_zero, gathered
from stages.core.text.corpus import UNLABELLED


def lengths(texts: Dataset) -> np.ndarray:
    """Return the number of tokens of each tokenized text."""
    table = texts.select_columns("input_ids").with_format("arrow")[:]
    return pc.list_value_length(table.column("input_ids")).to_numpy()


def class_weights(setting: str | None, labels: list[int]) -> list[float] | None:
    """Return the weight of each class in the loss, None for none; `balanced` is scikit-learn's."""
    if setting is None:
        return None
    return compute_class_weight(setting, classes=np.unique(labels), y=labels).tolist()


class SharedOrder(LengthGroupedSampler):
    """The order that rank zero draws: after a dropout, each process would draw another."""

    def __iter__(self) -> Iterator[int]:
        return iter(from_rank_zero(lambda: [*super(SharedOrder, self).__iter__()]))


class WeightedTrainer(Trainer):
    """A Trainer whose cross-entropy weighs the classes; None: all alike.

    Processes share a batch, but its loss is that of the whole one, so that their number decides no
    result: a mean of the means of shares is another where classes have weights.
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

    def whole(self, share: torch.Tensor) -> torch.Tensor:
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
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's cross-entropy and, in training, the divergence of both passes."""
        labels = inputs.pop("labels")
        if not (model.training and self.consistency_weight):
            outputs = model(**inputs)
            logits, labels = self.whole(outputs.logits), self.whole(labels)
            loss = functional.cross_entropy(logits, labels, self.class_weights)
            return (loss, outputs) if return_outputs else loss
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in inputs.items()}
        first, second = (self.whole(logits) for logits in model(**twice).logits.chunk(2))
        labels = self.whole(labels)
        return consistency_loss(first, second, labels, self.consistency_weight, self.class_weights)


class DistillationTrainer(WeightedTrainer):
    """Knowledge distillation: a mix of the teacher's softened distribution and the labels."""

    def __init__(self, *args: Any, temperature: float, label_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.temperature = temperature
        self.label_weight = label_weight

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's mean loss; in validation, without teacher logits, that on labels."""
        labels, targets = inputs.pop("labels"), inputs.pop("teacher_logits", None)
        outputs = model(**inputs)
        logits, labels = self.whole(outputs.logits), self.whole(labels)
        if targets is None:
            loss = functional.cross_entropy(logits, labels, self.class_weights)
        else:
            mix = self.temperature, self.label_weight, self.class_weights
            loss = distillation_loss(logits, self.whole(targets), labels, *mix)
        return (loss, outputs) if return_outputs else loss


def consistency_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    labels: torch.Tensor,
    weight: float,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean cross-entropy of two forward passes plus `weight` times their divergence.

    Both are logits of shape (batch, classes), the labels class indices of shape (batch,); the
    divergence is the symmetric Kullback-Leibler one. Class weights have shape (classes,).
    """
    both = torch.cat([first, second])
    cross_entropy = functional.cross_entropy(both, labels.repeat(2), class_weights)
    p, q = functional.log_softmax(first, dim=-1), functional.log_softmax(second, dim=-1)
    divergence = functional.kl_div(p, q, log_target=True, reduction="batchmean")
    divergence += functional.kl_div(q, p, log_target=True, reduction="batchmean")
    return cross_entropy + weight * divergence / 2


def distillation_loss(
    logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    labels: torch.Tensor,
    temperature: float,
    label_weight: float,
    class_weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Return the mean over a batch of the loss of Hinton et al. (2015, arXiv:1503.02531).

    Logits have the shape (batch, classes), labels (batch,), `UNLABELLED` where unknown. Every text
    has the same weight; an unlabelled one has no second term. The temperature softens both
    distributions, and its square keeps the gradient's scale.
    """
    soft = functional.kl_div(
        functional.log_softmax(logits / temperature, dim=-1),
        functional.log_softmax(teacher_logits / temperature, dim=-1),
        log_target=True,
        reduction="batchmean",
    )
    hard = functional.cross_entropy(
        logits, labels, class_weights, ignore_index=UNLABELLED, reduction="sum"
    )
    return (1 - label_weight) * temperature**2 * soft + label_weight * hard / len(labels)
