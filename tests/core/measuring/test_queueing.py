import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.core.measuring.queueing import (
    REPLAYS,
    REQUESTS,
    latencies,
    saturation,
    sustained,
)


def exponentials(mean: float) -> list[float]:
    """Return the quantiles of a distribution."""
    return (-mean * np.log1p(-(np.arange(20_000) + 0.5) / 20_000)).tolist()


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_the_mean_wait_is_that_of_the_theory_of_queues(load: float) -> None:
    # Pollaczek and Khinchine's formula, for calls of constant and of exponential length.
    constant = latencies({1: [10.0]}, 0, 100 * load).mean() - 10
    assert constant == pytest.approx(10 * load / (2 * (1 - load)), rel=0.1)
    exponential = latencies({1: exponentials(10)}, 0, 100 * load).mean() - 10
    assert exponential == pytest.approx(10 * load / (1 - load), rel=0.2)


def test_the_rate_is_that_at_which_the_percentile_reaches_the_limit() -> None:
    # One server, random arrivals, exponential calls: the latency is exponential, with this rate.
    exact = 200 - 1e3 * math.log(100) / 50
    assert np.mean(sustained({1: exponentials(5)}, 0, 99, 50)) == pytest.approx(exact, rel=0.05)


def test_a_batch_waits_as_long_as_it_may_or_until_it_is_full() -> None:
    times = {1: [10.0], 4: [10.0]}
    assert latencies(times, 5, 0.001) == pytest.approx(15)  # no other comes
    ends = latencies(times, 5, 1e9)  # all come at once
    expected = [10.0 * (1 + number // 4) for number in range(REQUESTS)]
    assert ends.tolist() == pytest.approx(expected, abs=0.1)


def test_the_times_of_a_size_that_was_not_measured_are_interpolated() -> None:
    waiting = latencies({1: [10.0], 3: [20.0]}, 50, 60)  # of two or three, mostly
    measured = latencies({1: [10.0], 2: [15.0], 3: [20.0]}, 50, 60)
    assert waiting.tolist() == measured.tolist()


@given(st.integers(1, 5), st.floats(0, 20), st.floats(1, 150))
@settings(deadline=None)
def test_no_request_is_answered_before_it_came(most: int, wait: float, rate: float) -> None:
    found = latencies({1: [10.0], most: [10.0]}, wait, rate)
    assert len(found) == REQUESTS
    assert found.min() > 9.999


def test_batches_that_take_as_long_as_one_text_sustain_more() -> None:
    alone = {1: [10.0]}
    together = {1: [10.0], 4: [10.0]}
    assert saturation(together) == 4 * saturation(alone) == 400
    assert min(sustained(together, 1, 99, 50)) > 2 * max(sustained(alone, 1, 99, 50))


def test_what_takes_longer_than_the_limit_alone_sustains_nothing() -> None:
    assert sustained({1: [51.0]}, 0, 99, 50).tolist() == [0.0] * REPLAYS
