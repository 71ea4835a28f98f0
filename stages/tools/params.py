"""Composing conf/ into params.yaml, byte by byte as `dvc exp run` does."""

from pathlib import Path

from dvc.utils.hydra import compose_and_dump

from stages.core.launch.command import CONF


def write_params(path: Path, overrides: list[str]) -> None:
    """Write the composition of conf/ with `overrides` to `path`."""
    compose_and_dump(str(path), str(CONF), None, "config", str(CONF.parent), overrides)


if __name__ == "__main__":
    write_params(Path("params.yaml"), [])
