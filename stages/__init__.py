"""The experiment: one module a DAG stage; `core` holds what they share.

A process that DVC started ends when DVC does, even by SIGKILL, so that a rerun meets no stage of a
killed `dvc`; and a full disk is explained also where a library meets it while it is imported. This
stands here because what a stage imports next takes seconds.
"""

import errno
import os
import select
import signal
import sys
import threading
from pathlib import Path
from types import TracebackType


def _dvc() -> int:
    """Return the process that began this stage: above it there may be a shell, and a stage."""
    pid = os.getppid()
    while b"DVC_STAGE=" in Path(f"/proc/{pid}/environ").read_bytes():
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    if os.getsid(pid) != os.getsid(0):
        raise ProcessLookupError("adopted")
    return pid


def _end_with(descriptor: int) -> None:
    select.select([descriptor], [], [])
    os.kill(os.getpid(), signal.SIGKILL)


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from stages.core.launch.errors import printable, user_hint

    reason = user_hint(error) if isinstance(error, Exception) else None
    if reason:
        print(f"{Path(sys.argv[0]).stem}: {printable(reason)}", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _explain
if "DVC_STAGE" in os.environ:
    try:
        descriptor = os.pidfd_open(_dvc())
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM):  # this kernel or container has none
            stage = os.environ["DVC_STAGE"]
            sys.exit(f"{stage}: the dvc that began it has ended; run dvc repro again")
    else:
        threading.Thread(target=_end_with, args=(descriptor,), daemon=True).start()
