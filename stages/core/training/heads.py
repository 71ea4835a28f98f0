"""The head of a classifier: the layer that gives its logits, a row for each class."""

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from stages.core.launch.paths import ENCODER


def with_head(names: list[str]) -> PreTrainedModel:
    """Return the encoder as a classifier of these classes.

    A head that it has for the same ones stays, in their order; any other one starts anew.
    """
    before = AutoConfig.from_pretrained(ENCODER)
    ours, theirs = comparable(names, [str(name) for _, name in sorted(before.id2label.items())])
    model = AutoModelForSequenceClassification.from_pretrained(
        ENCODER, num_labels=len(names), ignore_mismatched_sizes=True, **labelled_as(names)
    )
    if sorted(theirs) == sorted(ours) == sorted({*ours}):
        reorder(model, [theirs.index(name) for name in ours])
    elif is_classifier(before):
        model._init_weights(head(model))
    return model


def comparable(names: list[str], theirs: list[str]) -> tuple[list[str], list[str]]:
    """Return names of classes without their case, unless they are the same with it."""
    exact = sorted(theirs) == sorted(names)  # then classes may differ in case alone
    ours, folded = ([n if exact else n.casefold() for n in each] for each in (names, theirs))
    return ours, folded


def labelled_as(names: list[str]) -> dict[str, Any]:
    """Return what a model's config says of its classes."""
    return {
        "id2label": dict(enumerate(names)),
        "label2id": {name: number for number, name in enumerate(names)},
        "problem_type": "single_label_classification",
    }


def is_classifier(config: PretrainedConfig) -> bool:
    """Return whether a checkpoint has a classification head."""
    return any(name.endswith("ForSequenceClassification") for name in config.architectures or ())


def reorder(model: PreTrainedModel, order: list[int]) -> None:
    """Put the classes of a classifier's head into another order."""
    for parameter in head(model).parameters():
        parameter.data = parameter.data[order]


def head(model: PreTrainedModel) -> torch.nn.Linear:
    """Return the layer that gives the logits."""
    layers = [each for each in model.modules() if isinstance(each, torch.nn.Linear)]
    return next(each for each in reversed(layers) if each.out_features == model.config.num_labels)
