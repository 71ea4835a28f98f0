"""The results as a page of text: results.md."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import StrictUndefined, Template

from stages.core.engines.variant import Variant
from stages.core.launch.settings import BenchmarkConfig
from stages.core.reporting import tables
from stages.core.reporting.latency import Estimate
from stages.core.reporting.results import (
    BASELINE,
    HEADLINE_SPEED,
    MEASURES,
    SPEED,
    bottleneck,
    headliner,
    recommended,
)

TEMPLATE = Path(__file__).parent / "templates" / "results.md.jinja"
SHOWN_MISTAKES = 10
CONTROL_BOUND = 0.03  # largest deviation of the control from its twin without a warning
PACE_BOUND = 0.15  # widest acceptable interval of the headline speed-up, as a share
OTHERS_BOUND = 0.05  # largest share of the machine that other programs may take
STOLEN_BOUND = 0.02  # largest share that its host may withhold


@dataclass(frozen=True)
class Findings:
    """Everything that the page shows."""

    table: pd.DataFrame  # results.csv
    control: dict[str, Estimate]  # `results.control`
    sweep: pd.DataFrame  # sweep.csv
    curves: pd.DataFrame  # the epochs of both trainings, with their model
    profile: pd.DataFrame  # profile.csv
    student: str  # the variant whose mistakes are shown
    mistakes: pd.DataFrame  # `accuracy.mistakes`
    summary: str  # of the verdict
    conditions: dict[str, Any]  # of the benchmark
    workers: dict[str, dict[str, Any]]  # of the benchmark, as loaded
    machine: dict[str, Any]  # machine.json


def page(
    found: Findings, benchmark: BenchmarkConfig, percentile: int, teacher: str, texts: str
) -> str:
    """Return results.md.

    Args:
        found: what it shows.
        benchmark: how it was measured.
        percentile: that the SLA is checked at.
        teacher: the encoder's title.
        texts: the corpus's title.
    """
    table = found.table
    ranked = table.sort_values(SPEED, ascending=False, kind="stable")
    shown = {
        "beside_the_post": tables.beside_the_post(table),
        "step_by_step": tables.step_by_step(table),
        "every_variant": tables.render(table, tables.EVERY_VARIANT),
        "choices": tables.render(ranked, tables.choices(percentile)),
        "latencies": tables.latencies(table),
        "speedups": tables.speedups(table, found.control, benchmark.control),
        "accuracies": tables.render(table, tables.accuracies(table)),
        "mistakes": tables.render(found.mistakes.head(SHOWN_MISTAKES), tables.MISTAKES),
        "learning": tables.render(found.curves, tables.LEARNING),
        "time_by_kind": tables.time_by_kind(found.profile),
        "by_length": tables.by_length(found.sweep),
        "by_batch": tables.by_batch(found.sweep),
    }
    threads, cores = (
        ", ".join(sorted({str(worker[key]) for worker in found.workers.values()}))
        for key in ("threads", "cores")
    )
    name = headliner(table)
    speed = Estimate.of(table.loc[name], HEADLINE_SPEED)
    template = Template(TEMPLATE.read_text(), undefined=StrictUndefined, keep_trailing_newline=True)
    return template.render(
        {section: tables.markdown(rows) for section, rows in shown.items()},
        warnings=warnings(found.conditions, found.control, Variant.named(name).title, speed),
        headline=headline(table),
        summary=found.summary,
        student=Variant.named(found.student).title,
        mistaken=len(found.mistakes),
        fewest_calls=found.sweep["calls"].min(),
        test_texts=table.loc[BASELINE, "test_texts"],
        bottlenecks=bottlenecks(table, found.profile),
        settings=benchmark,
        machine=found.machine,
        conditions=found.conditions,
        threads=threads,
        cores=cores,
        teacher=tables.literal(teacher),
        texts=tables.literal(texts),
    )


def warnings(
    conditions: dict[str, Any], control: dict[str, Estimate], title: str, speed: Estimate
) -> str:
    """Return a block of reasons not to trust the measurement; empty if there are none.

    Args:
        conditions: `conditions.conditions`.
        control: `results.control`.
        title: of the variant in the headline.
        speed: its speed-up.
    """
    texts = [
        f"the control differs from its twin by {estimate.value - 1:+.1%} on the "
        f"{MEASURES[measure]}, more than {CONTROL_BOUND:.0%}"
        for measure, estimate in control.items()
        if abs(estimate.value - 1) > CONTROL_BOUND
    ]
    if speed.high / speed.low > 1 + PACE_BOUND:
        texts.append(
            f"{title} is {speed.low:.1f} to {speed.high:.1f} times faster than the teacher in "
            f"PyTorch: one of the two changed its pace during the run"
        )
    texts += disturbances(conditions["others_share"])
    if conditions["stolen_share"] > STOLEN_BOUND:
        texts.append(f"the host withheld {conditions['stolen_share']:.0%} of the machine meanwhile")
    if conditions["throttled_periods"]:
        texts.append(f"a CPU quota ({conditions['cpu_quota']}) paused the measurement")
    if conditions["governor"] not in (None, "performance"):
        texts.append(f"the CPU's frequency governor is {conditions['governor']}, not performance")
    if conditions["on_battery"]:
        texts.append("the machine ran on its battery")
    return block(texts)


def disturbances(others_share: float) -> list[str]:
    """Return a warning if other programs took too much of the machine."""
    if others_share <= OTHERS_BOUND:
        return []
    return [f"other programs took {others_share:.0%} of the machine meanwhile"]


def block(texts: list[str]) -> str:
    """Return warnings as Markdown."""
    return "".join(f"> **Warning**: {text}.\n\n" for text in texts)


def headline(table: pd.DataFrame) -> str:
    """Return the experiment's result in one sentence (columns of results.csv)."""
    name = headliner(table)
    faster = Estimate.of(table.loc[name], HEADLINE_SPEED)
    kept = Estimate.of(table.loc[name], "accuracy_retained")
    first, last = tables.POST.iloc[0], tables.POST.iloc[-1]
    why = (
        "the recommended variant"
        if recommended(table)
        else "the fastest student (no variant meets the constraints)"
    )
    return (
        f"{1 - 1 / faster.value:.1%} less latency "
        f"({1 - 1 / faster.low:.1%} to {1 - 1 / faster.high:.1%}; "
        f"the post: {1 - last['ms'] / first['ms']:.0%}) at {kept.value:.1%} of the test accuracy "
        f"({kept.low:.1%} to {kept.high:.1%}; the post: {last['accuracy'] / first['accuracy']:.0%})"
        f": {Variant.named(name).title}, {why}, against the fine-tuned teacher in PyTorch"
    )


def hero(table: pd.DataFrame) -> dict[str, Any]:
    """Return the first screen of the browser page (columns of results.csv).

    Keys: recommended (a title or None), headline, and figures, a list of (name, before, after,
    change).
    """
    name, chosen = headliner(table), recommended(table)
    before, after = table.loc[BASELINE], table.loc[name]
    less = 1 - 1 / after[HEADLINE_SPEED]
    smaller = 1 - after["size_mb"] / before["size_mb"]

    def both(column: str, form: str) -> tuple[str, str]:
        return form.format(before[column]), form.format(after[column])

    return {
        "recommended": Variant.named(chosen).title if chosen else None,
        "headline": f"{headline(table)}.",
        "figures": [
            ("Latency", *both("post_model_p50_ms", "{:.2f} ms"), f"{less:.1%} less"),
            (
                "Test accuracy",
                *both("accuracy", "{:.1%}"),
                f"{after['accuracy_retained']:.1%} kept",
            ),
            ("Size", *both("size_mb", "{:.0f} MB"), f"{smaller:.0%} less"),
        ],
    }


def bottlenecks(table: pd.DataFrame, profile: pd.DataFrame) -> str:
    """Return a line a variant on the operators that take most of its time."""
    slowdowns = profile.groupby("variant")["slowdown"].first()
    return block(disturbances(profile["others_share"].max())) + "\n".join(
        f"- {bottleneck(profile, variant)} (the profiler made it {slowdowns[variant]:.1f}× slower)."
        for variant in table.index
    )
