"""A queue in front of a variant, replayed with the times that its calls were measured to take.

Requests arrive at random times (a Poisson process) and are answered in that order, one by one or in
batches, as in `trial`. A trial of some seconds sees too few requests for the tail of their latency:
near saturation, how many happen to arrive at once decides it.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

Times = Mapping[int, Sequence[float]]  # ms of calls, by how many requests each answers; 1 at least
REQUESTS = 10_000
REPLAYS = 20  # each with other arrivals, and a bootstrap of the measured times
STEPS = 7  # of the bisection, down to a hundredth of what saturates the variant


def latencies(times: Times, wait_ms: float, rate: float, seed: int = 0) -> np.ndarray:
    """Return the latency in ms of each request, if `rate` of them arrive a second.

    The first of a batch waits `wait_ms` for others, at most. Two rates with the same seed have the
    same arrivals, but for their scale.
    """
    return _answered(*_drawn(times, seed), wait_ms, rate)


def _answered(
    gaps: np.ndarray, drawn: dict[int, list[float]], wait_ms: float, rate: float
) -> np.ndarray:
    arrivals = (1e3 / rate * gaps.cumsum()).tolist()
    most = max(drawn)
    ends: list[float] = []
    free = 0.0
    while (first := len(ends)) < REQUESTS:
        start = max(free, arrivals[first])
        end = bisect_right(arrivals, start + wait_ms, first + 1, min(first + most, REQUESTS))
        start = max(start, arrivals[end - 1]) if end - first == most else start + wait_ms
        free = start + drawn[end - first][first]
        ends += [free] * (end - first)
    return np.array(ends) - arrivals


def _drawn(times: Times, seed: int) -> tuple[np.ndarray, dict[int, list[float]]]:
    """Return the gaps between arrivals, 1 on average, and the ms of each call, by its size.

    They are at random places of the measured distribution; sizes in between are interpolated.
    """
    random = np.random.default_rng(seed)
    gaps, places = random.exponential(size=REQUESTS), random.random(REQUESTS)
    measured = {size: np.quantile(ms, places) for size, ms in sorted(times.items())}
    drawn = {1: measured[1].tolist()}
    for below, above in pairwise(measured):
        for size in range(below + 1, above + 1):
            share = (size - below) / (above - below)
            drawn[size] = ((1 - share) * measured[below] + share * measured[above]).tolist()
    return gaps, drawn


def saturation(times: Times) -> float:
    """Return the requests a second that are answered if there are always enough waiting."""
    most = max(times)
    return 1e3 * most / float(np.mean(times[most]))


def sustained(times: Times, wait_ms: float, percentile: int, limit_ms: float) -> np.ndarray:
    """Return the highest rate whose percentile of the latency is within a limit, for each replay.

    It is 0 where even the calls themselves take longer.
    """
    found = []
    for seed in range(REPLAYS):
        random = np.random.default_rng(seed)
        resampled = {size: random.choice(ms, len(ms)).tolist() for size, ms in times.items()}
        met, missed = 0.0, saturation(resampled)
        requests = _drawn(resampled, seed)
        for _ in range(STEPS):
            rate = (met + missed) / 2
            late = np.percentile(_answered(*requests, wait_ms, rate), percentile) > limit_ms
            met, missed = (met, rate) if late else (rate, missed)
        found.append(met)
    return np.array(found)
