"""Reading texts and labels: raw files of several formats, and the prepared corpus."""

import csv
import sys
import warnings
from pathlib import Path

import pandas as pd
from datasets import DatasetDict, disable_progress_bars, load_from_disk

from stages.core.errors import InputError
from stages.core.layout import CORPUS

if not sys.stderr.isatty():
    disable_progress_bars()  # a log is no place for them

TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")


def read_table(path: Path, columns: list[str] | None) -> pd.DataFrame:
    """Read one csv, tsv (also .txt), jsonl or parquet file.

    Text formats give strings only, so that "NA" and "007" stay what they are. A tsv has no quotes.

    Args:
        path: the file.
        columns: the columns of a csv or tsv without a header line.

    Raises:
        InputError: the file is empty or is not what its name says.
    """
    try:
        match path.suffix:
            case ".parquet":
                table = pd.read_parquet(path)
            case ".jsonl":
                table = pd.read_json(path, lines=True, dtype=False)
            case suffix:
                table = read_delimited(path, columns, quotes=suffix == ".csv")
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path.name} can't be read as {path.suffix} ({reason})") from error
    if table.empty:
        raise InputError(f"{path.name} holds no rows; remove it or fill it")
    return table


def read_delimited(path: Path, columns: list[str] | None, *, quotes: bool) -> pd.DataFrame:
    """Read a csv (with quotes) or tsv; a line with more fields than columns is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            sep="," if quotes else "\t",
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            names=columns,
            index_col=False,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
        )


def load_corpus() -> DatasetDict:
    """Return the prepared corpus: train, validation, test (text, label), maybe transfer (text)."""
    if not CORPUS.exists():
        raise InputError(f"no {CORPUS}; make it with: dvc repro prepare")
    # In memory: what is derived from a dataset on disk is cached beside it, in DVC's output.
    return load_from_disk(str(CORPUS), keep_in_memory=True)


def label_names(corpus: DatasetDict) -> list[str]:
    """Return the names of the classes, in the order of their indices."""
    return corpus["train"].features["label"].names
