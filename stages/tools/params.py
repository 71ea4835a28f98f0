"""Composing conf/ into params.yaml, byte by byte as `dvc exp run` does (`make params`)."""

from pathlib import Path

from dvc.utils.hydra import compose_and_dump


def write_params(path: Path, overrides: list[str], root: Path | None = None) -> None:
    """Write the composition of conf/ with `overrides` to `path`.

    Args:
        path: the file.
        overrides: of values and groups, as Hydra reads them.
        root: of the project; by default the current directory.
    """
    root = root or Path.cwd()
    compose_and_dump(str(path), str(root / "conf"), None, "config", str(root), overrides)


if __name__ == "__main__":
    write_params(Path("params.yaml"), [])
