"""Composing conf/: into params.yaml, byte by byte as `dvc exp run` does (`make params`)."""

import shlex
from pathlib import Path

from dvc.utils.hydra import compose_and_dump
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig

from stages.core.launch.errors import InputError
from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings


def write_params(path: Path, overrides: list[str]) -> None:
    """Write the composition of the project's conf/ with `overrides` to `path`."""
    root = Path.cwd()
    compose_and_dump(str(path), str(root / "conf"), None, "config", str(root), overrides)


def compose_conf(overrides: list[str]) -> DictConfig:
    """Return the composition of the conf/ in the current directory.

    Raises:
        InputError: `overrides` name a setting that it lacks.
    """
    try:
        with initialize_config_dir(str(Path.cwd() / "conf"), version_base="1.3"):
            return compose("config", overrides)
    except HydraException as error:
        raise InputError(f"{shlex.join(overrides)}: {error}; correct the setting") from error


def composed(overrides: list[str]) -> Settings:
    """Return the settings of the project in the current directory."""
    return parse(compose_conf(overrides), Settings)


if __name__ == "__main__":
    write_params(Path("params.yaml"), [])
