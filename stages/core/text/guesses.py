"""Guesses why a file does not parse with its settings."""

import gzip
import re
from codecs import lookup
from collections.abc import Set
from pathlib import Path
from typing import BinaryIO, cast

from charset_normalizer import from_bytes

from stages.core.launch.errors import InputError
from stages.core.launch.inputs import Reading

SAMPLE = 2**16  # bytes
LINE = 2**20  # bytes, at most, of the line that a sample ends in
SEPARATORS = ",;\t|"
EXCELS_SEPARATOR = re.compile(r"sep=(.)\s*")  # as the first line, which Excel writes and reads
# Common ones: with more candidates, short texts are misdetected as rare ones.
ENCODINGS = [
    *("utf_8", "utf_16", "utf_16_le", "utf_16_be", "cp1252", "cp1251", "cp932", "gb18030"),
    *("euc_kr", "big5", "utf_32"),
]
FEW = 0.1  # share of bytes beyond ASCII, below which a text is in Latin letters


def is_gzipped(path: Path) -> bool:
    """Return whether a file is gzipped, by its name."""
    return path.suffix.lower() == ".gz"


def open_bytes(path: Path) -> BinaryIO:
    """Open a file, gzipped or not."""
    return cast("BinaryIO", gzip.open(path)) if is_gzipped(path) else path.open("rb")


def separator_of(how: Reading, suffix: str, first: str) -> str:
    """Return the separator that a file of that suffix and with that first line is read with."""
    named = EXCELS_SEPARATOR.fullmatch(first)
    return how.separator or (named[1] if named else "," if suffix == ".csv" else "\t")


def wrong_encoding(path: Path, encoding: str, error: UnicodeError) -> InputError:
    """Return the error of a file that is not in the encoding that the settings say."""
    return InputError(
        f"{path.name} is not in {encoding} ({error}); {guess_encoding(path, encoding)}"
    )


def guess_encoding(path: Path, used: str) -> str:
    """Return which encoding a file seems to have, unless the `used` one, and what to do."""
    sample = _sample(path)
    if sample.isascii():
        sample = _first_beyond_ascii(path) or sample
    found = from_bytes(sample, cp_isolation=ENCODINGS).best()
    mixed = is_mostly_utf8(sample)
    if sample.startswith((b"PK\x03\x04", b"\x1f\x8b", b"PAR1")) or not (found or mixed):
        return "it is not text: a spreadsheet, an archive or a damaged file"
    name = "utf-8" if mixed or not found else found.encoding.replace("_", "-")
    if sum(byte > 127 for byte in sample) < FEW * len(sample) and not name.startswith("utf"):
        name = "cp1252"
    if lookup(name).name == lookup(used).name:
        return "most of it is: correct or remove what is not"
    others = " (cp1250 if Central European, cp1254 if Turkish)" if name == "cp1252" else ""
    return f"it seems to be in {name}: set data.encoding={name}{others}, or convert it"


def is_mostly_utf8(sample: bytes) -> bool:
    """Return whether more of the characters beyond ASCII are valid in UTF-8 than are not."""
    beyond = [c for c in sample.decode("utf-8", errors="replace") if not c.isascii()]
    return beyond.count("\N{REPLACEMENT CHARACTER}") < len(beyond) / 2


def guess_separator(path: Path, how: Reading, suffix: str, wanted: Set[str]) -> str:
    """Return which separator the header seems to have, and how to set it; "" if it is the one used.

    It is one that gives the `wanted` columns, or that stands there where the one used doesn't.
    """
    lines = _sample(path).decode(how.encoding, errors="replace").lstrip("\ufeff").splitlines()
    first, header = [*lines, "", ""][:2]
    if not EXCELS_SEPARATOR.fullmatch(first):
        header = first
    used = separator_of(how, suffix, first)
    for separator in SEPARATORS.replace(used, ""):
        names = {name.strip('" ') for name in header.split(separator)}
        if separator in header and (wanted <= names or used not in header):
            return f' or, as the fields seem to be separated so, -S "data.separator={separator!r}"'
    return ""


def guess_escape(path: Path, how: Reading) -> str:
    """Return how to read quotes after a backslash; "" if there are none, or they are read so."""
    if how.escape or b'\\"' not in _sample(path):
        return ""
    return " or, as a backslash seems to stand before quotes, -S 'data.escape=\\'"


def _sample(path: Path) -> bytes:
    with open_bytes(path) as file:
        return _part(file)


def _part(file: BinaryIO) -> bytes:
    part = file.read(SAMPLE)
    # To the end of a line: half a character is valid in no encoding. In UTF-16, which has null
    # bytes, none is cut in half.
    return part if b"\0" in part else part + file.readline(LINE)


def _first_beyond_ascii(path: Path) -> bytes:
    """Return the first bytes that are not all ASCII, none if all are."""
    with open_bytes(path) as file:
        return next((part for part in iter(lambda: _part(file), b"") if not part.isascii()), b"")
