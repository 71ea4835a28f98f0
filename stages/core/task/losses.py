"""The losses of single-label classification."""

import numpy as np
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional

from stages.core.text.corpus import UNLABELLED


def class_weights(setting: str | None, labels: list[int]) -> list[float] | None:
    """Return the weight of each class in the loss, None for none; `balanced` is scikit-learn's."""
    if setting is None:
        return None
    return compute_class_weight(setting, classes=np.unique(labels), y=labels).tolist()


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
