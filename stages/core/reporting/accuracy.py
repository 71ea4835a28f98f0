"""Statistics of predictions: how good a variant is, and how it differs from the teacher."""

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import recall_score

from stages.core.launch.errors import InputError
from stages.core.reporting.latency import CONFIDENCE, Estimate, bootstrapped
from stages.core.task.decoding import probabilities
from stages.core.task.metrics import macro_f1, scores

LOGIT = "logit_"  # the prefix of the predictions' columns with logits, one a class


def score(predictions: pd.DataFrame) -> dict[str, float]:
    """Return every metric, the intervals of accuracy and macro F1, and recall_<class>.

    The accuracy's interval is Wilson's, that of macro F1 a bootstrap over texts.

    Args:
        predictions: of one split; columns label, predicted and logit_<class>.
    """
    labels, answers = predictions["label"].to_numpy(), predictions["predicted"].to_numpy()
    logits = predictions.filter(regex=f"^{LOGIT}")
    values = scores(labels, logits.to_numpy(float))
    right = round(values["accuracy"] * len(labels))
    interval = binomtest(right, len(labels)).proportion_ci(CONFIDENCE, method="wilson")
    recalls = recall_score(
        labels, answers, labels=range(logits.shape[1]), average=None, zero_division=np.nan
    )
    names = logits.columns.str.removeprefix(LOGIT)
    return {
        **values,
        **Estimate(values["accuracy"], interval.low, interval.high).columns("accuracy"),
        **bootstrapped(macro_f1, labels, answers).columns("macro_f1"),
        **{f"recall_{name}": float(value) for name, value in zip(names, recalls, strict=True)},
    }


def retained(predictions: pd.DataFrame, teacher: pd.DataFrame) -> Estimate:
    """Return the accuracy as a share of the teacher's, with a bootstrap interval over texts.

    Both have the same texts in the same order.

    Raises:
        InputError: the teacher's answers are all wrong.
    """
    right, teacher_right = (
        (each["predicted"] == each["label"]).to_numpy() for each in (predictions, teacher)
    )
    if not teacher_right.any():
        raise InputError(
            "the teacher's answers are all wrong; check that data.label_names is in the order of "
            "its classes"
        )

    def share(ours: np.ndarray, theirs: np.ndarray, axis: int) -> np.ndarray:
        return ours.sum(axis) / theirs.sum(axis)

    return bootstrapped(share, right, teacher_right)


def compare(predictions: pd.DataFrame, teacher: pd.DataFrame) -> dict[str, float]:
    """Return agreement, better and worse (texts that only one of the two gets right), and p_value.

    The p-value is that of McNemar's exact test (1947), a binomial one on better and worse.
    """
    truth = teacher["label"]
    right, teacher_right = predictions["predicted"] == truth, teacher["predicted"] == truth
    better, worse = int((right & ~teacher_right).sum()), int((~right & teacher_right).sum())
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
    logits = predictions.filter(regex=f"^{LOGIT}")
    names = logits.columns.str.removeprefix(LOGIT).to_numpy()
    found = pd.DataFrame(
        {
            "text": predictions["text"],
            "label": names[predictions["label"]],
            "answer": names[predictions["predicted"]],
            "confidence": probabilities(logits.to_numpy(float)).max(axis=1),
            "teacher_confidence": probabilities(
                teacher.filter(regex=f"^{LOGIT}").to_numpy(float)
            ).max(axis=1),
        }
    )
    right, teacher_right = (each["predicted"] == each["label"] for each in (predictions, teacher))
    return found[teacher_right & ~right].sort_values("confidence", ascending=False, kind="stable")
