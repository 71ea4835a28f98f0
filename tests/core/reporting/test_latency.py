import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.reporting.estimate import Estimate
from stages.core.reporting.latency import speedup, summarise


def test_known_distribution() -> None:
    ms = np.random.default_rng(0).permutation(np.arange(10_001) / 100)
    found = summarise(pd.DataFrame({"round": 0, "ms": ms}), len(ms))
    assert found == pytest.approx({"mean": 50, "p50": 50, "p95": 95, "p99": 99})


def test_a_round_with_more_calls_weighs_no_more() -> None:
    samples = pd.DataFrame({"round": [0] * 300 + [1] * 100, "ms": [1.0] * 300 + [3.0] * 100})
    found = summarise(samples, 400)
    assert found["mean"] == pytest.approx(2)
    assert found["p95"] == 3


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["mean", "p50"]),
        (199, ["mean", "p50"]),
        (200, ["mean", "p50", "p95"]),
        (999, ["mean", "p50", "p95"]),
        (1000, ["mean", "p50", "p95", "p99"]),
    ],
)
def test_a_tail_percentile_needs_ten_samples_beyond_it(count: int, names: list[str]) -> None:
    samples = pd.DataFrame({"round": 0, "ms": range(2000)})
    assert list(summarise(samples, count)) == names


def rounds(slow: np.ndarray, fast: np.ndarray) -> pd.DataFrame:
    """Return samples of two variants; both arrays have shape (rounds, calls)."""
    number = np.indices(slow.shape)[0].ravel()
    return pd.concat(
        pd.DataFrame({"variant": name, "round": number, "ms": ms.ravel()})
        for name, ms in (("slow", slow), ("fast", fast))
    )


def noisy(seed: int, shape: tuple[int, int] = (25, 40)) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(0, 0.2, shape)


def test_what_slows_a_whole_round_down_cancels_out() -> None:
    drift = np.linspace(1, 5, 25)[:, None]
    found = speedup(rounds(6 * drift * noisy(0), 2 * drift * noisy(1)), "fast", "slow")
    assert found.value == pytest.approx(3, rel=0.05)
    assert found.high - found.low < 0.4
    assert found.low <= 3 <= found.high


def test_a_few_disturbed_rounds_do_not_count() -> None:
    fast = 2 * noisy(1)
    fast[:5] *= 50
    found = speedup(rounds(6 * noisy(0), fast), "fast", "slow")
    assert found.value == pytest.approx(3, rel=0.08)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    held = []
    for seed in range(0, 200, 2):
        slow, fast = 2 * noisy(seed, (25, 10)), noisy(seed + 1, (25, 10))
        found = speedup(rounds(slow, fast), "fast", "slow")
        held.append(found.low <= 2 <= found.high)
    assert np.mean(held) >= 0.88


@given(st.floats(0.01, 100), st.integers(0, 5))
def test_the_unit_does_not_matter(unit: float, seed: int) -> None:
    slow, fast = 2 * noisy(seed, (5, 4)), noisy(seed + 10, (5, 4))
    found = speedup(rounds(slow * unit, fast * unit), "fast", "slow")
    expected = speedup(rounds(slow, fast), "fast", "slow")
    assert found.value == pytest.approx(expected.value)
    assert found.low <= found.value <= found.high


def test_an_estimate_survives_a_table() -> None:
    estimate = Estimate(3.0, 2.0, 5.0)
    row = pd.DataFrame([estimate.columns("speedup")]).iloc[0]
    assert Estimate.of(row, "speedup") == estimate


def test_a_variant_is_as_fast_as_itself() -> None:
    assert speedup(rounds(noisy(0), noisy(1)), "slow", "slow") == Estimate(1, 1, 1)
