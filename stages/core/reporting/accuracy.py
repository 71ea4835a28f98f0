"""Statistics of predictions: how good a variant is, and how it differs from the teacher.

Predictions are of one split: columns text, label, predicted and logit_<class>, the same texts in
the same order for every variant.
"""

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import recall_score

from stages.core.launch.errors import InputError
from stages.core.reporting.latency import CONFIDENCE, Estimate, bootstrapped
from stages.core.task.decoding import probabilities
from stages.core.task.metrics import macro_f1, scores


def right(predictions: pd.DataFrame) -> np.ndarray:
    """Return for each text whether the answer is right."""
    return (predictions["predicted"] == predictions["label"]).to_numpy()


def _logits(predictions: pd.DataFrame) -> pd.DataFrame:
    logits = predictions.filter(regex="^logit_").astype(float)
    return logits.rename(columns=lambda name: name.removeprefix("logit_"))


def score(predictions: pd.DataFrame) -> dict[str, float]:
    """Return every metric, the intervals of accuracy and macro F1, and recall_<class>.

    The accuracy's interval is Wilson's, that of macro F1 a bootstrap over texts.
    """
    labels, answers = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    logits = _logits(predictions)
    values = scores(labels, logits.to_numpy())
    test = binomtest(round(values["accuracy"] * len(labels)), len(labels))
    interval = test.proportion_ci(CONFIDENCE, method="wilson")
    numbers = range(logits.shape[1])
    recalls = recall_score(labels, answers, labels=numbers, average=None, zero_division=np.nan)
    return {
        **values,
        **Estimate(values["accuracy"], interval.low, interval.high).columns("accuracy"),
        **bootstrapped(macro_f1, labels, answers).columns("macro_f1"),
        **{f"recall_{name}": float(recalls[number]) for number, name in enumerate(logits)},
    }


def retained(predictions: pd.DataFrame, teacher: pd.DataFrame) -> Estimate:
    """Return the accuracy as a share of the teacher's, with a bootstrap interval over texts."""
    if not right(teacher).any():
        raise InputError(
            "the teacher's answers are all wrong; check that data.label_names is in the order of "
            "its classes"
        )

    def share(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return ours.sum(axis) / theirs.sum(axis)

    return bootstrapped(share, right(predictions), right(teacher))


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
    ours, theirs = (_logits(each) for each in (predictions, teacher))
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
