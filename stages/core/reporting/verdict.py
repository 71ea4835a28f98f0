"""Which variant to take: the fastest that keeps to the constraints."""

from dataclasses import dataclass

import pandas as pd

from stages.core.launch.paths import spoken


@dataclass(frozen=True)
class Verdict:
    """The answer, and why."""

    recommended: str | None
    summary: str
    reasons: dict[str, str]  # by variant


def pareto_front(table: pd.DataFrame) -> pd.Series:
    """Return for each variant whether none is both as fast and as accurate, and better in one.

    Args:
        table: a row a variant; columns latency and accuracy.
    """
    return pd.Series(
        {
            variant: not (
                (table["latency"] <= row["latency"])
                & (table["accuracy"] >= row["accuracy"])
                & ((table["latency"] < row["latency"]) | (table["accuracy"] > row["accuracy"]))
            ).any()
            for variant, row in table.iterrows()
        }
    )


def recommend(table: pd.DataFrame, sla_ms: float, percentile: str, allowed_loss: float) -> Verdict:
    """Recommend the fastest variant that meets the SLA and keeps enough of the accuracy.

    Args:
        table: a row a variant; columns latency (ms) and kept (the share of the accuracy, with its
            interval in kept_low and kept_high).
        sla_ms: the longest latency allowed.
        percentile: what the latency is, such as p99.
        allowed_loss: the share of the accuracy that may be lost.
    """
    table = table.sort_values("latency")
    needed = 1 - allowed_loss
    accurate, quick = table["kept"] >= needed, table["latency"] <= sla_ms
    qualified = table[accurate & quick]
    reasons = {}
    for variant, row in table.iterrows():
        faults = []
        if row["latency"] > sla_ms:
            faults.append(f"takes {row['latency'] - sla_ms:.2f} ms too long")
        if row["kept"] < needed:
            faults.append(f"keeps {row['kept']:.2%} of the accuracy, not {needed:.1%}")
        if not faults:
            times = row["latency"] / qualified["latency"].iloc[0]
            faults.append(f"qualifies, but takes {times:.1f} times as long")
        reasons[str(variant)] = "; ".join(faults)
    if qualified.empty:
        return Verdict(None, _shortfall(table, accurate, quick, sla_ms, needed), reasons)
    chosen, row = str(qualified.index[0]), qualified.iloc[0]
    reasons[chosen] = "**recommended**"
    summary = (
        f"Take {spoken(chosen)}: of the variants that answer within {sla_ms:g} ms "
        f"({percentile}) and keep at least {needed:.1%} of the accuracy, it is the fastest "
        f"({row['latency']:.2f} ms, {row['kept']:.1%})."
    )
    if row["kept_low"] < needed:
        summary += (
            f" The texts are too few to be sure that it keeps so much: with 95 % confidence it is "
            f"between {row['kept_low']:.1%} and {row['kept_high']:.1%}."
        )
    return Verdict(chosen, summary, reasons)


def _shortfall(
    table: pd.DataFrame, accurate: pd.Series, quick: pd.Series, sla_ms: float, needed: float
) -> str:
    texts = ["No variant qualifies."]
    if accurate.any():
        least = table.loc[accurate, "latency"].min()
        texts.append(
            f"The fastest that keeps {needed:.1%} of the accuracy takes {least:.2f} ms, "
            f"{least - sla_ms:.2f} ms too long."
        )
    if quick.any():
        most = table.loc[quick, "kept"].max()
        texts.append(
            f"The most accurate within {sla_ms:g} ms keeps {most:.1%}, "
            f"{100 * (needed - most):.1f} points too little."
        )
    else:
        texts.append(f"None answers within {sla_ms:g} ms.")
    return " ".join(texts)
