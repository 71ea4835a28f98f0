"""A variant's predictions of a split: columns text, label, predicted and logit_<class>."""

import numpy as np
import pandas as pd

from stages.core.task.decoding import predicted

LOGIT = "logit_"  # and the name of a class


def tabulate(
    texts: list[str], labels: np.ndarray, logits: np.ndarray, names: list[str]
) -> pd.DataFrame:
    """Return the table; `logits` have the shape (texts, classes), `names` are the classes'."""
    facts = {"text": texts, "label": labels, "predicted": predicted(logits)}
    return pd.DataFrame(facts).join(pd.DataFrame(logits, columns=names).add_prefix(LOGIT))


def names_of(predictions: pd.DataFrame) -> list[str]:
    """Return the names of the classes, in the order of their indices."""
    return [name.removeprefix(LOGIT) for name in predictions if name.startswith(LOGIT)]


def logits_in(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the logits, a column for each class."""
    names = names_of(predictions)
    return predictions[[f"{LOGIT}{name}" for name in names]].astype(float).set_axis(names, axis=1)
