import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.paths import VARIANTS
from stages.tools import experiments, seeds
from stages.tools.seeds import page


def test_mean_spread_and_range_over_the_seeds() -> None:
    table = pd.DataFrame(
        {
            "seed": ["1", "1", "2", "2", "3", "3"],
            "variant": ["teacher_pytorch", "student_int8"] * 3,
            "accuracy": [0.9, 0.85, 0.88, 0.87, 0.92, 0.86],
            "retained": [1, 0.85 / 0.9, 1, 0.87 / 0.88, 1, 0.86 / 0.92],
            "machine": "A CPU (avx2)",
            "commit": "0123abc",
        }
    )
    lines = [" ".join(line.split()) for line in page(table).splitlines()]
    assert "| student int8 | 86.0% ± 1.0% (85.0%–87.0%) | 95.6% ± 2.9% (93.5%–98.9%) |" in lines
    assert "with the seeds 1, 2, 3." in page(table)
    assert "The machine was A CPU (avx2);" in page(table)
    assert "the\ncommit 0123abc." in page(table)
    assert "Student int8 retains 94.4% with 1, 98.9% with 2, 93.5% with 3." in page(table)


def test_every_seed_is_an_experiment_of_its_own(
    project: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def dvc(*arguments: str, stdout: int | None = None) -> subprocess.CompletedProcess:
        asked.append(arguments)
        return subprocess.CompletedProcess(arguments, 0, "seed-2\nanother\n")

    def opened(path: str, rev: str, mode: str) -> IO[bytes]:
        return Path(path).open(mode)

    monkeypatch.setattr(experiments, "dvc_command", dvc)
    monkeypatch.setattr(experiments.dvc.api, "open", opened)
    seeds.run(["1", "2"])
    ran = [" ".join(command) for command in asked if command[1] == "run"]
    assert ran == [
        f"exp run --temp --name seed-{seed} --set-param seed={seed} evaluate" for seed in (1, 2)
    ]
    assert ("exp", "remove", "--quiet", "seed-2") in asked
    table = pd.read_csv("reports/seeds.csv")
    assert len(table) == 2 * len(VARIANTS)
    assert (table.loc[table["variant"] == "teacher_pytorch", "retained"] == 1).all()
    assert "± 0.0%" in Path("reports/seeds.md").read_text()


def test_one_seed_has_no_spread(empty: Callable) -> None:
    for few in (["13"], ["13", "13"]):
        with pytest.raises(InputError, match="have no spread; name two or more different"):
            seeds.run(few)


def test_a_dvc_command_that_fails_is_named(empty: Callable) -> None:
    with pytest.raises(InputError, match="dvc exp list --name-only failed"):
        seeds.run(["1", "2"])
