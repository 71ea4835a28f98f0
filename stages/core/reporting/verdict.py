"""The verdict: the fastest variant that meets the constraints."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from stages.core.engines.variant import Variant
from stages.core.launch.settings import ReportConfig
from stages.core.reporting.latency import Estimate


@dataclass(frozen=True)
class Verdict:
    """The recommended variant, if one qualifies, and why."""

    recommended: str | None
    summary: str
    reasons: dict[str, str]  # by variant


def pareto_front(table: pd.DataFrame) -> pd.Series:
    """Return for each variant whether no other is as fast, as accurate, and better in one.

    Args:
        table: one row a variant; columns speed (higher is faster) and accuracy.
    """
    merits = table[["speed", "accuracy"]]

    def dominated(row: pd.Series) -> bool:
        return bool(((merits >= row).all(axis=1) & (merits > row).any(axis=1)).any())

    return ~merits.apply(dominated, axis=1)


def recommend(
    table: pd.DataFrame, ratio: Callable[[str, str], Estimate], constraints: ReportConfig
) -> Verdict:
    """Recommend the fastest variant that meets the SLA and keeps enough of the accuracy.

    The percentile only decides whether the SLA is met: the tail of a fast variant is the
    scheduler's. Variants whose interval reaches the fastest one's speed tie with it, and the most
    accurate of these is recommended.

    Args:
        table: one row a variant; columns latency (ms, at the SLA's percentile), speed (the paired
            speed-up over one baseline), accuracy, and kept, kept_low, kept_high (the share of the
            baseline's accuracy).
        ratio: how many times faster the first variant is than the second, paired, with the noise
            in its interval.
        constraints: on latency and accuracy.
    """
    needed, sla = 1 - constraints.accuracy_loss, constraints.sla_ms
    percentile = f"p{constraints.sla_percentile}"
    accurate, quick = table["kept"] >= needed, table["latency"] <= sla
    reasons = {}
    for name, row in table[~(accurate & quick)].iterrows():
        faults = []
        if row["latency"] > sla:
            faults.append(f"{percentile} exceeds the SLA by {row['latency'] - sla:.2f} ms")
        if row["kept"] < needed:
            faults.append(f"keeps {row['kept']:.2%} of the accuracy, not {needed:.1%}")
        reasons[str(name)] = "; ".join(faults)
    qualified = table[accurate & quick]
    if qualified.empty:
        return Verdict(None, _shortfall(table, accurate, quick, constraints), reasons)
    fastest = str(qualified["speed"].idxmax())
    leads = {name: ratio(fastest, name) for name in qualified.index if name != fastest}
    tied = [fastest, *(name for name, lead in leads.items() if lead.low <= 1)]
    chosen = str(qualified.loc[tied].sort_values(["accuracy", "speed"]).index[-1])
    for name, lead in leads.items():
        reasons[name] = f"qualifies, but takes {lead.value:.2f} times as long as the fastest"
    reasons |= dict.fromkeys(tied, "as fast as the fastest within the noise, but no more accurate")
    reasons[chosen] = "recommended"
    row = qualified.loc[chosen]
    others = " and ".join(Variant.named(name).title for name in tied if name != chosen)
    place = f"the most accurate of the fastest (it ties with {others} within the noise)"
    summary = (
        f"Use {Variant.named(chosen).title}: of the variants that answer within {sla:g} ms "
        f"({percentile}) and keep at least {needed:.1%} of the validation accuracy, it is "
        f"{place if others else 'the fastest'} "
        f"({percentile} {row['latency']:.2f} ms, {row['kept']:.1%} kept)."
    )
    if row["kept_low"] < needed:
        summary += (
            f" The texts are too few to be sure of the accuracy: the 95 % interval of the share "
            f"kept is {row['kept_low']:.1%} to {row['kept_high']:.1%}."
        )
    return Verdict(chosen, summary, reasons)


def _shortfall(
    table: pd.DataFrame, accurate: pd.Series, quick: pd.Series, constraints: ReportConfig
) -> str:
    needed, sla = 1 - constraints.accuracy_loss, constraints.sla_ms
    texts = ["No variant meets the constraints."]
    if accurate.any():
        least = table.loc[accurate, "latency"].min()
        texts.append(
            f"Of those that keep {needed:.1%} of the validation accuracy, the lowest "
            f"p{constraints.sla_percentile} is {least:.2f} ms, {least - sla:.2f} ms over the SLA."
        )
    if quick.any():
        most = table.loc[quick, "kept"].max()
        texts.append(
            f"The most accurate within {sla:g} ms keeps {most:.1%}, "
            f"{100 * (needed - most):.1f} points too little."
        )
    else:
        texts.append(f"None answers within {sla:g} ms.")
    return " ".join(texts)
