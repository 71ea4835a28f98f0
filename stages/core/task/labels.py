"""From labels, as files give them, to classes."""

import textwrap
from unicodedata import category

import numpy as np
import pandas as pd

from stages.core.launch.errors import InputError

# Unicode's categories of control characters, lone surrogates and line separators.
UNPRINTABLE = {"Cc", "Cs", "Zl", "Zp"}


def class_names(labels: pd.Series, given: list[str] | None) -> list[str]:
    """Return the names of the classes: those given, or the distinct labels in order.

    InputError says that there are fewer than two, or that one would break a line or a table.
    """
    names = given or sorted(set(labels) - {""})
    if not given and all(label.isdecimal() for label in names):
        names.sort(key=float)
    if len(names) < 2:
        raise InputError(f"the corpus has one class ({names}); a classifier needs two or more")
    for name in names:
        if not name.strip() or {category(character) for character in name} & UNPRINTABLE:
            raise InputError(
                f"a label is called {name!r:.100}: blank, or with line breaks or control "
                "characters; rename it"
            )
    return names


def classes(labels: pd.Series, names: list[str], rating_threshold: float | None) -> pd.Series:
    """Return the class index of every label, missing where the label is "".

    Labels are names or, if none is one, indices of names. With `rating_threshold`, they are ratings
    whose sign gives the class; a rating weaker than the threshold gives none.

    Raises:
        InputError: a label is none of these.
    """
    if rating_threshold is not None:
        ratings = pd.to_numeric(labels.where(labels != ""), errors="coerce")
        ratings = ratings.where(np.isfinite(ratings))
        wrong = labels[(labels != "") & ratings.isna()]
        result = (ratings > 0).astype("Int64").where(ratings.abs() >= rating_threshold)
    else:
        named = set(labels) & set(names)
        index = {name if named else str(i): i for i, name in enumerate(names)}
        result = labels.map(index).astype("Int64")
        wrong = labels[(labels != "") & result.isna()]
    if len(wrong):
        known = textwrap.shorten(", ".join(names), 200)
        expected = "a number" if rating_threshold is not None else f"one of {known}"
        raise InputError(
            f"{len(wrong)} labels are not {expected}, the first is {wrong.iloc[0]!r:.100}; set "
            "data.label or data.label_names"
        )
    return result
