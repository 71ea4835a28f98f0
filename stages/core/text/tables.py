"""Reading tables of texts and labels: csv, tsv (also .txt), jsonl and parquet files."""

import csv
import json
from numbers import Number
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from stages.core.launch.errors import InputError

csv.field_size_limit(2**31 - 1)
SUFFIXES = (".csv", ".tsv", ".txt", ".jsonl", ".parquet")
MAX_PARQUET_BYTES = 4 * 2**30  # unpacked: 50 kB can become gigabytes
PARQUET_ROWS = 64


def is_table(path: Path) -> bool:
    """Return whether `read_table` reads a file of that name."""
    return path.suffix.lower() in SUFFIXES and path.is_file()


def read_table(path: Path, columns: list[str] | None) -> pd.DataFrame:
    """Read one file; `columns` are those of a csv or tsv without a header line.

    Csv and tsv give strings only, so that "NA" and "007" stay what they are. A tsv has no quotes.
    InputError says that the file is empty, not in UTF-8, or not in the format of its suffix.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            table = _read_parquet(path)
        elif suffix == ".jsonl":
            table = _read_jsonl(path)
        else:
            table = _read_delimited(path, columns)
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not in UTF-8 ({error}); convert it") from error
    except (ValueError, RecursionError, OSError, csv.Error, pa.ArrowException) as error:
        reason = str(error).strip().split("\n")[0]
        raise InputError(f"{path.name} can't be read as {suffix} ({reason})") from error
    if table.empty:
        raise InputError(f"{path.name} holds no rows; remove it or fill it")
    return table


def _read_parquet(path: Path) -> pd.DataFrame:
    # A few rows at a time, to notice early if it unpacks to too much.
    batches: list[pa.RecordBatch] = []
    unpacked = 0
    with pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            batches.append(batch)
            unpacked += batch.nbytes + 8 * batch.num_rows * batch.num_columns  # pandas' pointers
            if unpacked > MAX_PARQUET_BYTES:
                raise ValueError(f"it unpacks to more than {MAX_PARQUET_BYTES / 2**30:.1f} GiB")
        table = pa.Table.from_batches(batches, file.schema_arrow)
    # Without pandas' own metadata in it, which may be wrong.
    return table.to_pandas(ignore_metadata=True, integer_object_nulls=True)


def _read_jsonl(path: Path) -> pd.DataFrame:
    with path.open(encoding="utf-8-sig") as file:
        rows = [json.loads(line) for line in file if not line.isspace()]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise ValueError(f"row {number} is no object")
    json.dumps(rows, ensure_ascii=False).encode()  # refuses a lone surrogate, which is no text
    return pd.DataFrame(rows, dtype=object)  # so that large integers stay exact


def _read_delimited(path: Path, columns: list[str] | None) -> pd.DataFrame:
    if b"\0" in path.read_bytes():
        raise ValueError("it holds NUL bytes, as UTF-16 does; convert it to UTF-8")
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            reader = csv.reader(file, strict=True)  # quotes must be balanced
        else:
            reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        rows = [row for row in reader if row]
    header = columns or (rows.pop(0) if rows else [])
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} fields, not {len(header)}")
    return pd.DataFrame(rows, columns=header)


def strings(table: pd.DataFrame, name: str, file: str, key: str) -> pd.Series:
    """Return a column as strings, "" where missing, and whole numbers without a fraction.

    InputError names `file`, and `key`, the setting of the column, if that isn't there or no text.
    """
    if list(table.columns).count(name) != 1:
        columns = ", ".join(str(column) for column in table.columns)
        raise InputError(f"{file} has not one column {name!r}, but {columns}; set {key}")
    values = table[name]
    known = values[values.notna()].astype(object)
    for value in known:
        if not isinstance(value, str | Number | np.bool_):
            raise InputError(
                f"column {name!r} of {file} holds neither texts nor numbers, the first is a "
                f"{type(value).__name__}; write them as text"
            )
    floats = known.map(lambda value: isinstance(value, float | np.floating)).astype(bool)
    if all(float(value).is_integer() for value in known[floats]):
        known[floats] = known[floats].map(int)
    return known.map(str).reindex(values.index, fill_value="").astype(object)
