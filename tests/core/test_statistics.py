import numpy as np
import pandas as pd
import pytest

from stages.core.statistics import summarise


def test_known_distribution() -> None:
    samples = pd.Series(np.random.default_rng(0).permutation(np.arange(10_001) / 100))
    assert summarise(samples) == pytest.approx({"mean": 50, "p50": 50, "p95": 95, "p99": 99})


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (19, ["mean"]),
        (20, ["mean", "p50"]),
        (199, ["mean", "p50"]),
        (200, ["mean", "p50", "p95"]),
        (999, ["mean", "p50", "p95"]),
        (1000, ["mean", "p50", "p95", "p99"]),
    ],
)
def test_a_percentile_needs_ten_samples_beyond_it(count: int, names: list[str]) -> None:
    assert list(summarise(pd.Series(range(count)))) == names
