"""Reading tables of texts and labels: csv, tsv (also .txt), jsonl, parquet and arrow files."""

import codecs
import csv
import io
import itertools
import json
import zlib
from collections.abc import Iterator, Set
from numbers import Number
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet

from stages.core.launch.errors import InputError, reason
from stages.core.launch.inputs import Reading
from stages.core.text.guesses import (
    EXCELS_SEPARATOR,
    guess_escape,
    guess_separator,
    is_gzipped,
    open_bytes,
    separator_of,
    wrong_encoding,
)

if TYPE_CHECKING:
    from _csv import Reader

csv.field_size_limit(2**31 - 1)
LINES = (".csv", ".tsv", ".txt", ".jsonl")
SUFFIXES = (*LINES, ".parquet", ".arrow")
ARROW_FILE = b"ARROW1"  # how Feather files begin, too
MAX_BYTES = 4 * 2**30  # unpacked: 50 kB can become gigabytes
UTF8_MARK_IN_CP1252 = "ï»¿"
UNQUOTE = '-S "data.quote=\'\\"\'"'  # for a shell


def suffix_of(path: Path) -> str:
    """Return a file's suffix in lower case, without that of gzip: `.csv` for `A.CSV.gz`."""
    if is_gzipped(path):
        inner = Path(path.stem).suffix.lower()
        return inner if inner in LINES else ""
    return path.suffix.lower()


def is_table(path: Path) -> bool:
    """Return whether `read_table` reads a file of that name; libraries' own caches are none."""
    cached = path.suffix == ".arrow" and path.name.startswith(("cache-", "tmp"))
    return suffix_of(path) in SUFFIXES and not cached and path.is_file()


def read_table(path: Path, how: Reading, wanted: Set[str] = frozenset()) -> pd.DataFrame:
    """Read one file; only the `wanted` columns, if it has all of them by different names.

    Csv and tsv give strings only, so that "NA" and "007" stay what they are. Classes that a
    parquet or arrow file of the datasets library names are read by their names.

    Raises:
        InputError: the file is empty or not as its suffix and the settings say; where it seems to
            be otherwise, the message names the setting. Or, unless it is a parquet or arrow file,
            it unpacks to more than 4 GiB.
    """
    suffix = suffix_of(path)
    try:
        if suffix in (".parquet", ".arrow"):
            table = _read_arrow(path, wanted)
        elif suffix == ".jsonl":
            table = _read_jsonl(path, how.encoding)
        else:
            table = _read_delimited(path, how, suffix, wanted)
    except UnicodeError as error:
        raise wrong_encoding(path, how.encoding, error) from error
    except (
        *(ValueError, RecursionError, OSError, EOFError),
        *(csv.Error, zlib.error, pa.ArrowException),
    ) as error:
        raise InputError(f"{path.name} can't be read as {suffix} ({reason(error)})") from error
    if table.empty:
        raise InputError(f"{path.name} holds no rows; remove it or fill it")
    return table


def header_of(path: Path, how: Reading) -> list[str]:
    """Return the first row of a csv, tsv or txt file; an empty one if it can't be read."""
    try:
        with opened(path, how.encoding) as file:
            return next(filter(None, _reader(file, how, suffix_of(path))), [])
    except (OSError, EOFError, ValueError, csv.Error, zlib.error):
        return []


def opened(path: Path, encoding: str) -> TextIO:
    """Open a text file, gzipped or not, without its byte order mark; line ends stay."""
    encoding = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
    return io.TextIOWrapper(open_bytes(path), encoding, newline="")


def _lines(file: TextIO) -> Iterator[str]:
    read = 0
    for line in file:
        if not read:
            if line.startswith(UTF8_MARK_IN_CP1252):
                raise UnicodeError("it begins with the byte order mark of UTF-8")
            line = line.removeprefix("\ufeff")
        read += len(line)
        if read > MAX_BYTES:
            raise ValueError(f"it unpacks to more than {MAX_BYTES / 2**30:.1f} GiB")
        if "\0" in line:
            raise UnicodeError("it holds NUL characters")
        yield line


def _read_arrow(path: Path, wanted: Set[str]) -> pd.DataFrame:
    with path.open("rb") as file:
        if path.suffix.lower() == ".parquet":
            opened = pa.parquet.ParquetFile(file)
            names = opened.schema_arrow.names
            table = opened.read([names[place] for place in _chosen(names, wanted)])
        else:  # a file, or a stream, as datasets writes it
            whole = file.read(len(ARROW_FILE)) == ARROW_FILE
            file.seek(0)
            table = (pa.ipc.open_file if whole else pa.ipc.open_stream)(file).read_all()
            table = table.select(_chosen(table.column_names, wanted))
    # Without pandas' own metadata in it, which may be wrong.
    frame = table.to_pandas(ignore_metadata=True, integer_object_nulls=True)
    for column, classes in _class_names(table.schema).items():
        if column in frame:
            frame[column] = frame[column].map(dict(enumerate(classes)))  # -1 stands for no label
    return frame


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Return the names of the classes in each column that the datasets library calls a ClassLabel.

    It keeps them as JSON in the schema (`datasets.Features.from_arrow_schema` reads all of it).
    """
    content = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = content.get("info", {}).get("features", {}) if isinstance(content, dict) else {}
    return {
        column: list(map(str, feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        if isinstance(feature.get("names"), list)
    }


def _read_jsonl(path: Path, encoding: str) -> pd.DataFrame:
    with opened(path, encoding) as file:
        lines = enumerate(_lines(file), start=1)
        rows = {number: json.loads(line) for number, line in lines if not line.isspace()}
    for number, row in rows.items():
        if not isinstance(row, dict):
            raise ValueError(f"line {number} is not an object")
        try:
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"line {number} holds half a character ({error})") from error
    return pd.DataFrame([*rows.values()], dtype=object)  # so that large integers stay exact


def _reader(file: TextIO, how: Reading, suffix: str) -> "Reader":
    quote = how.quote if how.quote is not None else '"' if suffix == ".csv" else ""
    lines = _lines(file)
    first = next(lines, "")
    header = "\n" if EXCELS_SEPARATOR.fullmatch(first) else first
    return csv.reader(
        itertools.chain([header], lines),
        delimiter=separator_of(how, suffix, first),
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        quotechar=quote or None,
        escapechar=how.escape or None,
        doublequote=not how.escape,
        strict=bool(quote),  # quotes must be balanced
    )


def _read_delimited(path: Path, how: Reading, suffix: str, wanted: Set[str]) -> pd.DataFrame:
    unquoted = how.quote is None and suffix != ".csv"
    with opened(path, how.encoding) as file:
        reader = _reader(file, how, suffix)
        rows = filter(None, reader)
        try:
            header = how.columns or next(rows, [])
            kept = _chosen(header, wanted)
            columns: list[list[str]] = [[] for _ in kept]
            for row in rows:
                if len(row) != len(header):
                    hint = guess_separator(path, how, suffix, wanted)
                    if unquoted and '"' in "".join(row):
                        hint += f" or, as a text in quotes may go on in the next line, {UNQUOTE}"
                    raise ValueError(
                        f"line {reader.line_num} has {len(row)} fields, not {len(header)}; "
                        f"correct it{hint}"
                    )
                for column, place in zip(columns, kept, strict=True):
                    column.append(row[place])
        except csv.Error as error:
            hint = guess_separator(path, how, suffix, wanted) + guess_escape(path, how)
            raise csv.Error(f"line {reader.line_num}: {error}; correct it{hint}") from error
    if unquoted and any(map(_are_quoted, columns)):
        raise ValueError(
            f"its fields seem to be in quotes; use {UNQUOTE} to read them without, or "
            "-S data.quote= if these belong to the texts"
        )
    if how.escape is None and any('\\"' in field for column in columns for field in column):
        raise ValueError(
            "its quotes seem to be escaped by a backslash; use -S 'data.escape=\\', or "
            "-S data.escape= if the backslashes belong to the texts"
        )
    return pd.DataFrame(dict(enumerate(columns)), dtype=object).set_axis(
        [header[place] for place in kept], axis=1
    )


def _chosen(columns: list[str], wanted: Set[str]) -> list[int]:
    """Return the places of the `wanted` columns, or of all where these are not clear."""
    clear = bool(wanted) and wanted <= {*columns} and len({*columns}) == len(columns)
    return [place for place, name in enumerate(columns) if name in wanted or not clear]


def _are_quoted(fields: list[str]) -> bool:
    """Return whether fields seem to be in quotes that don't belong to them.

    All are, or one that doubles the quotes in it, or, as Excel does, exactly those with a comma.
    """
    quoted = [field for field in fields if len(field) > 1 and field[0] == field[-1] == '"']
    doubled = (
        '""' in each and '"' not in each.replace('""', "") for each in (f[1:-1] for f in quoted)
    )
    excels = len(quoted) > 1 and quoted == [field for field in fields if "," in field]
    return len(quoted) == len(fields) > 0 or any(doubled) or excels


def strings(table: pd.DataFrame, name: str, file: str, key: str, hint: str = "") -> pd.Series:
    """Return a column as strings, "" where missing, and whole numbers without a fraction.

    Raises:
        InputError: the column is missing, or holds no texts; `key` is its setting, of `file`.
    """
    if list(table.columns).count(name) != 1:
        columns = ", ".join(str(column) for column in table.columns)
        raise InputError(
            f"{file} must have exactly one column {name!r}, but has {columns}; set {key}{hint}"
        )
    values = table[name]
    known = values[values.notna()].astype(object)
    kinds = set(map(type, known))
    if kinds <= {str}:
        return values.astype(object).where(values.notna(), "")
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
