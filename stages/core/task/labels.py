"""From labels, as files give them, to classes."""

import textwrap
from collections import defaultdict

import numpy as np
import pandas as pd

from stages.core.launch.errors import InputError, printable

OTHER = "other"  # the class of merged small classes


def whole(labels: pd.Series) -> tuple[pd.Series, str | None]:
    """Return labels without a `.0`, if all are whole numbers, and a note if some had it.

    So pandas writes a column of integers that has gaps.
    """
    known = labels[labels != ""]
    pointed = known[known.str.contains(".", regex=False)]
    if pointed.empty or not known.str.fullmatch(r"[+-]?\d+(\.0+)?").all():
        return labels, None
    note = f"labels such as {pointed.iloc[0]!r} are read without their fraction"
    return labels.str.replace(r"\.0+$", "", regex=True), note


def from_zero(labels: pd.Series, names: list[str]) -> tuple[pd.Series, str | None]:
    """Return indices of `names` that count from 1 as indices from 0, and a note if they did.

    Raises:
        InputError: they may count from either, as both 0 and the number of names are absent.
    """
    known = labels[labels != ""]
    distinct = {*known}
    if distinct & {*names} or not known.str.fullmatch(r"\d+").all() or "0" in distinct:
        return labels, None
    if str(len(names)) not in distinct:
        raise InputError(
            f"the labels {', '.join(sorted(distinct))} may count the {len(names)} of "
            "data.label_names from 0 or from 1; name them, or give the names of these alone"
        )
    shifted = known.map(int) - 1
    return labels.mask(labels != "", shifted.map(str)), "labels count from 1"


def alike(names: list[str]) -> list[str]:
    """Return a note on each group of classes whose names differ only in case or white space."""
    groups = defaultdict(list)
    for name in names:
        groups["".join(name.split()).casefold()].append(name)
    return [
        f"the classes {' and '.join(map(repr, group))} differ in case or white space alone, but "
        "count as different; correct the labels if they are one"
        for group in groups.values()
        if len(group) > 1
    ]


def class_names(labels: pd.Series, given: list[str] | None) -> list[str]:
    """Return the names of the classes: those given, or the distinct labels in order.

    Raises:
        InputError: there are fewer than two, or one would break a line or a table.
    """
    names = given or sorted(set(labels) - {""})
    if not given and all(label.isdecimal() for label in names):
        names.sort(key=float)
    if len(names) < 2:
        found = f"only the class {names[0]!r}" if names else "no labels"
        raise InputError(f"the corpus has {found}; a classifier needs two classes or more")
    for name in names:
        if not name.strip() or name != printable(name):
            raise InputError(
                f"a label is called {name!r:.100}: blank, or with line breaks or control "
                "characters; rename it"
            )
    return names


def regrouped(
    numbers: pd.Series, names: list[str], small: set[str], *, merge: bool
) -> tuple[pd.Series, list[str]]:
    """Return class indices without the small classes, and the names of those that are left.

    Texts of a small class have none (missing) or, with `merge`, that of OTHER.
    """
    kept = [name for name in names if name not in small]
    if merge and OTHER not in kept:
        kept.append(OTHER)
    place = {
        number: kept.index(name if name not in small else OTHER)
        for number, name in enumerate(names)
        if merge or name not in small
    }
    return numbers.map(place).astype("Int64"), kept


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
