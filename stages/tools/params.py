"""Composing conf/: into params.yaml, byte by byte as `dvc exp run` does (`make params`)."""

from pathlib import Path

from dvc.utils.hydra import compose_and_dump
from hydra import compose, initialize_config_dir

from stages.core.launch.parse import parse
from stages.core.launch.settings import Settings


def write_params(path: Path, overrides: list[str]) -> None:
    """Write the composition of the project's conf/ with `overrides` to `path`."""
    root = Path.cwd()
    compose_and_dump(str(path), str(root / "conf"), None, "config", str(root), overrides)


def composed(overrides: list[str]) -> Settings:
    """Return the settings of the project in the current directory."""
    with initialize_config_dir(str(Path.cwd() / "conf"), version_base="1.3"):
        return parse(compose("config", overrides), Settings)


if __name__ == "__main__":
    write_params(Path("params.yaml"), [])
