"""Reading texts and labels: raw files of several formats, and the prepared corpus."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
from datasets import DatasetDict, disable_progress_bars, load_from_disk

from stages.core.launch.errors import InputError
from stages.core.launch.paths import CORPUS

if not sys.stderr.isatty():
    disable_progress_bars()  # a log is no place for them

csv.field_size_limit(2**31 - 1)
TEXT_SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")
MAX_PARQUET_BYTES = 4 * 2**30  # unpacked: 50 kB can become gigabytes
PARQUET_ROWS = 64


class CSV(csv.excel):
    """With quotes, which must be balanced."""

    strict = True


class TSV(csv.excel_tab):
    """Without quotes."""

    quoting = csv.QUOTE_NONE


def read_table(path: Path, columns: list[str] | None) -> pd.DataFrame:
    """Read one csv, tsv (also .txt), jsonl or parquet file.

    Csv and tsv give strings only, so that "NA" and "007" stay what they are. A tsv has no quotes.

    Args:
        path: the file.
        columns: the columns of a csv or tsv without a header line.

    Raises:
        InputError: the file is empty, not in UTF-8, or not what its name says.
    """
    try:
        match path.suffix:
            case ".parquet":
                table = read_parquet(path)
            case ".jsonl":
                table = read_jsonl(path)
            case suffix:
                table = read_delimited(path, columns, CSV if suffix == ".csv" else TSV)
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not in UTF-8 ({error}); convert it") from error
    except (ValueError, RecursionError, OSError, csv.Error, pa.ArrowException) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path.name} can't be read as {path.suffix} ({reason})") from error
    if table.empty:
        raise InputError(f"{path.name} holds no rows; remove it or fill it")
    return table


def read_parquet(path: Path) -> pd.DataFrame:
    """Read a parquet file a few rows at a time, to notice early if it unpacks to too much."""
    batches: list[pa.RecordBatch] = []
    unpacked = 0
    with pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            batches.append(batch)
            unpacked += batch.nbytes + 8 * batch.num_rows * batch.num_columns  # pandas' pointers
            if unpacked > MAX_PARQUET_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_PARQUET_BYTES / 2**30:.1f} GiB")
        table = pa.Table.from_batches(batches, file.schema_arrow)
    # Without what pandas may have noted in it: that may be wrong.
    return table.to_pandas(ignore_metadata=True, integer_object_nulls=True)


def read_jsonl(path: Path) -> pd.DataFrame:
    """Read a file of one JSON object a line; values stay what they are, large integers too."""
    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line) for line in file if not line.isspace()]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no object")
    json.dumps(rows, ensure_ascii=False).encode()  # a lone surrogate, escaped, is no text
    return pd.DataFrame(rows, dtype=object)


def read_delimited(
    path: Path, columns: list[str] | None, dialect: type[csv.Dialect]
) -> pd.DataFrame:
    """Read a csv or tsv; a row of more or fewer fields than columns is an error."""
    if b"\0" in path.read_bytes():
        raise ValueError("it holds NUL bytes, as UTF-16 does; convert it to UTF-8")
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file, dialect) if row]
    header = columns or (rows.pop(0) if rows else [])
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, not {len(header)}")
    return pd.DataFrame(rows, columns=header)


def load_corpus() -> DatasetDict:
    """Return the prepared corpus: train, validation, test (text, label), maybe transfer (text)."""
    if not CORPUS.exists():
        raise InputError(f"no {CORPUS}; make it with: dvc repro prepare")
    # In memory: what is derived from a dataset on disk is cached beside it, in DVC's output.
    return load_from_disk(str(CORPUS), keep_in_memory=True)


def draw_texts(texts: list[str], count: int, random: np.random.Generator) -> list[str]:
    """Return `count` of the texts at random; an array of them would be as wide as the longest."""
    return [texts[place] for place in random.integers(len(texts), size=count)]


def label_names(corpus: DatasetDict) -> list[str]:
    """Return the names of the classes, in the order of their indices."""
    return corpus["train"].features["label"].names
