"""One lock a machine: stages share it, a measurement holds it alone."""

import fcntl
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def machine_lock(*, alone: bool) -> Iterator[None]:
    """Hold this user's machine lock, shared or alone; wait for it if need be.

    The file lies outside any workspace, because queued DVC experiments run in copies of it. The
    kernel lets go of the lock when the process ends, however it ends.
    """
    path = Path(tempfile.gettempdir()) / f"bert-latency-{os.getuid()}.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    mode = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    try:
        try:
            fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = "the other stages" if alone else "a measurement"
            print(f"waiting for {reason} on this machine to end ({path})", file=sys.stderr)
            fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)
