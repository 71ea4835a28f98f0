"""Run a stage as a command: parse its settings, take the machine lock, print its summary."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import hydra
import psutil
from omegaconf import DictConfig

from stages.core.launch.cores import cores
from stages.core.launch.errors import InputError
from stages.core.launch.lock import machine_lock
from stages.core.launch.parse import parse
from stages.core.launch.paths import check_root
from stages.core.launch.processes import local_rank, rank, start, under_torchrun
from stages.core.launch.settings import Settings


def launch(run: Callable[[Settings], str], *, alone: bool = False, parallel: bool = False) -> None:
    """Run one stage as a command, once the settings of all stages are valid.

    It prints the line that `run` returns; `alone` keeps other stages off this machine meanwhile;
    `parallel` lets it run in as many processes as the settings say.
    """
    composed: list[DictConfig] = []

    @hydra.main(version_base="1.3", config_path=str(Path.cwd() / "conf"), config_name="config")
    def compose(config: DictConfig) -> None:
        composed.append(config)

    try:
        check_root()
        end_with_dvc()
        compose()
        for config in composed:  # none, if the command asked for --help
            settings = parse(config, Settings)
            check_threads(settings)
            logging.getLogger().setLevel(logging.WARNING)  # at INFO, libraries report every node
            if parallel and settings.processes > 1 and not under_torchrun():
                return start(settings.processes)
            if rank():
                sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 rank zero alone prints
            with machine_lock(alone=alone) if local_rank() == 0 else nullcontext():
                started = time.perf_counter()
                summary = run(settings)
            seconds = time.perf_counter() - started
            print(f"{Path(sys.argv[0]).stem}: {summary} ({seconds:.0f} s)")
    except Exception as error:  # stages/__init__.py prints it
        error.add_note("This is a bug, or a file is damaged; make verify tells which.")
        if under_torchrun():
            # Rank zero waits less, so it alone prints what happens to all; a rank that fails
            # because another did is killed while it waits. os._exit, because a clean exit would
            # close the connections first.
            time.sleep(2 if rank() else 1)
            sys.excepthook(type(error), error, error.__traceback__)
            sys.stderr.flush()
            os._exit(1)
        raise


def check_threads(settings: Settings) -> None:
    """Raise InputError if a measurement would use more threads than it can have cores."""
    threads, available = settings.benchmark.threads, cores()
    if threads > available:
        raise InputError(
            f"benchmark.threads = {threads}, but this process may use {available} of the machine's "
            "cores (by its affinity and CPU quota), and more threads than cores slow ONNX Runtime "
            f"down 2 to 4 times; use benchmark.threads={available}"
        )


def end_with_dvc() -> None:
    """Let this process end when the dvc that runs it does, even if that is killed.

    Otherwise the rerun of a killed `dvc repro` would race a stage of the first.

    Raises:
        InputError: that dvc has ended already.
    """
    if under_torchrun():  # what started this process has the session of dvc, and ends with it
        return _end_with(psutil.Process(os.getppid()))
    if "DVC_STAGE" not in os.environ:
        return None
    # Above this process there may be shells, which inherit the variable that dvc sets.
    dvc = next((each for each in psutil.Process().parents() if not _is_in_stage(each)), None)
    if dvc is None or os.getsid(dvc.pid) != os.getsid(0):
        raise InputError("the dvc that began this stage has ended; run dvc repro again")
    return _end_with(dvc)


def _end_with(other: psutil.Process) -> None:
    def watch() -> None:
        other.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def _is_in_stage(process: psutil.Process) -> bool:
    try:
        return "DVC_STAGE" in process.environ()
    except (psutil.AccessDenied, psutil.NoSuchProcess):  # another user's, such as init; or ended
        return False
