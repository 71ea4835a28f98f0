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
    percentiles = [
        percentile
        for percentile in (50, 95, 99)
        if count * (100 - percentile) >= 100 * TAIL_SAMPLES
    ]
    found = quantiles(samples, np.array(percentiles) / 100)
    return {
        "mean": float(np.average(samples["ms"].to_numpy(float), weights=round_weights(samples))),
        **{f"p{percentile}": float(ms) for percentile, ms in zip(percentiles, found, strict=True)},
    }


def quantiles(samples: pd.DataFrame, shares: np.ndarray) -> np.ndarray:
    """Return the quantiles of samples (columns round and ms), where every round weighs the same."""
    ms = samples["ms"].to_numpy(float)
    return np.quantile(ms, shares, weights=round_weights(samples), method="inverted_cdf")


def round_weights(samples: pd.DataFrame) -> np.ndarray:
    """Return for each sample one by the number of those in its round."""
    return 1 / samples.groupby("round")["ms"].transform("size").to_numpy(float)


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
