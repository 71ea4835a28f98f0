"""Taking over a classifier that is fine-tuned already: its accuracy, and which class is which."""

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sklearn.metrics import confusion_matrix
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from stages.core.launch.errors import InputError
from stages.core.launch.paths import ENCODER
from stages.core.task.decoding import predicted
from stages.core.training.heads import comparable, is_classifier, labelled_as, reorder
from stages.core.training.logits import logits_of

SHOWN = 12  # classes


def take_over(
    names: list[str], validation: Dataset, tokenizer: PreTrainedTokenizerBase, device: torch.device
) -> tuple[PreTrainedModel, str]:
    """Return the encoder as a fine-tuned classifier, its classes in the corpus's order, and a note.

    Its classes are matched by their names or, if it shares none with the corpus, as LABEL_0 or
    POSITIVE for pos, by its answers on the validation split.

    Raises:
        InputError: it is not a classifier, has other labels, or its answers contradict them.
    """
    model = fine_tuned(len(names)).to(device)
    theirs = [str(model.config.id2label[number]) for number in range(model.config.num_labels)]
    texts = validation["text"][:]
    answers = predicted(logits_of(model, tokenizer, texts, bf16=False, name="validation texts"))
    counts = confusion_matrix(validation["label"][:], answers, labels=range(len(names)))
    shown = pd.DataFrame(counts, index=names, columns=theirs).iloc[:SHOWN, :SHOWN]
    print(f"validation texts by label (row) and the classifier's answer:\n{shown.to_string()}")
    order = matched(names, theirs, counts)
    reorder(model, order)
    for key, value in labelled_as(names).items():
        setattr(model.config, key, value)
    accuracy = counts[range(len(names)), order].sum() / counts.sum()
    pairs = [f"{theirs[place]} = {name}" for name, place in zip(names, order, strict=True)]
    return model, (
        f"is the encoder, already fine-tuned, with a validation accuracy of {accuracy:.4f} "
        f"({', '.join(pairs[:SHOWN])})"
    )


def fine_tuned(count: int) -> PreTrainedModel:
    """Return the encoder as the classifier of `count` classes that it is, or InputError."""
    config = AutoConfig.from_pretrained(ENCODER)
    remedy = "set finetune.epochs to 1 or more"
    if not is_classifier(config):
        raise InputError(
            f"finetune.epochs = 0 keeps a fine-tuned classifier, but {ENCODER} has no "
            f"classification head; {remedy}"
        )
    if config.problem_type not in (None, "single_label_classification"):
        raise InputError(
            f"finetune.epochs = 0 keeps a fine-tuned classifier, but this one's config.json has "
            f"problem_type = {config.problem_type}: it is not a single-label classifier; {remedy}"
        )
    if config.num_labels != count:
        raise InputError(
            f"the fine-tuned classifier has {config.num_labels} labels, "
            f"{[*config.id2label.values()]}, the corpus {count}; correct data.label, or {remedy}"
        )
    model, found = AutoModelForSequenceClassification.from_pretrained(
        ENCODER, output_loading_info=True
    )
    if found["missing_keys"]:
        raise InputError(
            f"finetune.epochs = 0 keeps a fine-tuned classifier, but {ENCODER} lacks "
            f"{', '.join(sorted(found['missing_keys']))}; {remedy}"
        )
    return model.eval()


def matched(names: list[str], theirs: list[str], counts: np.ndarray) -> list[int]:
    """Return the classifier's class for each of the corpus's, from their names or its answers.

    `counts` are texts by label (row) and answer (column). Answers match if each class has one of
    its own, which leads the next by a third of the class's texts.

    Raises:
        InputError: some names are the same and others not, or the answers leave doubt.
    """
    answered = counts.argmax(axis=1).tolist()
    second, first = np.sort(counts, axis=1)[:, -2:].T
    clear = len({*answered}) == len(names) and (3 * (first - second) > counts.sum(axis=1)).all()
    ours, folded = comparable(names, theirs)
    if {*ours}.isdisjoint(folded):
        if clear:
            return answered
        raise InputError(
            f"which of {theirs} is which of {names} can't be told from the classifier's answers "
            "(see above); name them in its config.json (id2label and label2id)"
        )
    if sorted(folded) != sorted(ours) or len({*folded}) < len(folded):
        raise InputError(
            f"the fine-tuned classifier's labels are {theirs}, the corpus's {names}; rename them "
            "in its config.json (id2label and label2id) or in the texts' files"
        )
    order = [folded.index(name) for name in ours]
    if clear and order != answered:
        raise InputError(
            f"the classifier's config.json calls its labels {theirs}, but its answers (see above) "
            f"are those of {[theirs[place] for place in answered]}; correct id2label and label2id"
        )
    return order
