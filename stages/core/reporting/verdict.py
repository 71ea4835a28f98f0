"""The verdict: the fastest variant that meets the constraints."""

from collections.abc import Callable

import pandas as pd

from stages.core.engines.variant import Variant
from stages.core.launch.settings import ReportConfig
from stages.core.reporting.latency import Estimate
from stages.core.reporting.results import SLA_LATENCY, SPEED


def recommend(
    table: pd.DataFrame, ratio: Callable[[str, str], Estimate], constraints: ReportConfig
) -> tuple[pd.DataFrame, str]:
    """Recommend the fastest variant that meets the SLA and keeps enough of the accuracy.

    The percentile only decides whether the SLA is met: the tail of a fast variant is the
    scheduler's. Variants whose interval reaches the fastest one's speed tie with it, and the most
    accurate of these is recommended.

    `ratio` returns how many times faster the first variant is than the second, paired, its interval
    widened by the noise. Returns the table with the columns recommended and verdict, and a summary.
    """
    needed, sla = 1 - constraints.accuracy_loss, constraints.sla_ms
    percentile = f"p{constraints.sla_percentile}"
    latency = table[SLA_LATENCY.format(constraints.sla_percentile)]
    kept = table["validation_retained"]
    late = (latency - sla).map(f"{percentile} exceeds the SLA by {{:.2f}} ms".format)
    poor = kept.map(f"keeps {{:.2%}} of the accuracy, not {needed:.1%}".format)
    faults = late.where(latency > sla, "") + "; " + poor.where(kept < needed, "")
    reasons = faults.str.strip("; ")
    qualified = table[reasons == ""]
    if qualified.empty:
        return table.assign(recommended=False, verdict=reasons), (
            f"No variant meets the constraints: none answers within {sla:g} ms ({percentile}) and "
            f"keeps at least {needed:.1%} of the validation accuracy."
        )
    fastest = str(qualified[SPEED].idxmax())
    leads = {name: ratio(fastest, name) for name in qualified.index if name != fastest}
    tied = [fastest, *(name for name, lead in leads.items() if lead.low <= 1)]
    chosen = str(qualified.loc[tied].sort_values(["validation_accuracy", SPEED]).index[-1])
    for name, lead in leads.items():
        reasons[name] = f"qualifies, but takes {lead.value:.2f} times as long as the fastest"
    reasons[tied] = "as fast as the fastest within the noise, but no more accurate"
    reasons[fastest] = "the fastest, but less accurate than a variant that ties with it"
    reasons[chosen] = "recommended"
    others = " and ".join(Variant.named(name).title for name in tied if name != chosen)
    place = f"the most accurate of the fastest (a tie with {others} within the noise)"
    summary = (
        f"Use {Variant.named(chosen).title}: of the variants that answer within {sla:g} ms "
        f"({percentile}) and keep at least {needed:.1%} of the validation accuracy, it is "
        f"{place if others else 'the fastest'} "
        f"({percentile} {latency[chosen]:.2f} ms, {kept[chosen]:.1%} kept)."
    )
    interval = Estimate.of(table.loc[chosen], "validation_retained")
    if interval.low < needed:
        summary += (
            f" The texts are too few to be sure of the accuracy: the 95 % interval of the share "
            f"kept is {interval.low:.1%} to {interval.high:.1%}."
        )
    return table.assign(recommended=table.index == chosen, verdict=reasons), summary
