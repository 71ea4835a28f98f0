from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.core.launch.paths import VARIANTS
from stages.tools import depth


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Return the experiments that are run; each leaves what the project's own one has."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(depth, "experiment", lambda *words: commands.append(words))
    monkeypatch.setattr(depth, "table_of", lambda name, path: pd.read_csv(path))
    return commands


def test_every_depth_is_an_experiment_and_a_point_of_the_curve(
    project: Callable, asked: list[tuple[str, ...]]
) -> None:
    depth.run(["10", "2", "2"])
    assert [words[0] for words in asked] == ["depth-2", "depth-10"]
    assert "--set-param=student.n_layers=10" in asked[1]
    table = pd.read_csv("reports/depth.csv")
    assert table["depth"].tolist() == [2] * len(VARIANTS) + [10] * len(VARIANTS)
    results = pd.read_csv("reports/results.csv", index_col="variant")
    assert set(table["test_label_speedup_low"]) == set(results["test_label_speedup_low"])
    rows = [line for line in Path("reports/depth.md").read_text().splitlines() if line[:3] == "| 2"]
    assert f"{results['validation_accuracy']['student_int8']:.1%}" in rows[0]
    assert "student int8" in Path("reports/depth.svg").read_text()
    assert set(table) >= {"commit", "accuracy"}


@pytest.mark.parametrize("depths", [[], ["3"], ["3", "3"], ["3", "deep"], ["3", "-1"]])
def test_no_curve_without_two_depths(asked: list, depths: list[str]) -> None:
    with pytest.raises(InputError, match="make no curve; name two or more"):
        depth.run(depths)
    assert asked == []
