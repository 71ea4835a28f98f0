"""Atomic writes of files and directories.

Until it is complete, an output is `.<name>.<process>.….partial` beside its place, which DVC ignores
and the next attempt removes.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """Yield a private directory that becomes `path`, replacing it, when the block succeeds."""
    with scratch_beside(path) as partial:
        yield partial
        partial.chmod(0o755)
        if path.exists():
            shutil.rmtree(path)
        partial.rename(path)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a private file name that becomes `path`, replacing it, when the block succeeds."""
    with scratch_beside(path) as partial:
        yield partial / path.name
        (partial / path.name).replace(path)


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yield a private directory on the disk of `path`, and remove it after the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        process = leftover.name.removeprefix(f".{path.name}.").split(".")[0]
        if not process.isdecimal() or not psutil.pid_exists(int(process)):
            shutil.rmtree(leftover)
    prefix = f".{path.name}.{os.getpid()}."
    partial = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=path.parent))
    try:
        yield partial
    except OSError as error:
        if error.errno is not None:  # as that of shutil.copytree is, whose message names its files
            error.filename = error.filename or str(path)  # a failed write does not name its file
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8."""
    with atomic_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
