"""A queue in front of a variant, replayed with the times that its calls were measured to take.

Requests arrive at random times (a Poisson process) and are answered in that order, one by one or in
batches, as in `trial`. A trial of some seconds sees too few requests for the tail of their latency:
near saturation, a few of them that arrive at once decide it. A replay has as many as it takes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

Times = Mapping[int, Sequence[float]]  # ms of calls, by how many texts they answer: 1 to the most
REQUESTS = 20_000
REPLAYS = 7  # each with other arrivals, and the measured times drawn anew
STEPS = 10  # of the bisection: to a thousandth of what the variant answers at most


def latencies(times: Times, wait_ms: float, rate: float, seed: int = 0) -> np.ndarray:
    """Return the latency in ms of each request, when `rate` of them arrive a second.

    The first of a batch waits `wait_ms` for others, at most. Two rates with the same seed have the
    same arrivals, but for their scale.
    """
    random = np.random.default_rng(seed)
    arrivals = (random.exponential(1e3 / rate, REQUESTS).cumsum()).tolist()
    drawn = {}
    for size, measured in times.items():
        resampled = random.choice(measured, len(measured))  # a bootstrap: other texts, other times
        drawn[size] = random.choice(resampled, REQUESTS).tolist()
    most = max(times)
    ends: list[float] = []
    free = 0.0
    while (first := len(ends)) < REQUESTS:
        start = max(free, arrivals[first])
        size = 1
        if most > 1:
            last = start + wait_ms
            together = arrivals[first : first + most]
            size = sum(each <= last for each in together)
            start = max(start, together[-1]) if size == most else last
        free = start + drawn[size][first]
        ends += [free] * size
    return np.array(ends) - arrivals


def saturation(times: Times) -> float:
    """Return the requests a second that are answered if there are always some waiting."""
    return max(1e3 * size / float(np.mean(measured)) for size, measured in times.items())


def sustained(times: Times, wait_ms: float, percentile: int, limit_ms: float) -> list[float]:
    """Return the highest rate whose percentile of the latency is within a limit, for each replay.

    It is 0 where even a request alone takes longer.
    """
    found = []
    for seed in range(REPLAYS):
        met, missed = 0.0, saturation(times)
        for _ in range(STEPS):
            rate = (met + missed) / 2
            within = np.percentile(latencies(times, wait_ms, rate, seed), percentile) <= limit_ms
            met, missed = (rate, missed) if within else (met, rate)
        found.append(met)
    return found
