"""What every stage's command shares: its settings, its turn on the machine, its last line."""

import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import hydra
from omegaconf import DictConfig

from stages.core.launch.errors import InputError, printable, user_hint
from stages.core.launch.lock import machine_lock
from stages.core.launch.parse import parse
from stages.core.launch.paths import check_root
from stages.core.launch.settings import check
from stages.tools.record import changed_inputs, damage, damaged_cache

CONF = Path(__file__).resolve().parents[3] / "conf"

T = TypeVar("T")


def launch(
    run: Callable[[T], str],
    schema: type[T],
    *,
    alone: bool = False,
) -> None:
    """Run one stage as a command, once the settings of all are found valid.

    Args:
        run: the stage; returns one line that says what it wrote, with its headline figure.
        schema: the stage's settings, a pydantic dataclass whose fields are config sections.
        alone: whether no other stage may run on this machine meanwhile.
    """
    stage = Path(sys.argv[0]).stem

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def main(config: DictConfig) -> None:
        logging.getLogger().setLevel(logging.WARNING)  # at INFO, libraries tell of every node
        try:
            check_root()
            check(config)
            settings = parse(config, schema)
            with machine_lock(alone=alone):
                started = time.perf_counter()
                if "DVC_STAGE" in os.environ and (inputs := changed_inputs(stage)):
                    raise InputError(damage(inputs, damaged_cache()))
                summary = run(settings)
        except Exception as error:
            sys.exit(f"{stage}: {printable(explanation(error, stage))}")
        print(f"{stage}: {summary} ({time.perf_counter() - started:.0f} s)")

    main()


def explanation(error: Exception, stage: str) -> str:
    """Return what a user can do about a stage's error; raise it again if that is nothing.

    What a library says of a damaged file can be anything, so the files are asked.
    """
    reason = user_hint(error)
    if reason is None:
        try:
            inputs, cached = changed_inputs(stage), damaged_cache()
        except InputError as damaged_lock:
            return str(damaged_lock)
        if not inputs and not cached:
            raise error
        first, *_ = str(error).strip().splitlines() or [""]
        reason = f"{type(error).__name__} ({first}); {damage(inputs, cached)}"
    return reason
