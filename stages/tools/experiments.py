"""DVC experiments that a script runs and reads."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dvc.api
import pandas as pd

from stages.core.launch.errors import InputError


def experiment(name: str, *arguments: str) -> None:
    """Run `dvc exp run` with `arguments` in a copy of the workspace, in place of one of that name.

    What was trained before comes from the cache.

    Raises:
        InputError: the experiment fails.
    """
    if name in dvc_command("exp", "list", "--name-only", stdout=subprocess.PIPE).stdout.split():
        dvc_command("exp", "remove", "--quiet", name)
    dvc_command("exp", "run", "--temp", "--name", name, *arguments)


def dvc_command(*arguments: str, stdout: int | None = None) -> subprocess.CompletedProcess:
    """Run a DVC command; raise InputError if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        stdout=stdout,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InputError(f"dvc {' '.join(arguments)} failed; look above for its error")
    return done


def table_of(name: str, path: Path) -> pd.DataFrame:
    """Return a csv or parquet file as an experiment left it."""
    with dvc.api.open(str(path), rev=name, mode="rb") as file:
        return pd.read_parquet(file) if path.suffix == ".parquet" else pd.read_csv(file)


def json_of(name: str, path: Path) -> Any:
    """Return the content of a JSON file as an experiment left it."""
    with dvc.api.open(str(path), rev=name, mode="rb") as file:
        return json.load(file)
