import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.tools import sweep

LAYERS = ["student.n_layers", "1", "2"]


@pytest.fixture
def asked(project: Callable, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the commands that are run; each experiment leaves the project's own results."""
    commands: list[str] = []

    def printed(*command: str, stdout: int | None = None) -> str:
        commands.append(" ".join(command))
        return "student-n_layers-2\nanother\n" if "list" in command else ""

    def opened(path: str, rev: str) -> IO[str]:
        return Path(path).open()

    monkeypatch.setattr(sweep, "_printed", printed)
    monkeypatch.setattr("dvc.api.open", opened)
    return commands


def test_every_value_is_an_experiment_with_the_same_other_settings(asked: list[str]) -> None:
    sweep.main([*LAYERS, "--", "finetune.epochs=1"])
    ran = [command.split(" run ")[1] for command in asked if " run " in command]
    assert ran == [
        f"--temp --name student-n_layers-{n} -S=finetune.epochs=1 -S=student.n_layers={n}"
        for n in (1, 2)
    ]
    removed = [command.split()[-1] for command in asked if " remove " in command]
    assert removed == ["student-n_layers-2"]


def test_every_run_is_a_row_of_the_page_and_its_variants_are_in_the_table(asked: list[str]) -> None:
    sweep.main(LAYERS)
    target = Path("reports/sweeps/student.n_layers")
    table = pd.read_csv(target / "results.csv")
    assert table.groupby("value")["variant"].nunique().to_dict() == {1: 6, 2: 6}
    page = (target / "README.md").read_text()
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| ")]
    assert [row[0].strip() for row in rows] == ["Value", "1", "2"]
    assert all("student" in row[1] for row in rows[1:])
    assert "sweep student.n_layers 1 2`" in page


def test_the_spread_over_seeds_is_mean_deviation_and_range() -> None:
    assert sweep.spread(pd.Series([0.85, 0.87, 0.86])) == "86.0% ± 1.0% (85.0%–87.0%)"
    assert sweep.spread(pd.Series([0.9, 0.9])) == "90.0%"


def test_untracked_texts_are_copied_along(empty: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tracked.csv", "own.csv"):
        Path(name).touch()
    for command in (["git", "init", "--quiet"], ["git", "add", "tracked.csv"]):
        subprocess.run(command, check=True)
    absolute = str(Path("own.csv").resolve())
    for path, copied in (("own.csv", ["own.csv"]), ("tracked.csv", []), (absolute, [])):
        settings = ["data=local", f"data.source.path={path}"]
        assert sweep.untracked_sources(settings) == copied


@pytest.mark.parametrize("values", [["13"], ["13", "13"]])
def test_one_value_is_no_sweep(asked: list[str], values: list[str]) -> None:
    with pytest.raises(InputError, match="name two or more different values"):
        sweep.main(["seed", *values])
    assert asked == []


@pytest.mark.parametrize("arguments", [[], ["seed"], ["seed", "--", "13"]])
def test_a_sweep_needs_a_setting_and_values(empty: Callable, arguments: list[str]) -> None:
    with pytest.raises(InputError, match="name a setting and its values"):
        sweep.main(arguments)


def test_a_command_that_fails_is_named(empty: Callable) -> None:
    with pytest.raises(InputError, match="exp list --name-only failed; its error is above"):
        sweep.main(LAYERS)
