"""Combine everything into reports: tables, metrics, figures and the verdict."""

import json

import pandas as pd
from pydantic.dataclasses import dataclass

from stages.core.engines.variant import Variant, variants
from stages.core.launch.atomic import atomic_file, write_json, write_text
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import BENCHMARK, MACHINE, REPORTS
from stages.core.launch.settings import (
    BenchmarkConfig,
    DataConfig,
    Forms,
    ModelConfig,
    ReportConfig,
)
from stages.core.measuring.rounds import CONTROL
from stages.core.reporting import figures, results
from stages.core.reporting.accuracy import mistakes
from stages.core.reporting.html import render
from stages.core.reporting.latency import TAIL_SAMPLES, Estimate, speedup
from stages.core.reporting.page import Findings, headline, hero, page
from stages.core.reporting.results import BASELINE, HEADLINE_SPEED, SLA_LATENCY, SPEED
from stages.core.reporting.verdict import pareto_front, recommend


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    benchmark: BenchmarkConfig
    report: ReportConfig
    model: ModelConfig
    data: DataConfig
    forms: Forms


def run(config: Config) -> str:
    """Write reports/: results.md, index.html, results.csv, sweep.csv, metrics.json, the figures.

    Raises:
        InputError: the samples or the profile are of other variants than forms names, or too few
            for the SLA's percentile.
    """
    served = variants(config.forms)
    names = [variant.name for variant in served]
    samples = results.load_samples(names)
    test, validation = (results.load_predictions(names, each) for each in ("test", "validation"))
    control = results.control(samples, config.benchmark.control)
    noise = max(abs(estimate.value - 1) for estimate in control.values())
    found = [
        results.artefacts(served),
        results.accuracies(test, validation),
        results.latencies(samples, noise),
    ]
    answered = results.of_measure(samples[samples["variant"] != CONTROL], "test_label")
    table, summary = with_verdict(pd.concat(found, axis=1), answered, noise, config.report)
    student = results.headliner(table)
    if Variant.named(student).model != "student":
        student = results.fastest_student(table)
    curves = {"teacher": "finetune.csv", "student": "distill.csv"}
    findings = Findings(
        table=table,
        control=control,
        sweep=results.sweep(samples),
        curves=pd.concat(pd.read_csv(REPORTS / file).assign(model=m) for m, file in curves.items()),
        profile=results.load_profile(names),
        student=student,
        mistakes=mistakes(test[student], test[BASELINE]),
        summary=summary,
        conditions=json.loads((BENCHMARK / "conditions.json").read_text()),
        workers=json.loads((BENCHMARK / "workers.json").read_text()),
        machine=json.loads(MACHINE.read_text()),
    )
    write(config, findings, answered)
    return f"{REPORTS}: {headline(table)}"


def with_verdict(
    table: pd.DataFrame, answered: pd.DataFrame, noise: float, constraints: ReportConfig
) -> tuple[pd.DataFrame, str]:
    """Return the table with pareto_front, recommended and verdict, and the verdict's summary.

    Raises:
        InputError: the samples are too few for the SLA's percentile.
    """
    latency = SLA_LATENCY.format(constraints.sla_percentile)
    if latency not in table:
        calls = TAIL_SAMPLES * 100 // (100 - constraints.sla_percentile)
        raise InputError(
            f"report.sla_percentile = {constraints.sla_percentile} needs {calls} calls; raise "
            f"benchmark.rounds × benchmark.calls to that, or use a lower percentile"
        )

    def ratio(variant: str, other: str) -> Estimate:
        return speedup(answered, variant, other).widened(noise)

    kept = [f"validation_retained{end}" for end in ("", "_low", "_high")]
    choice = table[[latency, SPEED, "validation_accuracy", *kept]].set_axis(
        ["latency", "speed", "accuracy", "kept", "kept_low", "kept_high"], axis=1
    )
    verdict = recommend(choice, ratio, constraints)
    return table.assign(
        pareto_front=pareto_front(choice),
        recommended=table.index == verdict.recommended,
        verdict=pd.Series(verdict.reasons),
    ), verdict.summary


def write(config: Config, found: Findings, answered: pd.DataFrame) -> None:
    """Write all reports; `answered` are the samples from text to label, without the control's."""
    percentile, sla_ms = config.report.sla_percentile, config.report.sla_ms
    charts = {
        "accuracy_latency": figures.accuracy_latency(found.table, percentile, sla_ms),
        "distribution": figures.distributions(answered, sla_ms),
        "learning": figures.learning_curves(found.curves),
        "length": figures.latency_by_length(found.sweep),
        "batch": figures.throughput_by_batch(found.sweep),
        "profile": figures.time_by_kind(found.profile),
    }
    text = page(found, config.benchmark, percentile, config.model.title, config.data.title)
    for name, data in ("results", found.table.reset_index()), ("sweep", found.sweep):
        with atomic_file(REPORTS / f"{name}.csv") as part:
            data.round(4).to_csv(part, index=False)
    for name, chart in charts.items():
        with atomic_file(REPORTS / f"{name}.svg") as part:
            chart.save(part)
    write_text(REPORTS / "results.md", text)
    write_text(REPORTS / "index.html", render(text, charts, hero(found.table)))
    write_json(REPORTS / "metrics.json", metrics(found.table, percentile))


def metrics(table: pd.DataFrame, percentile: int) -> dict[str, dict[str, float]]:
    """Return the metrics for `dvc metrics`: a summary of the headline, then one object a variant.

    Few and rounded, so that a diff shows what a change did: latencies, which drift with the
    machine, to two digits. Accuracies are metrics of the stage evaluate.

    Args:
        table: results.csv, by variant.
        percentile: of the latency.
    """
    best = table.loc[results.headliner(table)]
    reduction, kept = 1 - 1 / best[HEADLINE_SPEED], best["accuracy_retained"]
    summary = {"latency_reduction": round(reduction, 3), "accuracy_retained": round(kept, 4)}
    latency = SLA_LATENCY.format(percentile)
    return {"summary": summary} | {
        str(variant): {
            "speedup": float(f"{row[SPEED]:.2g}"),
            f"p{percentile}_ms": float(f"{row[latency]:.2g}"),
            "parameters_m": round(row["parameters"] / 1e6, 1),
            "size_mb": round(row["size_mb"], 1),
        }
        for variant, row in table.iterrows()
    }


if __name__ == "__main__":
    launch(run, Config)
