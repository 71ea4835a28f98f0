"""A statistic and its confidence interval."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import bootstrap

RESAMPLES = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value and its 95% confidence interval."""

    value: float
    low: float
    high: float

    def widened(self, share: float) -> "Estimate":
        """Return it with each end of the interval moved outwards by `share` of itself."""
        return Estimate(self.value, self.low * (1 - share), self.high * (1 + share))

    def columns(self, name: str) -> dict[str, float]:
        """Return it as three columns of a table: name, name_low and name_high."""
        return {name: self.value, f"{name}_low": self.low, f"{name}_high": self.high}

    @classmethod
    def of(cls, row: pd.Series, name: str) -> "Estimate":
        """Return the estimate in a row's three columns."""
        return cls(row[name], row[f"{name}_low"], row[f"{name}_high"])


def bootstrapped(statistic: Callable[..., Any], *samples: np.ndarray) -> Estimate:
    """Return a statistic of paired samples, each of shape (observations,), with its interval.

    The bootstrap calls `statistic` with samples of shape (…, observations) and an axis.
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
