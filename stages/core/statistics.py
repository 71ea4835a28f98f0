"""Statistics of latency samples."""

import pandas as pd

TAIL_SAMPLES = 10  # a percentile is given only if so many samples lie beyond it


def summarise(samples: pd.Series) -> dict[str, float]:
    """Return the mean and the percentiles 50, 95 and 99 that the sample count supports.

    Args:
        samples: latencies, in the unit of the result.
    """
    statistics = {"mean": float(samples.mean())}
    for percentile in (50, 95, 99):
        if len(samples) * (100 - percentile) >= 100 * TAIL_SAMPLES:
            statistics[f"p{percentile}"] = float(samples.quantile(percentile / 100))
    return statistics
