"""Statistics of predictions: how good a variant is, and how it differs from the teacher.

Predictions are of one split, the same texts in the same order for every variant.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from stages.core.launch.errors import InputError
from stages.core.reporting.estimate import CONFIDENCE, Estimate, bootstrapped
from stages.core.task.decoding import accuracy, probabilities
from stages.core.task.metrics import macro_f1, quality, recalls, scores
from stages.core.task.predictions import logits_in, names_of


def right(predictions: pd.DataFrame) -> np.ndarray:
    """Return for each text whether the answer is right."""
    return (predictions["predicted"] == predictions["label"]).to_numpy()


def score(predictions: pd.DataFrame) -> dict[str, float]:
    """Return every metric, the intervals of accuracy and macro F1, and recall_<class>.

    The accuracy's interval is Wilson's, that of macro F1 a bootstrap over texts.
    """
    labels, answers = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    logits = logits_in(predictions)
    values = scores(labels, logits.to_numpy())
    test = binomtest(round(values["accuracy"] * len(labels)), len(labels))
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    return {
        **values,
        **Estimate(values["accuracy"], interval.low, interval.high).columns("accuracy"),
        **bootstrapped(macro_f1, labels, answers).columns("macro_f1"),
        **recalls(labels, answers, [*logits]),
    }


def retained(
    predictions: pd.DataFrame, teacher: pd.DataFrame, measure: str = "accuracy"
) -> Estimate:
    """Return a measure of quality as a share of the teacher's, with a bootstrap interval.

    It resamples texts; a resample in which the teacher has none, as without a text of a rare class,
    counts as a tie.

    Raises:
        InputError: the teacher has none in all texts.
    """
    function = quality(measure, names_of(predictions))
    labels, answers = teacher["label"].to_numpy(), teacher["predicted"].to_numpy()
    if not function(labels, answers) > 0:
        raise InputError(
            f"the teacher's {measure} is {function(labels, answers):.0%}; check the labels (is "
            "data.label_names in the order of its classes?), or choose another report.quality"
        )

    def share(labels: np.ndarray, ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):
            found = function(labels, ours, axis) / function(labels, theirs, axis)
        return np.where(np.isfinite(found), found, 1.0)

    return bootstrapped(share, labels, predictions["predicted"].to_numpy(), answers)


def judged(predictions: pd.DataFrame, teacher: pd.DataFrame, measure: str) -> dict[str, float]:
    """Return what the verdict is based on, on the validation split: columns validation_….

    The quality by `measure` and its share of the teacher's, the accuracy and that of answering the
    most frequent class always, the recall of every class and its number of texts (the support), and
    that of all texts.
    """
    labels, answers = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    names = names_of(predictions)
    values = {
        "texts": len(labels),
        "accuracy": float(accuracy(labels, answers)),
        "majority": float(np.bincount(labels).max() / len(labels)),
        "quality": float(quality(measure, names)(labels, answers)),
        **recalls(labels, answers, names),
        **{f"support_{name}": int((labels == number).sum()) for number, name in enumerate(names)},
        **retained(predictions, teacher, measure).columns("retained"),
    }
    return {f"validation_{name}": value for name, value in values.items()}


def compare(predictions: pd.DataFrame, teacher: pd.DataFrame) -> dict[str, float]:
    """Return agreement, better and worse (texts that only one of the two gets right), and p_value.

    The p-value is that of McNemar's exact test (1947), a binomial one on better and worse.
    """
    better = int((right(predictions) & ~right(teacher)).sum())
    worse = int((~right(predictions) & right(teacher)).sum())
    return {
        "agreement": float((predictions["predicted"] == teacher["predicted"]).mean()),
        "better": better,
        "worse": worse,
        "p_value": binomtest(better, better + worse).pvalue if better + worse else 1.0,
    }


def mistakes(predictions: pd.DataFrame, teacher: pd.DataFrame) -> pd.DataFrame:
    """Return the texts that the teacher alone gets right, the most confident mistakes first.

    Columns: text, label, answer, confidence (the probability of the answer), teacher_confidence.
    """
    ours, theirs = (logits_in(each) for each in (predictions, teacher))
    found = pd.DataFrame(
        {
            "text": predictions["text"],
            "label": ours.columns[predictions["label"]],
            "answer": ours.columns[predictions["predicted"]],
            "confidence": probabilities(ours.to_numpy()).max(axis=1),
            "teacher_confidence": probabilities(theirs.to_numpy()).max(axis=1),
        }
    )
    missed = right(teacher) & ~right(predictions)
    return found[missed].sort_values("confidence", ascending=False, kind="stable")
