"""The losses of single-label classification, and the Trainers that minimize them."""

from typing import Any

import torch
from torch.nn import functional
from transformers import Trainer

UNLABELLED = -100  # the label that PyTorch's cross-entropy ignores


class ConsistencyTrainer(Trainer):
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
            loss = functional.cross_entropy(outputs.logits, labels)
            return (loss, outputs) if return_outputs else loss
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in inputs.items()}
        first, second = model(**twice).logits.chunk(2)
        return consistency_loss(first, second, labels, self.consistency_weight)


class DistillationTrainer(Trainer):
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
        if targets is None:
            loss = functional.cross_entropy(outputs.logits, labels)
        else:
            loss = distillation_loss(
                outputs.logits, targets, labels, self.temperature, self.label_weight
            )
        return (loss, outputs) if return_outputs else loss


def consistency_loss(
    first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the mean cross-entropy of two forward passes plus `weight` times their divergence.

    Both are logits of shape (batch, classes), the labels class indices of shape (batch,); the
    divergence is the symmetric Kullback-Leibler one.
    """
    cross_entropy = functional.cross_entropy(torch.cat([first, second]), labels.repeat(2))
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
    hard = functional.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return (1 - label_weight) * temperature**2 * soft + label_weight * hard / len(labels)
