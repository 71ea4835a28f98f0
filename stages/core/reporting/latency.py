"""Statistics of latency samples."""

import numpy as np
import pandas as pd

from stages.core.launch.settings import CALLS_NEEDED
from stages.core.reporting.estimate import Estimate, bootstrapped


def summarise(samples: pd.DataFrame, count: int) -> dict[str, float]:
    """Return the mean, and those of p50, p95 and p99 that `count` samples support.

    Every round has the same weight in the samples (columns round and ms).
    """
    percentiles = np.array([each for each, needed in CALLS_NEEDED.items() if count >= needed])
    mean = float(np.average(samples["ms"], weights=_round_weights(samples)))
    found = zip(percentiles, quantiles(samples, percentiles / 100), strict=True)
    return {"mean": mean} | {f"p{percentile}": float(ms) for percentile, ms in found}


def quantiles(samples: pd.DataFrame, shares: np.ndarray) -> np.ndarray:
    """Return the quantiles of samples (columns round and ms); every round has the same weight."""
    ms = samples["ms"].to_numpy(float)
    return np.quantile(ms, shares, weights=_round_weights(samples), method="inverted_cdf")


def _round_weights(samples: pd.DataFrame) -> np.ndarray:
    # A turn lasts a fixed time, so a fast round has more calls.
    return 1 / samples.groupby("round")["ms"].transform("size").to_numpy(float)


def speedup(samples: pd.DataFrame, variant: str, baseline: str) -> Estimate:
    """Return how many times faster `variant` is than `baseline`, with a bootstrap over rounds.

    Paired by round: the ratio of the two median latencies of each round cancels what slows the
    whole round down; the median of these ratios ignores rounds in which only one was disturbed.
    The samples (columns variant, round, ms) are of one workload and quantity.
    """
    medians = samples.groupby(["round", "variant"])["ms"].median().unstack()
    return bootstrapped(np.median, (medians[baseline] / medians[variant]).to_numpy(float))
