from collections.abc import Callable

import pandas as pd

from stages.load import search
from tests.conftest import VARIANTS, configured


def rows(ms: float) -> pd.DataFrame:
    """Return the rows of a variant that takes `ms` for a text, half of it for each further one."""

    def attempt(scenario: str, rate: float, batch: int, seconds: float) -> tuple[dict, list[float]]:
        each = ms * (1 + batch) / 2
        row = {"scenario": scenario, "batch": batch, "rate": rate, "ms": each}
        if scenario != "Server":
            row["rate"] = 1e3 * batch / each
        return row, [each] * 9

    config = configured("load.seconds=1", "load.batch=4", "load.wait_ms=0", "report.sla_ms=50")
    return pd.DataFrame(search(attempt, [ms] * 9, (1, 4), config))


def test_a_rate_within_the_sla_is_tried_one_by_one_and_in_batches() -> None:
    found = rows(5)
    tried = found[found["scenario"] == "Server"].set_index("batch")
    assert (tried["low"] <= tried["rate"]).all()
    assert (tried["rate"] <= tried["high"]).all()
    assert 100 < tried.loc[1, "rate"] < 200 < tried.loc[4, "rate"] < 320
    assert found.loc[found["scenario"] == "Offline", "batch"].tolist() == [4]


def test_the_replays_latency_grows_with_the_rate_and_meets_the_sla_where_the_trial_is() -> None:
    for _, found in rows(10).groupby("batch"):
        replayed = found[found["scenario"] == "Replay"].set_index("rate")["ms"]
        assert replayed.is_monotonic_increasing
        sustained = found.loc[found["scenario"] == "Server", "rate"].item()
        assert (replayed[replayed.index < 0.9 * sustained] < 50).all()
        assert (replayed[replayed.index > 1.1 * sustained] > 50).all()


def test_what_misses_the_sla_without_load_is_not_tried_under_any() -> None:
    found = rows(51)
    assert set(found["scenario"]) == {"Offline", "Replay"}
    assert set(found.loc[found["scenario"] == "Replay", "batch"]) == {1}


def test_every_variant_is_tried_one_by_one_and_in_batches(project: Callable) -> None:
    table = pd.read_csv("reports/load.csv")
    assert list(table["variant"].unique()) == VARIANTS
    over_http = table[table["http"]]
    assert over_http["variant"].nunique() == 1
    assert set(over_http["batch"]) == {1}
    counts = table.groupby(["scenario", "batch"])["variant"].nunique()
    assert counts["Replay", 1] == counts["Offline", 3] == len(VARIANTS)
    assert (table[["rate", "requests", "ms"]] > 0).all(axis=None)
