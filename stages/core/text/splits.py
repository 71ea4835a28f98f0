"""Which text belongs to which split: one place for each, the held-out ones stratified."""

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig
from stages.core.text.files import PRECEDENCE

HELD_OUT = ("test", "validation")


def key(text: str) -> str:
    """Return what texts that count as one have in common: all but case and white space."""
    return " ".join(text.split()).casefold()


def clean(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
    """Drop empty and repeated texts; return the rest, and how many were dropped for each reason.

    Texts that differ only in case or white space count as one, and stay as they are. A text with
    two labels in one split is dropped; of copies in several splits the one in the first of
    PRECEDENCE stays.
    """
    rows = len(table)
    keys = [key(text) for text in table["text"]]
    table = table.assign(key=pd.factorize(np.array(keys, dtype=object))[0])
    empty = np.fromiter((not key for key in keys), bool, rows)
    table = table[~empty]
    readings = table.groupby(["split", "key"])["class"].transform("nunique")
    clear = table[readings <= 1]
    rank = clear["split"].map(PRECEDENCE.index)
    first = clear.assign(rank=rank).sort_values("rank", kind="stable").drop_duplicates("key")
    dropped = {
        "empty": int(empty.sum()),
        "contradictory": len(table) - len(clear),
        "duplicate": len(clear) - len(first),
    }
    return first.sort_index().drop(columns=["rank", "key"]).reset_index(drop=True), dropped


def sample(table: pd.DataFrame, max_texts: int | None, seed: int) -> pd.DataFrame:
    """Keep at most `max_texts` texts in every split that the files give."""
    if max_texts is None:
        return table
    parts = [
        part.sample(min(max_texts, len(part)), random_state=seed)
        for _, part in table.groupby("split", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def split(table: pd.DataFrame, data: DataConfig, given: set[str]) -> pd.DataFrame:
    """Take the splits that no file gives out of train, with a text of every class in each.

    `given` are the splits that files give.

    Raises:
        InputError: there are too few texts.
    """
    rows = int((table["split"] == "train").sum())
    for name, share in (("test", data.test_share), ("validation", data.validation_share)):
        if name in given:
            continue
        train = table[table["split"] == "train"]
        size = max(train["class"].nunique(), round(share * rows))
        if share == 0:
            raise InputError(f"no file is the {name} split, and data.{name}_share = 0; set one")
        try:
            _, held_out = train_test_split(
                train.index, test_size=size, stratify=train["class"], random_state=data.seed
            )
        except ValueError as error:
            raise InputError(
                f"{len(train)} labelled texts are too few for a {name} split of {share:.0%} with "
                f"every class in it ({error!s:.200}); add texts or change data.{name}_share"
            ) from error
        # A stratified draw may leave out a small class.
        missed = train[~train["class"].isin(train.loc[held_out, "class"])]
        firsts = missed.sample(frac=1, random_state=data.seed).drop_duplicates("class").index
        table.loc[[*held_out, *firsts], "split"] = name
    left = set(table.loc[table["split"] == "train", "class"])
    if gone := len(set(table["class"].dropna()) - left):
        raise InputError(
            f"{gone} classes have no text left to train on; lower data.test_share or "
            "data.validation_share, or add texts"
        )
    return table


def small_classes(
    table: pd.DataFrame, data: DataConfig, names: list[str], given: set[str]
) -> dict[str, str]:
    """Return the classes with too few texts to be in every split, and how many they have.

    Each needs data.min_texts where train is cut, enough for a text in each split, and one in every
    split that files give.
    """
    needed = max(data.min_texts, 1 + len({*HELD_OUT} - given))
    counts = table.groupby(["split", "class"]).size().unstack("split", fill_value=0)
    counts = counts.reindex(index=range(len(names)), columns=["train", *HELD_OUT], fill_value=0)
    small = counts["train"] < needed
    for name in given:
        small |= counts[name] < 1
    shown = counts.loc[small, ["train", *sorted(given)]].to_dict("index")
    return {
        names[number]: ", ".join(f"{count} in {split}" for split, count in row.items())
        for number, row in shown.items()
    }
