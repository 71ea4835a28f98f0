from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.launch.settings import LoadConfig, ReportConfig
from stages.load import search
from tests.conftest import VARIANTS, configured


def load(steps: int) -> LoadConfig:
    return LoadConfig(seconds=1, steps=steps, batch=8, wait_ms=0)


@cache
def constraints(wanted: float | None) -> ReportConfig:
    report = configured().report
    return report.model_copy(update={"sla_ms": 50, "requests_per_second": wanted})


def trials(
    limit: float, steps: int, alone_ms: float = 1, wanted: float | None = None
) -> Iterator[dict]:
    """Yield the trials of what answers 100 requests a second, within the SLA up to `limit`."""

    def attempt(scenario: str, rate: float, batch: int) -> dict:
        row = {"scenario": scenario, "batch": batch}
        if scenario == "Server":
            return row | {"rate": rate, "ms": 10 if rate <= limit else 99}
        return row | {"rate": 100.0, "ms": alone_ms}

    return search(attempt, load(steps), constraints(wanted))


@settings(deadline=None)  # the first composes the settings
@given(st.floats(0, 100), st.integers(1, 9))
def test_trials_bisect_to_the_highest_rate(limit: float, steps: int) -> None:
    table = pd.DataFrame(trials(limit, steps))
    for batch in (1, 8):
        tried = table[(table["scenario"] == "Server") & (table["batch"] == batch)]
        assert len(tried) == steps
        met = tried.loc[tried["ms"] <= 50, "rate"].max()
        assert limit - 100 / 2**steps <= (0 if pd.isna(met) else met) <= limit
        moves = [abs(after - before) for before, after in pairwise(tried["rate"])]
        assert moves == [100 / 2**step for step in range(2, steps + 1)]


def test_the_rate_that_is_asked_for_is_the_first_that_is_tried() -> None:
    tried = [each["rate"] for each in trials(70, 3, wanted=60) if each["scenario"] == "Server"]
    assert tried == [60, 80, 70] * 2
    beyond = [each["rate"] for each in trials(70, 3, wanted=101) if each["scenario"] == "Server"]
    assert beyond == [50, 75, 62.5] * 2


def test_what_misses_the_sla_without_load_is_not_tried_under_any() -> None:
    assert [each["scenario"] for each in trials(50, 5, alone_ms=51)] == ["SingleStream", "Offline"]


def test_every_variant_is_tried_one_by_one_and_in_batches(project: Callable) -> None:
    table = pd.read_csv("reports/load.csv")
    assert list(table["variant"].unique()) == VARIANTS
    over_http = table[table["http"]]
    assert over_http["variant"].nunique() == 1
    assert len(over_http) == 2
    counts = table.groupby(["scenario", "batch"])["variant"].nunique()
    assert counts["SingleStream", 1] == counts["Offline", 3] == len(VARIANTS)
    assert (table[["rate", "requests", "ms"]] > 0).all(axis=None)
