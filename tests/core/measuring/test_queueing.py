import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.core.measuring.queueing import latencies, saturation, sustained


def exponentials(mean: float) -> list[float]:
    """Return the quantiles of a distribution."""
    return (-mean * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)).tolist()


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_the_theory_of_queues(load: float) -> None:
    # Pollaczek and Khinchine's formula, for calls of constant and of exponential length.
    constant = latencies({1: [10.0]}, 0, 100 * load, 0).mean() - 10
    assert constant == pytest.approx(10 * load / (2 * (1 - load)), rel=0.1)
    exponential = latencies({1: exponentials(10)}, 0, 100 * load, 0).mean() - 10
    assert exponential == pytest.approx(10 * load / (1 - load), rel=0.2)


def test_the_rate_is_that_at_which_the_percentile_reaches_the_limit() -> None:
    # One server, random arrivals, exponential calls: the latency is exponential, with this rate.
    exact = 200 - 1e3 * math.log(100) / 50
    assert np.mean(sustained({1: exponentials(5)}, 0, 99, 50)) == pytest.approx(exact, rel=0.05)


@given(st.integers(2, 5), st.floats(0, 20), st.floats(1, 150))
def test_a_batch_is_full_or_waits_as_long_as_it_may(most: int, wait: float, rate: float) -> None:
    found = latencies({size: [10.0] for size in range(1, most + 1)}, wait, rate, 0)
    # It waits for its own first request's others, and for one call that had begun.
    assert found.min() > 9.999
    assert np.percentile(found, 1) <= 20 + 2 * wait


def test_batches_that_take_as_long_as_one_text_sustain_more() -> None:
    alone = {1: [10.0]}
    together = {size: [10.0] for size in range(1, 5)}
    assert saturation(together) == 4 * saturation(alone) == 400
    assert min(sustained(together, 1, 99, 50)) > 2 * max(sustained(alone, 1, 99, 50))


def test_what_takes_longer_than_the_limit_alone_sustains_nothing() -> None:
    assert sustained({1: [51.0]}, 0, 99, 50) == [0.0] * 7
