"""What every stage's command shares: its settings, its turn on the machine, its last line."""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import hydra
from omegaconf import DictConfig

from stages.core.config import parse
from stages.core.errors import InputError
from stages.core.layout import check_root
from stages.core.lock import machine_lock

CONF = Path(__file__).resolve().parents[2] / "conf"

T = TypeVar("T")


def launch(run: Callable[[T], str], schema: type[T], *, alone: bool = False) -> None:
    """Run one stage as a command.

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
            settings = parse(config, schema)
            with machine_lock(alone=alone):
                started = time.perf_counter()
                summary = run(settings)
        except InputError as error:
            sys.exit(f"{stage}: {error}")
        print(f"{stage}: {summary} ({time.perf_counter() - started:.0f} s)")

    main()
