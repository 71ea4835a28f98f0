"""Errors that a user can fix, and how."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unicodedata import bidirectional, category

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
# Unicode's categories of control characters, lone surrogates and line separators, and its classes
# of characters that turn a line's direction.
CONTROL = ("Cc", "Cs", "Zl", "Zp")
TURNS = ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
# As Python, PyTorch on CPU and GPU, and ONNX Runtime say it.
NO_MEMORY = re.compile(r"MemoryError|out of memory|(annot|an't|Failed to) allocate memory")


def printable(text: str) -> str:
    """Return a text on one line, without control characters or what turns its direction."""
    return "".join(
        repr(c)[1:-1] if category(c) in CONTROL or bidirectional(c) in TURNS else c for c in text
    )


class InputError(Exception):
    """Bad input: the message, one printable line, names the thing, its value and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def reason(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def is_disk_error(error: BaseException) -> bool:
    """Return whether a full disk or a missing permission is the cause, whoever raised it."""
    return getattr(error, "errno", None) in (*FULL, *FORBIDDEN)


def user_hint(error: Exception) -> str | None:
    """Return what went wrong, where, and the remedy; None if it is a bug."""
    number: int | None
    match error:
        case InputError():
            return str(error)
        case FileNotFoundError() if re.match("(data|reports)(/|$)", str(error.filename or error)):
            return f"no {error.filename or error}; make it with: dvc repro"
        case FileNotFoundError() if "temporary directory" in str(error):
            return f"{error.strerror}; free some space there, then run dvc repro again"
        case _ if NO_MEMORY.search(f"{type(error).__name__}: {error}"):
            return (
                f"out of memory ({reason(error)}); free some, or, in a training, lower its "
                "batch_size or model.max_length, and elsewhere data.max_texts"
            )
        case OSError() if error.errno is not None:  # a copy names its source first
            number, where = error.errno, error.filename2 or error.filename or "its output"
        case _:  # in libraries in Rust and in shutil.copytree, the message alone has the number
            numbers = map(int, re.findall(r"(?:\(os error|\[Errno) (\d+)", str(error)))
            number = next((each for each in numbers if each in (*FULL, *FORBIDDEN)), None)
            where = "its output"
    if number in FULL:
        return f"{where}: {os.strerror(number)}; free some space, then run dvc repro again"
    if number in FORBIDDEN:
        return (
            f"{where}: {os.strerror(number)}; allow this user to use it, then run dvc repro again"
        )
    return None


@contextmanager
def readable(file: Path) -> Iterator[Path]:
    """Turn whatever a library raises over a damaged file into an InputError that names the file."""
    try:
        yield file
    except Exception as error:  # every library has its own, and tokenizers none narrower
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file)) from error
        if user_hint(error):  # another cause, with a remedy of its own
            raise
        raise InputError(
            f"{file} is damaged ({reason(error)}); remove it, then run dvc repro"
        ) from error


def read_json(file: Path) -> Any:
    """Return what a JSON file holds; InputError names one that is damaged."""
    with readable(file):
        return json.loads(file.read_text(encoding="utf-8"))
