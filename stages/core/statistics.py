"""Statistics of latency samples."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

TAIL_SAMPLES = 10  # a percentile is given only if so many samples lie beyond it
RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    def widened(self, share: float) -> "Estimate":
        """Return it with an interval that reaches `share` of itself farther on both sides."""
        return Estimate(self.value, self.low * (1 - share), self.high * (1 + share))


def summarise(samples: pd.DataFrame, count: int) -> dict[str, float]:
    """Return the mean and the percentiles 50, 95 and 99 that a sample count supports.

    Every round weighs the same: a turn lasts a certain time, so that a fast round has more calls.

    Args:
        samples: columns round and ms.
        count: the samples to count with: of all that is compared, the fewest.
    """
    ms = samples["ms"].to_numpy(float)
    weights = 1 / samples.groupby("round")["ms"].transform("size").to_numpy(float)
    statistics = {"mean": float(np.average(ms, weights=weights))}
    for percentile in (50, 95, 99):
        if count * (100 - percentile) >= 100 * TAIL_SAMPLES:
            found = np.quantile(ms, percentile / 100, weights=weights, method="inverted_cdf")
            statistics[f"p{percentile}"] = float(found)
    return statistics


def speedup(samples: pd.DataFrame, variant: str, baseline: str) -> Estimate:
    """Return how many times faster `variant` is than `baseline`.

    Paired by round: the ratio of the two median latencies of each round, so that what slows a round
    down cancels out, and of these the median, so that a round in which one of them was disturbed
    does not count. The interval is a bootstrap over rounds.

    Args:
        samples: of one workload and quantity; columns variant, round, ms.
        variant: the one that is compared.
        baseline: what it is compared with.
    """
    medians = samples.groupby(["round", "variant"], observed=True)["ms"].median().unstack()
    ratios = (medians[baseline] / medians[variant]).to_numpy(float)
    return bootstrapped(np.median, ratios)


def bootstrapped(statistic: Callable[..., Any], *samples: np.ndarray) -> Estimate:
    """Return a statistic of samples, which are resampled together, with its bootstrap interval.

    Args:
        statistic: takes the samples, each of shape (…, observations), and an axis.
        samples: each of shape (observations,).
    """
    interval = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=100,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=0,
    ).confidence_interval
    return Estimate(float(statistic(*samples, axis=-1)), float(interval.low), float(interval.high))
