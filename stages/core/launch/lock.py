"""One lock per machine: stages share it, a measurement holds it alone."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.core.launch.errors import InputError

# Outside any workspace, because queued DVC experiments run in copies of it.
DIRECTORY = Path(os.environ.get("BERT_LATENCY_LOCKS", "/tmp"))  # noqa: S108 opened with O_NOFOLLOW


@contextmanager
def machine_lock(*, alone: bool) -> Iterator[None]:
    """Hold this user's machine lock, shared or exclusive, waiting if necessary.

    A waiting process holds the gate, so that no later stage overtakes a waiting measurement. The
    kernel releases the locks of a process that ends.
    """
    if not DIRECTORY.is_dir():
        raise InputError(
            f"BERT_LATENCY_LOCKS = {DIRECTORY} is not a directory; create it, or unset the variable"
        )
    name = DIRECTORY / f"bert-latency-{os.getuid()}"
    with _opened(name.with_suffix(".gate")) as gate, _opened(name.with_suffix(".lock")) as lock:
        waiting = f"waiting for {'the other stages' if alone else 'a measurement'} on this machine"
        _flock(gate, fcntl.LOCK_EX, waiting)
        _flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, waiting)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _flock(descriptor: int, mode: int, waiting: str) -> None:
    with suppress(BlockingIOError):
        return fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    print(f"{waiting} to end", file=sys.stderr)
    return fcntl.flock(descriptor, mode)
