"""Fine-tune the encoder into the teacher, or take over a classifier that already is one."""

from typing import Any

import pandas as pd
import torch
from datasets import DatasetDict
from pydantic.dataclasses import dataclass
from torch.nn import functional
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    Trainer,
    set_seed,
)

from stages.core.engines.variant import Manifest, Variant
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import ENCODER, REPORTS, existing
from stages.core.launch.settings import FinetuneConfig, ModelConfig, Seed
from stages.core.text.corpus import label_names, load_corpus
from stages.core.training.trainer import kept_accuracy, save_run, tokenize, train


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    finetune: FinetuneConfig
    model: ModelConfig
    seed: Seed


def run(config: Config) -> str:
    """Write the teacher's checkpoint and its learning curve, reports/finetune.csv."""
    set_seed(config.seed)
    corpus = load_corpus()
    existing(ENCODER)
    check_length(config.model.max_length)
    tokenizer = AutoTokenizer.from_pretrained(
        ENCODER, model_max_length=config.model.max_length, truncation_side="right"
    )
    model = load_classifier(corpus, keep=config.finetune.epochs == 0)
    curve = pd.DataFrame(columns=["epoch", "train_loss", "validation_loss", "validation_accuracy"])
    if config.finetune.epochs:
        labelled = DatasetDict({name: corpus[name] for name in ("train", "validation")})
        tokens = tokenize(labelled, tokenizer, config.model.max_length)
        curve = train(
            model,
            tokenizer,
            tokens,
            config.finetune,
            seed=config.seed,
            trainer_class=ConsistencyTrainer,
            consistency_weight=config.finetune.consistency_weight,
        )
    target = Variant("teacher", "pytorch").directory
    save_run(model, tokenizer, curve, target, REPORTS / "finetune.csv")
    Manifest("pytorch", "PyTorch", model.config.max_position_embeddings).write(target)
    if curve.empty:
        return f"{target}, kept as it came"
    return f"{target} with a validation accuracy of {kept_accuracy(curve):.4f}"


class ConsistencyTrainer(Trainer):
    """A Trainer that sees every batch twice, under two dropout masks, and asks for one answer.

    R-Drop (Liang et al., 2021, arXiv:2106.14448).
    """

    def __init__(self, *args: Any, consistency_weight: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.consistency_weight = consistency_weight

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **_: Any
    ) -> Any:
        """Return the batch's cross-entropy and, in training, the divergence of both answers."""
        labels = inputs.pop("labels")
        if not (model.training and self.consistency_weight):
            outputs = model(**inputs)
            loss = functional.cross_entropy(outputs.logits, labels)
            return (loss, outputs) if return_outputs else loss
        twice = {name: torch.cat([tensor, tensor]) for name, tensor in inputs.items()}
        first, second = model(**twice).logits.chunk(2)
        return consistency_loss(first, second, labels, self.consistency_weight)


def consistency_loss(
    first: torch.Tensor, second: torch.Tensor, labels: torch.Tensor, weight: float
) -> torch.Tensor:
    """Return the mean cross-entropy of two answers plus `weight` times their divergence.

    Args:
        first: logits, shape (batch, classes).
        second: logits of the same texts, shape (batch, classes).
        labels: class indices, shape (batch,).
        weight: of the symmetric Kullback-Leibler divergence.
    """
    cross_entropy = functional.cross_entropy(torch.cat([first, second]), labels.repeat(2))
    p, q = functional.log_softmax(first, dim=-1), functional.log_softmax(second, dim=-1)
    divergence = functional.kl_div(p, q, log_target=True, reduction="batchmean")
    divergence += functional.kl_div(q, p, log_target=True, reduction="batchmean")
    return cross_entropy + weight * divergence / 2


def load_classifier(corpus: DatasetDict, *, keep: bool) -> PreTrainedModel:
    """Return the encoder with a classification head for the corpus's labels.

    Args:
        corpus: tells the labels.
        keep: take the head and its label order from the checkpoint.

    Raises:
        InputError: the head to keep is missing, or is for other labels.
    """
    names = label_names(corpus)
    labels = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    if keep:
        check_head(names)
    model, found = AutoModelForSequenceClassification.from_pretrained(
        ENCODER,
        num_labels=len(names),
        ignore_mismatched_sizes=not keep,
        output_loading_info=True,
        **labels,
    )
    if keep and found["missing_keys"]:
        raise InputError(
            f"finetune.epochs = 0 keeps a fine-tuned classifier, but {ENCODER} lacks "
            f"{', '.join(sorted(found['missing_keys']))}; set finetune.epochs to 1 or more"
        )
    return model


def check_length(max_length: int) -> None:
    """Raise InputError unless the encoder has a position for every token."""
    positions = AutoConfig.from_pretrained(ENCODER).max_position_embeddings
    if max_length > positions:
        raise InputError(
            f"model.max_length = {max_length}, but the encoder has {positions} positions; use "
            f"{positions} or less"
        )


def check_head(names: list[str]) -> None:
    """Raise InputError unless the encoder has a trained head for the labels `names`."""
    config = AutoConfig.from_pretrained(ENCODER)
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        raise InputError(
            f"finetune.epochs = 0 keeps a fine-tuned classifier, but {ENCODER} has no "
            "classification head; set finetune.epochs to 1 or more"
        )
    theirs = [str(config.id2label.get(i)) for i in range(config.num_labels)]
    anonymous = [f"LABEL_{i}" for i in range(len(names))]
    if [name.casefold() for name in theirs] != [name.casefold() for name in names] and (
        theirs != anonymous
    ):
        raise InputError(
            f"the fine-tuned classifier's labels are {theirs}, the corpus's {names}; set "
            "data.label_names to the classifier's, in its order"
        )


if __name__ == "__main__":
    launch(run, Config)
