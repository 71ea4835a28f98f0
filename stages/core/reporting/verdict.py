"""The verdict: the fastest variant that meets the constraints."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from stages.core.launch.settings import ReportConfig
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.results import BASELINE, SLA_LATENCY, SPEED, classes, recommended
from stages.core.reporting.tables import per_second
from stages.core.serving.variant import Variant

CHANCE = 4  # texts of a class that a variant may lose without a doubt


def recommend(
    table: pd.DataFrame, ratio: Callable[[str, str], Estimate], constraints: ReportConfig
) -> tuple[pd.DataFrame, list[str]]:
    """Recommend the fastest variant that meets the SLA and keeps enough of the quality.

    The percentile only decides whether the SLA is met: the tail of a fast variant is the
    scheduler's. Variants whose interval reaches the fastest one's speed tie with it, and the best
    of these is recommended.

    `ratio` returns how many times faster the first variant is than the second, paired, its interval
    widened by the noise. Returns the table with the columns recommended and verdict, and the names
    of the others that tie with the recommended one.
    """
    reasons = faults(table, constraints)
    qualified = table[reasons == ""]
    if qualified.empty:
        return table.assign(recommended=False, verdict=reasons), []
    fastest = str(qualified[SPEED].idxmax())
    leads = {name: ratio(fastest, name) for name in qualified.index if name != fastest}
    tied = [fastest, *(name for name, lead in leads.items() if lead.low <= 1)]
    chosen = str(qualified.loc[tied].sort_values(["validation_quality", SPEED]).index[-1])
    for name, lead in leads.items():
        reasons[name] = f"qualifies, but takes {lead.value:.2f} times as long as the fastest"
    reasons[tied] = "as fast as the fastest within the noise, but no better"
    reasons[fastest] = "the fastest, but a variant that ties with it is better"
    reasons[chosen] = "recommended"
    others = [name for name in tied if name != chosen]
    return table.assign(recommended=table.index == chosen, verdict=reasons), others


def summary(table: pd.DataFrame, tied: list[str], constraints: ReportConfig) -> str:
    """Return what `recommend` found, in a sentence or two."""
    needed, sla = 1 - constraints.quality_loss, constraints.sla_ms
    quality = constraints.quality_name
    percentile = f"p{constraints.sla_percentile}"
    wanted = constraints.requests_per_second
    load = f"{wanted:g} requests a second " if wanted else ""
    chosen = recommended(table)
    if chosen is None:
        return (
            f"No variant meets the constraints: none both answers {load}within {sla:g} ms "
            f"({percentile}) and keeps at least {needed:.1%} of the validation {quality}."
        )
    row = table.loc[chosen]
    others = " and ".join(Variant.named(name).title for name in tied)
    place = f"the best of the fastest (a tie with {others} within the noise)"
    found = (
        f"Use {Variant.named(chosen).title}: of the variants that answer {load}within {sla:g} ms "
        f"({percentile}) and keep at least {needed:.1%} of the validation {quality}, it is "
        f"{place if others else 'the fastest'} "
        f"({percentile} {row[SLA_LATENCY.format(constraints.sla_percentile)]:.2f} ms, "
        f"{row['validation_retained']:.1%} kept)."
    )
    interval = Estimate.of(row, "validation_retained")
    if interval.low < needed:
        found += (
            f" The texts are too few to be sure of the {quality}: the 95% interval of the share "
            f"kept is {interval.low:.1%} to {interval.high:.1%}."
        )
    rate = Estimate.of(row, "single_rps")
    if wanted and rate.low < wanted:
        found += (
            f" It may sustain less than {wanted:g} requests a second: the 95% interval is "
            f"{per_second(rate.low)} to {per_second(rate.high)}."
        )
    # Faster variants that fall short of the quality alone, by no more than the interval.
    near = table["validation_retained_high"] >= needed
    near &= faults(table.assign(validation_retained=1.0), constraints) == ""
    near &= (table["validation_retained"] < needed - 1e-9) & (table[SPEED] > row[SPEED])
    for name, other in table[near].iterrows():
        kept = Estimate.of(other, "validation_retained")
        found += (
            f" {Variant.named(str(name)).title.capitalize()} is {other[SPEED] / row[SPEED]:.1f} "
            f"times as fast and keeps {kept.value:.2%}: the interval, {kept.low:.1%} to "
            f"{kept.high:.1%}, reaches what is asked."
        )
    return found


def faults(table: pd.DataFrame, constraints: ReportConfig) -> pd.Series:
    """Return which constraints each variant misses, and by how much; "" for none."""
    needed, sla = 1 - constraints.quality_loss, constraints.sla_ms
    percentile, wanted = constraints.sla_percentile, constraints.requests_per_second or 0
    quality = constraints.quality_name
    latency = table[SLA_LATENCY.format(percentile)]
    kept, rate = table["validation_retained"], table["single_rps"]
    late = (latency - sla).map(f"p{percentile} exceeds the SLA by {{:.2f}} ms".format)
    poor = rounded_down(kept).map(f"keeps {{:.2%}} of the {quality}, not {needed:.1%}".format)
    slow = rate.map(per_second).map(f"answers {{}} requests a second, not {wanted:g}".format)
    missed = [
        late.where(latency > sla),
        poor.where(kept < needed - 1e-9),
        slow.where(rate < wanted),
    ]
    return pd.concat(missed, axis=1).apply(lambda row: "; ".join(row.dropna()), axis=1)


def rounded_down(shares: pd.Series) -> pd.Series:
    """Return shares to a hundredth of a percent: 97.999% is not 98.00%."""
    return np.floor((shares + 1e-9) * 1e4) / 1e4


def doubts(table: pd.DataFrame, name: str) -> list[str]:
    """Return why a variant may be worse than its share of the quality says (validation split).

    It is no better than answering the most frequent class always, or finds less than half of what
    the teacher finds of some class, by more than CHANCE texts.
    """
    row, teacher = table.loc[name], table.loc[BASELINE]
    title = Variant.named(name).title
    found = []
    if row["validation_accuracy"] <= row["validation_majority"]:
        found.append(
            f"{title} is right on {row['validation_accuracy']:.1%} of the validation texts, no "
            f"more than always answering the most frequent class "
            f"({row['validation_majority']:.1%}); try more texts, more finetune.epochs, or "
            f"finetune.class_weights=balanced"
        )
    lost = []
    for each in classes(table):
        ours, theirs = (of[f"validation_recall_{each}"] for of in (row, teacher))
        texts = round((theirs - ours) * row[f"validation_support_{each}"])
        if ours < theirs / 2 and texts > CHANCE:
            lost.append(f"{ours:.0%} of the validation texts of {each!r}, the teacher {theirs:.0%}")
    if lost:
        found.append(
            f"{title} finds {'; '.join(lost)}: try report.quality=macro_f1, or for the student "
            "distill.class_weights=balanced with distill.label_weight=0.5"
        )
    return found
