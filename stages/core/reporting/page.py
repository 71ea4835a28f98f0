"""The results as a page of text: results.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, StrictUndefined

from stages.core.launch.settings import Settings
from stages.core.measuring.queueing import REPLAYS
from stages.core.reporting import results, tables
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.verdict import doubts, rounded_down
from stages.core.serving.variant import Variant

TEMPLATE = Path(__file__).parent / "templates" / "results.md.jinja"
SPLITS = ("train", "validation", "test", "transfer")
CONTROL_BOUND = 0.03  # largest deviation of the control from its twin without a warning
PACE_BOUND = 0.15  # widest acceptable interval of the headline speed-up, as a share
OTHERS_BOUND = 0.05  # largest share of the machine that other programs may take
FEW_TEXTS = 200  # of a split, below which its size alone deserves a warning
STOLEN_BOUND = 0.02  # largest share that its host may withhold


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows."""

    table: pd.DataFrame  # results.csv
    control: dict[str, Estimate]  # `results.control`
    sweep: pd.DataFrame  # sweep.csv
    curves: pd.DataFrame  # the epochs of both trainings, with their model
    profile: pd.DataFrame  # profile.csv
    load: pd.DataFrame  # load.csv
    student: str  # the variant whose mistakes are shown
    mistakes: pd.DataFrame  # `accuracy.mistakes`
    summary: str  # of the verdict
    conditions: dict[str, Any]  # of the benchmark
    machine: dict[str, Any]  # machine.json
    config: Settings
    data: dict[str, Any]  # data.json
    made: dict[str, int]  # augmented.json


def page(found: Findings) -> str:
    """Return results.md."""
    curves = found.curves.reset_index(drop=True)
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    environment.filters |= {
        "markdown": tables.markdown,
        "literal": tables.literal,
        "title": lambda name: Variant.named(name).title,
        "share": tables.share,
    }
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        vars(found),
        tables=tables,
        ranked=found.table.assign(
            validation_retained=rounded_down(found.table["validation_retained"])
        ).sort_values(results.SPEED, ascending=False, kind="stable"),
        warnings=list(warnings(found)),
        splits=pd.DataFrame({name: found.data[name] for name in SPLITS if name in found.data}).T,
        headline=headline(found.table),
        headliner=(name := results.headliner(found.table)),
        own=Estimate.of(found.table.loc[name], results.SPEED),
        kept=curves.loc[curves.groupby("model", sort=False)["validation_loss"].idxmin()],
        sustained=sustained(found),
        replays=REPLAYS,
        over_http=over_http(found.load),
        percentile=found.config.report.sla_percentile,
        quality=found.config.report.quality_name,
        baseline=results.BASELINE,
        test_texts=found.table.loc[results.BASELINE, "test_texts"],
        bottleneck=results.bottleneck,
        slowdowns=found.profile.groupby("variant")["slowdown"].first(),
    )


def warnings(found: Findings) -> Iterator[str]:
    """Yield every reason not to trust the measurement."""
    for measure, estimate in found.control.items():
        if abs(estimate.value - 1) > CONTROL_BOUND:
            yield (
                f"the control differs from its twin by {estimate.value - 1:+.1%} on the "
                f"{results.MEASURES[measure]}, more than {CONTROL_BOUND:.0%}"
            )
    name, conditions = results.headliner(found.table), found.conditions
    for variant in dict.fromkeys((results.BASELINE, name)):
        yield from doubts(found.table, variant)
    for split in ("validation", "test"):
        texts = int(found.table.loc[name, f"{split}_texts"])
        if texts < FEW_TEXTS:
            yield (
                f"the {split} split has {texts} texts, so one text is {1 / texts:.1%} of the "
                "accuracy: its intervals are wide, and the verdict is partly chance"
            )
    drawn = " and ".join(found.data["drawn"])
    if drawn and "teacher" not in set(found.curves["model"]):
        yield (
            f"the teacher was fine-tuned before, and the texts of {drawn} were drawn from train: "
            "if it has learned from them, it seems better than it is; give files of new texts"
        )
    speed = Estimate.of(found.table.loc[name], results.HEADLINE_SPEED)
    if speed.high / speed.low > 1 + PACE_BOUND:
        yield (
            f"the speed-up of {Variant.named(name).title} is uncertain, {speed.low:.1f} to "
            f"{speed.high:.1f} times; measure again on a quieter machine or with more rounds: "
            f"`dvc repro --force --single-item benchmark && dvc repro`"
        )
    profile, load = found.profile.iloc[0], found.load.iloc[0]
    for stage, during in ("benchmark", conditions), ("profile", profile), ("load", load):
        others, stolen = during["others_share"] or 0, during["stolen_share"] or 0
        if others > OTHERS_BOUND:
            yield f"other programs took {others:.0%} of the machine during the {stage}"
        if stolen > STOLEN_BOUND:
            yield f"the host withheld {stolen:.0%} of the machine during the {stage}"
        if during["throttled_periods"]:
            yield f"a CPU quota of {conditions['cpu_quota']:g} cores paused the {stage}"
    if conditions["governor"] not in (None, "performance"):
        yield f"the CPU's frequency governor is {conditions['governor']}, not performance"
    if conditions["on_battery"]:
        yield "the machine ran on battery"


def headline(table: pd.DataFrame) -> str:
    """Return the experiment's result in one sentence (columns of results.csv)."""
    name = results.headliner(table)
    faster = Estimate.of(table.loc[name], results.HEADLINE_SPEED)
    kept = Estimate.of(table.loc[name], "accuracy_retained")
    first, last = tables.POST.iloc[0], tables.POST.iloc[-1]
    fastest = "the fastest student (no variant meets the constraints)"
    return (
        f"{1 - 1 / faster.value:.1%} less latency "
        f"({1 - 1 / faster.low:.1%} to {1 - 1 / faster.high:.1%}; "
        f"the post: {1 - last['ms'] / first['ms']:.0%}) at {kept.value:.1%} of the test accuracy "
        f"({kept.low:.1%} to {kept.high:.1%}; the post: {last['accuracy'] / first['accuracy']:.0%})"
        f": {Variant.named(name).title}, "
        f"{'the recommended variant' if results.recommended(table) else fastest}, "
        f"against the fine-tuned teacher in PyTorch"
    )


def sustained(found: Findings) -> str:
    """Return one sentence on the load that the headline's variant and the baseline sustain."""
    table, limits = found.table, found.config.report
    said = [
        f"{Variant.named(name).title} sustains {rate(Estimate.of(table.loc[name], 'single_rps'))}"
        for name in dict.fromkeys((results.headliner(table), results.BASELINE))
    ]
    return (
        f"Within {limits.sla_ms:g} ms (p{limits.sla_percentile}, queueing included), "
        f"{', '.join(said)}"
    )


def rate(estimate: Estimate) -> str:
    """Return requests a second, with their interval."""
    if not estimate.value:
        return "no load"
    value, low, high = map(tables.per_second, (estimate.value, estimate.low, estimate.high))
    return f"{value} requests a second ({low} to {high})"


def over_http(load: pd.DataFrame) -> str:
    """Return one sentence on the load that the fastest variant sustains over HTTP."""
    tried = load[load["http"]]
    limit, ms = results.at_most(tried)
    name = tried["variant"].iloc[0]
    measured = f" (a trial at that rate measured {ms:.1f} ms)" if limit.value else ""
    return (
        f"Over HTTP (`python -m stages.serve --variant={name}`), {Variant.named(name).title} "
        f"sustains {rate(limit)} within the SLA{measured}"
    )


def hero(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first screen of the browser page: title, role and figures of a variant."""
    name = results.headliner(table)
    before, after = table.loc[results.BASELINE], table.loc[name]
    faster = after[results.HEADLINE_SPEED]
    figures = [
        ("Latency", 1 - 1 / faster, "less", "post_model_p50_ms", "{:.2f}", " ms"),
        ("Accuracy", after["accuracy_retained"], "kept", "accuracy", "{:.1%}", ""),
        ("Size", 1 - after["size_mb"] / before["size_mb"], "less", "size_mb", "{:.0f}", " MB"),
    ]
    role = "recommended" if results.recommended(table) else "no variant qualifies; fastest student"
    return {
        "title": Variant.named(name).title,
        "role": role,
        "figures": [
            (title, f"{share:.1%} {kind}", f"{form} → {form}{unit}".format(before[key], after[key]))
            for title, share, kind, key, form, unit in figures
        ],
    }
