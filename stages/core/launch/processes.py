"""The processes of one training: a stage starts them itself; on several hosts, torchrun does."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from pathlib import Path

from stages.core.launch.errors import InputError


def under_torchrun() -> bool:
    """Return whether torchrun, or a stage acting as torchrun, has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def rank() -> int:
    """Return this process's number among all; zero alone writes, prints and removes."""
    return int(os.environ["RANK"]) if under_torchrun() else 0


def world_size() -> int:
    """Return the number of processes, on all hosts."""
    return int(os.environ["WORLD_SIZE"]) if under_torchrun() else 1


def local_rank() -> int:
    """Return this process's number among those of this host."""
    return int(os.environ["LOCAL_RANK"]) if under_torchrun() else 0


def local_world_size() -> int:
    """Return the number of processes on this host."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if under_torchrun() else 1


def start(processes: int) -> None:
    """Rerun this command in `processes` processes, and wait for them; if one fails, end all.

    Raises:
        InputError: a signal has ended one of them. If it failed by itself, it says why, and this
            process exits as it did.
    """
    # Heavy, and most stages run in one process.
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # its warnings are harmless
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # said below, in a line
    with tempfile.TemporaryDirectory() as logs:
        others = dict.fromkeys(range(1, processes), Std.ERR)
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs, redirects=others),
        )
        try:
            elastic_launch(config, sys.executable)(*sys.orig_argv[1:])
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from error
        except ChildFailedError as error:
            failed, failure = next(iter(error.failures.items()))  # the others were ended after it
            if failure.exitcode < 0:
                raise InputError(
                    f"rank {failed} of {processes} (process {failure.pid}) was ended by "
                    f"{signal.Signals(-failure.exitcode).name}, as the kernel does when memory "
                    "runs out, so the others were ended, too; run it again, and it resumes after "
                    "the last complete epoch"
                ) from error
            for log in Path(logs).rglob(f"{failed}/stderr.log"):
                said = log.read_text()
                print(f"rank {failed} of {processes} failed:\n{said}", end="", file=sys.stderr)
            sys.exit(failure.exitcode)
