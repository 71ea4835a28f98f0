"""Fine-tune the encoder into the teacher, or keep a classifier that is fine-tuned already."""

import pandas as pd
from datasets import DatasetDict
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    set_seed,
)

from stages.core.engines.variant import Manifest, Variant
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.paths import ENCODER, REPORTS, existing
from stages.core.launch.settings import Settings
from stages.core.task.losses import ConsistencyTrainer
from stages.core.text.corpus import label_names, load_corpus
from stages.core.training.trainer import kept_accuracy, longest_text, save_run, tokenize, train


def run(config: Settings) -> str:
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
            section="finetune",
            seed=config.seed,
            trainer_class=ConsistencyTrainer,
            consistency_weight=config.finetune.consistency_weight,
        )
    target = Variant("teacher", "pytorch").directory
    manifest = Manifest("pytorch", "PyTorch", longest_text(model.config))
    save_run(model, tokenizer, curve, target, REPORTS / "finetune.csv", manifest.write)
    if curve.empty:
        return f"{target}, a copy of the encoder, already fine-tuned"
    return f"{target} with a validation accuracy of {kept_accuracy(curve):.4f}"


def load_classifier(corpus: DatasetDict, *, keep: bool) -> PreTrainedModel:
    """Return the encoder with a head for the corpus's labels, or `keep` its own.

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
    """Raise InputError unless the encoder can read texts of `max_length` tokens."""
    longest = longest_text(AutoConfig.from_pretrained(ENCODER))
    if max_length > longest:
        raise InputError(
            f"model.max_length = {max_length}, but the encoder reads at most {longest} tokens; use "
            f"{longest} or less"
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
    launch(run)
