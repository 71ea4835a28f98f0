"""The metrics of predictions. One more is one more line in MEASURES and in the report's tables."""

import textwrap
from collections.abc import Callable
from functools import partial

import numpy as np
from sklearn.metrics import brier_score_loss

from stages.core.launch.errors import InputError
from stages.core.task.decoding import accuracy, predicted, probabilities


def macro_f1(labels: np.ndarray, answers: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean F1 of all classes that occur, along `axis`.

    It is scikit-learn's, for all resamples of a bootstrap at once.
    """
    found = []
    for name in range(max(labels.max(), answers.max()) + 1):
        true, guessed = labels == name, answers == name
        with np.errstate(invalid="ignore"):  # a class that does not occur has none
            found.append(2 * (true & guessed).sum(axis) / (true.sum(axis) + guessed.sum(axis)))
    return np.nanmean(found, axis=0)


def recall(labels: np.ndarray, answers: np.ndarray, axis: int = -1, *, number: int) -> np.ndarray:
    """Return the share of right answers among the texts of class `number` along `axis`.

    It is not a number where there is no such text.
    """
    ours = labels == number
    with np.errstate(invalid="ignore"):
        return (ours & (answers == number)).sum(axis) / ours.sum(axis)


def recalls(labels: np.ndarray, answers: np.ndarray, names: list[str]) -> dict[str, float]:
    """Return the recall of every class under the key recall_<class>."""
    return {
        f"recall_{name}": float(recall(labels, answers, number=number))
        for number, name in enumerate(names)
    }


def quality(name: str, names: list[str]) -> Callable[..., np.ndarray]:
    """Return the measure that a verdict is by: accuracy, macro_f1 or recall_<class>.

    It is a function of labels and answers, each of shape (…, texts), and an axis.

    Raises:
        InputError: there is no such class.
    """
    if name in MEASURES:
        return MEASURES[name]
    wanted = name.removeprefix("recall_")
    if wanted not in names:
        shown = textwrap.shorten(", ".join(names), 200)
        raise InputError(f"report.quality = {name!r}, but the classes are {shown}; use one of them")
    return partial(recall, number=names.index(wanted))


# Of labels and answers, by name; a verdict can be by each.
MEASURES: dict[str, Callable[..., np.ndarray]] = {"accuracy": accuracy, "macro_f1": macro_f1}


def brier(labels: np.ndarray, logits: np.ndarray) -> float:
    """Return the Brier score: 0 for confident and right, 1 for confident and wrong."""
    classes = np.arange(logits.shape[1])
    return brier_score_loss(labels, probabilities(logits), labels=classes, scale_by_half=True)


def scores(labels: np.ndarray, logits: np.ndarray) -> dict[str, float]:
    """Return every metric by its name, of labels (texts,) and logits (texts, classes)."""
    answers = predicted(logits)
    found = {name: float(measure(labels, answers)) for name, measure in MEASURES.items()}
    return found | {"brier": brier(labels, logits)}
