"""Fine-tune the encoder into the teacher, or take over a classifier that already is one."""

import pandas as pd
from datasets import DatasetDict
from pydantic.dataclasses import dataclass
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    set_seed,
)

from stages.core.app import launch
from stages.core.config import STRICT, ModelConfig, Seed
from stages.core.corpus import label_names, load_corpus, tokenize
from stages.core.errors import InputError
from stages.core.layout import ENCODER, REPORTS, variant_directory
from stages.core.training import TrainingConfig, save, save_curve, train


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    finetune: TrainingConfig
    model: ModelConfig
    seed: Seed


def run(config: Config) -> str:
    """Write the teacher's checkpoint and its learning curve, reports/finetune.csv."""
    set_seed(config.seed)
    corpus = load_corpus()
    tokenizer = AutoTokenizer.from_pretrained(ENCODER, model_max_length=config.model.max_length)
    model = load_encoder(corpus, keep=config.finetune.epochs == 0)
    curve = pd.DataFrame(columns=["epoch", "train_loss", "validation_loss", "validation_accuracy"])
    if config.finetune.epochs:
        tokens = tokenize(corpus, tokenizer, config.model.max_length)
        curve = train(model, tokenizer, tokens, config.finetune, seed=config.seed)
    save(model, tokenizer, variant_directory("teacher_pytorch"))
    save_curve(curve, REPORTS / "finetune.csv")
    if curve.empty:
        return f"{variant_directory('teacher_pytorch')}, kept as it came"
    best = curve["validation_accuracy"].max()
    return f"{variant_directory('teacher_pytorch')} with a validation accuracy of {best:.4f}"


def load_encoder(corpus: DatasetDict, *, keep: bool) -> PreTrainedModel:
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
    return AutoModelForSequenceClassification.from_pretrained(
        ENCODER, num_labels=len(names), **labels
    )


def check_head(names: list[str]) -> None:
    """Raise InputError unless the encoder has a trained head for the labels `names`."""
    config = AutoConfig.from_pretrained(ENCODER)
    if not any(name.endswith("ForSequenceClassification") for name in config.architectures or ()):
        raise InputError(
            f"finetune.epochs = 0 keeps a fine-tuned classifier, but {ENCODER} has no "
            "classification head; set finetune.epochs to 1 or more"
        )
    theirs = [config.id2label[i] for i in range(config.num_labels)]
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
