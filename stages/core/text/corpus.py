"""The prepared corpus."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.launch.paths import CORPUS, existing

if TYPE_CHECKING:
    from datasets import DatasetDict

UNLABELLED = -100  # the label that PyTorch's cross-entropy ignores


def load_texts(directory: Path) -> Any:
    """Return the Dataset, or DatasetDict, that a stage saved."""
    from datasets import load_from_disk  # takes two seconds, and a profiled process imports this

    # In memory: what is derived from a dataset on disk is cached beside it, in DVC's output.
    return load_from_disk(str(existing(directory)), keep_in_memory=True)


def load_corpus() -> "DatasetDict":
    """Return the prepared corpus: train, validation, test (text, label), maybe transfer (text)."""
    return load_texts(CORPUS)


def draw_texts(texts: list[str], count: int, random: np.random.Generator) -> list[str]:
    """Return `count` of the texts at random; an array of them would be as wide as the longest."""
    return [texts[place] for place in random.integers(len(texts), size=count)]


def label_names(corpus: "DatasetDict") -> list[str]:
    """Return the names of the classes, in the order of their indices."""
    return corpus["train"].features["label"].names
