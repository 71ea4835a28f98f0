"""All texts of a directory as one table."""

from pathlib import Path, PurePath

import pandas as pd
from tqdm import tqdm

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import DataConfig
from stages.core.text.files import (
    claims,
    is_text_a_file,
    label_of,
    listed,
    named_splits,
    text_files,
)
from stages.core.text.guesses import guess_separator, wrong_encoding
from stages.core.text.tables import header_of, opened, read_table, strings, suffix_of

NO_LABEL = {"", "-1"}  # the second is that of GLUE's test splits


def read_corpus(
    root: Path, data: DataConfig
) -> tuple[pd.DataFrame, dict[str, list[Path]], list[str]]:
    """Return the texts under a directory, the files of each split, and what was left out.

    Columns: text, label (strings, "" where unknown), split.

    Raises:
        InputError: a file can't be read, or one with labels has none.
    """
    files, _ = text_files(root)
    one_each = is_text_a_file(files, root, data)
    if one_each:
        chosen = [
            file for file in files if label_of(file) or named_splits(file.parent) == ["transfer"]
        ]
    else:
        chosen = [file for file in files if not _is_prose(file, root, data)] or files
    found = claims(chosen, data.files, one_each=one_each)
    claimed = {file: name for name, each in found.items() for file in each}
    if one_each:
        table = _read_texts(root, claimed, data.encoding)
    else:
        others = len(claimed) > 1
        tables = [_read_file(root / file, name, data, others) for file, name in claimed.items()]
        table = pd.concat(tables, ignore_index=True)
    left = [file for file in files if file not in claimed]
    notes = [f"left out ({len(left)}): {listed(left)}"] if left else []
    if one_each:
        notes.append(f"each of {len(claimed)} files is one text, its directory's name the label")
    return table, found, notes


def _is_prose(file: Path, root: Path, data: DataConfig) -> bool:
    # Such as README.txt, beside the tables.
    patterns = [each for split in vars(data.files).values() for each in split or ()]
    return (
        suffix_of(file) == ".txt"
        and data.columns is None
        and not any(map(file.match, patterns))
        and len(named_splits(PurePath(file.name))) != 1
        and data.text not in header_of(root / file, data)
    )


def _read_texts(root: Path, claimed: dict[Path, str], encoding: str) -> pd.DataFrame:
    rows = []
    for file, split in tqdm(claimed.items(), desc="texts", unit="file", disable=None):
        try:
            with opened(root / file, encoding) as lines:
                rows.append((lines.read().strip("\r\n"), label_of(file), split))
        except UnicodeError as error:
            raise wrong_encoding(root / file, encoding, error) from error
    return pd.DataFrame(rows, columns=["text", "label", "split"], dtype=object)


def _read_file(path: Path, split: str, data: DataConfig, others: bool) -> pd.DataFrame:
    table = read_table(path, data, {data.text, data.label})
    hint = "" if data.text in table else guess_separator(path, data, suffix_of(path), {data.text})
    if others:
        hint += f", or list in data.files.{split} the files that hold texts"
    texts = strings(table, data.text, path.name, "data.text", hint)
    known = texts[texts.str.strip() != ""]
    if len(known) and pd.to_numeric(known, errors="coerce").notna().all():
        raise InputError(
            f"column {data.text!r} of {path.name} holds numbers, not texts; set data.text"
        )
    labels = pd.Series("", index=texts.index, dtype=object)
    if split != "transfer" and (data.label in table or split == "train"):
        labels = strings(table, data.label, path.name, "data.label").str.strip()
    # In a train file, -1 may be a class.
    if split != "transfer" and {*labels} <= ({""} if split == "train" else NO_LABEL):
        remedy = "set data.label"
        if split != "train":
            remedy += (
                f", or data.files.{split}=[] and data.files.transfer=[{path.name}] to use its "
                "texts without labels"
            )
        raise InputError(
            f"{path.name}, of the {split} split, has no labels (its column {data.label!r} is "
            f"missing, empty or -1 throughout); {remedy}"
        )
    return pd.DataFrame({"text": texts, "label": labels, "split": split})
