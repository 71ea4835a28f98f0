"""Let the teacher label every text that the student learns from."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from datasets import Dataset, DatasetDict, Value, concatenate_datasets
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from stages.core.launch.atomic import atomic_directory
from stages.core.launch.command import launch
from stages.core.launch.paths import AUGMENTED, LABELLED, existing
from stages.core.launch.processes import rank
from stages.core.launch.settings import Settings
from stages.core.serving.variant import Variant
from stages.core.text.corpus import UNLABELLED, load_corpus, load_texts
from stages.core.training.device import begin, bf16_wanted, described
from stages.core.training.logits import logits_of


def run(config: Settings) -> str:
    """Write data/labelled: text, label (of train texts alone) and teacher_logits.

    A stage of its own, so that another student or loss finds them in the cache.
    """
    device = begin(config.device, config.processes)
    label = labeller(device, bf16=bf16_wanted(config.bf16, device))
    texts = all_texts(load_corpus(), load_texts(AUGMENTED))
    logits = label(texts["text"][:])
    if rank() == 0:
        with atomic_directory(LABELLED) as part:
            texts.add_column("teacher_logits", logits.tolist()).save_to_disk(part)
    return f"{LABELLED} with {len(texts)} texts, labelled on {described(device)}"


def labeller(device: torch.device, *, bf16: bool) -> Callable[[list[str]], np.ndarray]:
    """Return a function from texts to the teacher's logits, shape (texts, classes)."""
    directory = existing(Variant("teacher", "pytorch").directory)
    teacher = AutoModelForSequenceClassification.from_pretrained(directory).eval().to(device)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return partial(logits_of, teacher, tokenizer, bf16=bf16, name="teacher's logits")


def all_texts(corpus: DatasetDict, augmented: Dataset) -> Dataset:
    """Return the train texts, then the transfer and the made ones with a label that losses ignore.

    Columns: text, label.
    """
    train_texts = corpus["train"].cast_column("label", Value("int64"))
    others = [corpus["transfer"]] if "transfer" in corpus else []
    others.append(augmented.select_columns("text"))
    unlabelled = [
        texts.add_column("label", np.full(len(texts), UNLABELLED)) for texts in others if len(texts)
    ]
    return concatenate_datasets([train_texts, *unlabelled])


if __name__ == "__main__":
    launch(run, parallel=True)
