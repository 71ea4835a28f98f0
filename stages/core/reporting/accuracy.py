"""Statistics of predictions: how good a variant is, and how it differs from the teacher."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import softmax
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, brier_score_loss, recall_score

from stages.core.launch.errors import InputError
from stages.core.reporting.latency import CONFIDENCE, Estimate, bootstrapped


@dataclass(frozen=True)
class Scores:
    """How good a variant's predictions of one split are; shares from 0 to 1."""

    texts: int
    accuracy: Estimate
    macro_f1: Estimate
    recall: dict[str, float]  # by class
    brier: float  # from 0 (right and sure of it) to 1 (wrong and sure of it)


@dataclass(frozen=True)
class Comparison:
    """How a variant's predictions compare with the teacher's on the same texts."""

    agreement: float
    better: int  # texts that this one alone gets right
    worse: int  # texts that the teacher alone gets right
    p_value: float  # of the exact McNemar test
    retained: Estimate  # the accuracy, as a share of the teacher's


def score(predictions: pd.DataFrame) -> Scores:
    """Return the scores of predictions: columns label, predicted, and a logit_ each class.

    The accuracy's interval is Wilson's, that of macro F1 a bootstrap over texts.
    """
    truth, guess = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    logits = predictions.filter(regex="^logit_")
    classes = np.arange(logits.shape[1])
    right = int((truth == guess).sum())
    interval = binomtest(right, len(truth)).proportion_ci(CONFIDENCE, method="wilson")
    recall = recall_score(truth, guess, labels=classes, average=None, zero_division=np.nan)
    probabilities = softmax(logits.to_numpy(float), axis=1)
    return Scores(
        texts=len(truth),
        accuracy=Estimate(accuracy_score(truth, guess), interval.low, interval.high),
        macro_f1=bootstrapped(macro_f1, truth, guess),
        recall=dict(zip(logits.columns.str.removeprefix("logit_"), recall.tolist(), strict=True)),
        brier=brier_score_loss(truth, probabilities, labels=classes, scale_by_half=True),
    )


def macro_f1(truth: np.ndarray, guess: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean F1 of all classes that are there, along `axis`.

    It is scikit-learn's, for all resamples of a bootstrap at once.
    """
    found = []
    for name in range(max(truth.max(), guess.max()) + 1):
        true, guessed = truth == name, guess == name
        with np.errstate(invalid="ignore"):  # a class that is not there has none
            found.append(2 * (true & guessed).sum(axis) / (true.sum(axis) + guessed.sum(axis)))
    return np.nanmean(found, axis=0)


def compare(predictions: pd.DataFrame, teacher: pd.DataFrame) -> Comparison:
    """Return how predictions compare with the teacher's of the same texts, in the same order.

    McNemar's exact test is a binomial one on the texts that one of the two alone gets right
    (McNemar, 1947); the interval of the share retained is a bootstrap over texts, both together.
    """
    truth = teacher["label"].to_numpy()
    right, teacher_right = predictions["predicted"] == truth, teacher["predicted"] == truth
    if not teacher_right.any():
        raise InputError(
            "the teacher gets no text right; is data.label_names in the order of its classes?"
        )

    def share(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return ours.sum(axis) / theirs.sum(axis)

    better, worse = int((right & ~teacher_right).sum()), int((~right & teacher_right).sum())
    return Comparison(
        agreement=float((predictions["predicted"] == teacher["predicted"]).mean()),
        better=better,
        worse=worse,
        p_value=binomtest(better, better + worse).pvalue if better + worse else 1.0,
        retained=bootstrapped(share, right.to_numpy(), teacher_right.to_numpy()),
    )
