"""Put everything together: the tables, the metrics, the figures and the verdict."""

import pandas as pd
from pydantic.dataclasses import dataclass

from stages.core.launch.atomic import atomic_file, write_json, write_text
from stages.core.launch.command import launch
from stages.core.launch.errors import InputError
from stages.core.launch.parse import STRICT
from stages.core.launch.paths import CONTROL, REPORTS
from stages.core.launch.settings import BenchmarkConfig, ReportConfig
from stages.core.reporting import figures, results
from stages.core.reporting.html import html
from stages.core.reporting.latency import TAIL_SAMPLES
from stages.core.reporting.page import headline, page
from stages.core.reporting.results import BEST, SLA_LATENCY
from stages.core.reporting.verdict import pareto_front, recommend


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    benchmark: BenchmarkConfig
    report: ReportConfig


def run(config: Config) -> str:
    """Write reports/: results.md, index.html, results.csv, sweep.csv, metrics.json, the figures.

    Raises:
        InputError: the samples are too few for the percentile that the SLA names.
    """
    settings = config.report
    samples = results.load_samples()
    control = results.control(samples, config.benchmark.control)
    noise = max(abs(estimate.value - 1) for estimate in control.values())
    table, sweep = results.variants(samples, noise), results.sweep(samples)
    answered = results.of_measure(samples, "test_label")
    latency = SLA_LATENCY.format(settings.sla_percentile)
    if latency not in table:
        calls = TAIL_SAMPLES * 100 // (100 - settings.sla_percentile)
        raise InputError(
            f"report.sla_percentile = {settings.sla_percentile} needs {calls} calls; raise "
            f"benchmark.rounds × benchmark.calls to that, or name a lower percentile"
        )
    kept = [f"validation_retained{end}" for end in ("", "_low", "_high")]
    choice = table[[latency, "validation_accuracy", *kept]].set_axis(
        ["latency", "accuracy", "kept", "kept_low", "kept_high"], axis=1
    )
    verdict = recommend(
        choice, settings.sla_ms, f"p{settings.sla_percentile}", settings.accuracy_loss
    )
    table["pareto_front"] = pareto_front(choice)
    table["recommended"] = table.index == verdict.recommended

    for name, data in ("results", table.round(4)), ("sweep", sweep.round(4)):
        with atomic_file(REPORTS / f"{name}.csv") as part:
            data.to_csv(part, index=name == "results")
    curves, profile = learning_curves(), pd.read_csv(REPORTS / "profile.csv")
    charts = {
        "accuracy_latency": figures.accuracy_latency(
            table, settings.sla_percentile, settings.sla_ms
        ),
        "distribution": figures.distributions(
            answered[answered["variant"] != CONTROL], settings.sla_ms
        ),
        "learning": figures.learning_curves(curves),
        "length": figures.latency_by_length(sweep),
        "batch": figures.throughput_by_batch(sweep),
        "profile": figures.time_by_kind(profile),
    }
    for name, chart in charts.items():
        with atomic_file(REPORTS / f"{name}.svg") as part:
            chart.save(part)
    text = page(
        table, control, sweep, curves, profile, verdict, settings.sla_percentile, config.benchmark
    )
    write_text(REPORTS / "results.md", text)
    write_text(REPORTS / "index.html", html(text, charts))
    write_json(REPORTS / "metrics.json", metrics(table, settings.sla_percentile))
    return f"{REPORTS}: {headline(table)}"


def learning_curves() -> pd.DataFrame:
    """Return the epochs of both trainings: model, epoch, validation_accuracy and the losses."""
    stages = {"teacher": "finetune", "student": "distill"}
    tables = [
        pd.read_csv(REPORTS / f"{stage}.csv").assign(model=model) for model, stage in stages.items()
    ]
    return pd.concat(tables)


def metrics(table: pd.DataFrame, percentile: int) -> dict[str, dict[str, float]]:
    """Return the metrics for `dvc metrics`: a summary, then one object a variant.

    Few and rounded, so that a diff shows what a change did: latencies, which drift with the
    machine, to two digits, and with them the speed-up over the teacher in PyTorch, which is paired
    within the run and drifts less.
    """
    best = table.loc[BEST]
    columns = {
        "accuracy": ("accuracy", 1, ".4f"),
        "macro_f1": ("macro_f1", 1, ".4f"),
        "validation_accuracy": ("validation_accuracy", 1, ".4f"),
        "speedup": ("test_label_speedup", 1, ".2g"),
        f"p{percentile}_ms": (SLA_LATENCY.format(percentile), 1, ".2g"),
        "parameters_m": ("parameters", 1e6, ".1f"),
        "size_mb": ("size_mb", 1, ".1f"),
    }
    return {
        "summary": {
            "latency_reduction": round(1 - 1 / best["post_model_speedup"], 3),
            "accuracy_retained": round(best["accuracy_retained"], 4),
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
