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
from stages.core.reporting.html import html
from stages.core.reporting.latency import TAIL_SAMPLES, Estimate, speedup
from stages.core.reporting.page import Findings, headline, hero, page
from stages.core.reporting.results import HEADLINE_SPEED, SLA_LATENCY, SPEED
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
    samples, predictions = results.load_samples(names), results.load_predictions(names)
    control = results.control(samples, config.benchmark.control)
    noise = max(abs(estimate.value - 1) for estimate in control.values())
    found = [
        results.artefacts(served),
        results.accuracies(predictions),
        results.latencies(samples, noise),
    ]
    answered = results.of_measure(samples[samples["variant"] != CONTROL], "test_label")
    table, summary = with_verdict(pd.concat(found, axis=1), answered, noise, config.report)
    student = results.headliner(table)
    if Variant.named(student).model != "student":
        student = results.fastest_student(table)
    findings = Findings(
        table=table,
        control=control,
        sweep=results.sweep(samples),
        curves=learning_curves(),
        profile=results.load_profile(names),
        student=student,
        mistakes=mistakes(
            *(results.of_split(predictions[name], "test") for name in (student, results.BASELINE))
        ),
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
    """Write all reports.

    Args:
        config: of this stage.
        found: what they show.
        answered: samples from text to label, without the control's.
    """
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
    for name, data in ("results", found.table.round(4)), ("sweep", found.sweep.round(4)):
        with atomic_file(REPORTS / f"{name}.csv") as part:
            data.to_csv(part, index=name == "results")
    for name, chart in charts.items():
        with atomic_file(REPORTS / f"{name}.svg") as part:
            chart.save(part)
    write_text(REPORTS / "results.md", text)
    write_text(REPORTS / "index.html", html(text, charts, hero(found.table)))
    write_json(REPORTS / "metrics.json", metrics(found.table, percentile))


def learning_curves() -> pd.DataFrame:
    """Return the epochs of both trainings: model, epoch, validation_accuracy and the losses."""
    files = {"teacher": "finetune.csv", "student": "distill.csv"}
    return pd.concat(pd.read_csv(REPORTS / file).assign(model=m) for m, file in files.items())


def metrics(table: pd.DataFrame, percentile: int) -> dict[str, dict[str, float]]:
    """Return the metrics for `dvc metrics`: a summary of the headline, then one object a variant.

    Few and rounded, so that a diff shows what a change did: latencies, which drift with the
    machine, to two digits. The speed-up is paired within the run and drifts less. Accuracies are
    metrics of the stage evaluate.

    Args:
        table: results.csv, by variant.
        percentile: of the latency.
    """
    headliner = table.loc[results.headliner(table)]
    columns = {
        "speedup": (SPEED, 1, ".2g"),
        f"p{percentile}_ms": (SLA_LATENCY.format(percentile), 1, ".2g"),
        "parameters_m": ("parameters", 1e6, ".1f"),
        "size_mb": ("size_mb", 1, ".1f"),
    }
    return {
        "summary": {
            "latency_reduction": round(1 - 1 / headliner[HEADLINE_SPEED], 3),
            "accuracy_retained": round(headliner["accuracy_retained"], 4),
        }
    } | {
        str(variant): {
            name: float(format(row[column] / unit, form))
            for name, (column, unit, form) in columns.items()
        }
        for variant, row in table.iterrows()
    }


if __name__ == "__main__":
    launch(run, Config)
