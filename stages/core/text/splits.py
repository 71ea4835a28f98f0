"""Which text belongs to which split: one place for each, the held-out ones stratified."""

from pathlib import Path

import pandas as pd
from sklearn.model_selection import train_test_split

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig, Files

# A text that stands in two splits stays in the first of these.
PRECEDENCE = ("test", "validation", "train", "transfer")


def claims(files: list[Path], patterns: Files) -> dict[str, list[Path]]:
    """Return the files of each split; InputError if its patterns match none.

    Train takes what no other split claims.
    """
    found = {
        name: [file for file in files if any(map(file.match, getattr(patterns, name)))]
        for name in PRECEDENCE
    }
    others = {file for name in PRECEDENCE if name != "train" for file in found[name]}
    found["train"] = [file for file in found["train"] if file not in others]
    for name in PRECEDENCE:
        if getattr(patterns, name) and not found[name]:
            present = ", ".join(file.name for file in files) or "no text file"
            raise InputError(
                f"data.files.{name} = {getattr(patterns, name)} matches nothing; there is {present}"
            )
    return found


def clean(table: pd.DataFrame) -> pd.DataFrame:
    """Normalise white space, drop empty texts, and leave every text once.

    Texts that differ in case alone count as one. A text with two labels in one split is dropped;
    of copies in several splits the one in the first of PRECEDENCE stays.
    """
    table = table.assign(text=table["text"].str.split().str.join(" "))
    table = table[table["text"] != ""]
    table = table.assign(key=table["text"].str.casefold())
    readings = table.groupby(["split", "key"])["class"].transform("nunique")
    table = table[readings <= 1]
    rank = table["split"].map(PRECEDENCE.index)
    first = table.assign(rank=rank).sort_values("rank", kind="stable").drop_duplicates("key")
    return first.sort_index().drop(columns="rank").reset_index(drop=True)


def sample(table: pd.DataFrame, max_texts: int | None, seed: int) -> pd.DataFrame:
    """Leave at most `max_texts` texts in every split that the files give."""
    if max_texts is None:
        return table
    parts = [
        part.sample(min(max_texts, len(part)), random_state=seed)
        for _, part in table.groupby("split", sort=False)
    ]
    return pd.concat(parts, ignore_index=True)


def split(table: pd.DataFrame, data: DataConfig, names: list[str]) -> pd.DataFrame:
    """Take the splits that no file gives out of train; InputError if one would lack a class."""
    shares = {"test": data.test_share, "validation": data.validation_share}
    rows = int((table["split"] == "train").sum())
    for name, share in shares.items():
        if getattr(data.files, name):
            continue
        train = table[table["split"] == "train"]
        try:
            _, held_out = train_test_split(
                train.index,
                test_size=max(1, round(share * rows)),
                stratify=train["class"],
                random_state=data.seed,
            )
        except ValueError as error:
            raise InputError(
                f"{len(train)} labelled texts are too few for a {name} split of {share:.0%} with "
                f"every class in it ({error!s:.200}); add texts or enlarge data.{name}_share"
            ) from error
        table.loc[held_out, "split"] = name
    for name in ("train", *shares):
        found = set(table.loc[table["split"] == name, "class"])
        missing = [label for i, label in enumerate(names) if i not in found]
        if missing:
            raise InputError(
                f"the {name} split has no text labelled {', '.join(missing)}; add some"
            )
    return table
