"""Composing conf/ into params.yaml, byte by byte as `dvc exp run` does (`make params`)."""

from pathlib import Path

from dvc.utils.hydra import compose_and_dump


def write_params(path: Path, overrides: list[str]) -> None:
    """Write the composition of the project's conf/ with `overrides` to `path`."""
    root = Path.cwd()
    compose_and_dump(str(path), str(root / "conf"), None, "config", str(root), overrides)


if __name__ == "__main__":
    write_params(Path("params.yaml"), [])
