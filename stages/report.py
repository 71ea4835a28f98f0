"""Combine everything into reports: tables, metrics, figures and the verdict."""

import pandas as pd

from stages.core.launch.atomic import atomic_file, write_json, write_text
from stages.core.launch.command import launch
from stages.core.launch.errors import read_json
from stages.core.launch.paths import BENCHMARK, CURVES, MACHINE, REPORTS
from stages.core.launch.settings import CONTROL, Settings
from stages.core.measuring.samples import check_variants, load_samples, of_measure
from stages.core.reporting import figures, results
from stages.core.reporting.accuracy import mistakes
from stages.core.reporting.html import render
from stages.core.reporting.latency import speedup
from stages.core.reporting.page import Findings, headline, hero, page
from stages.core.reporting.results import BASELINE, HEADLINE_SPEED, SLA_LATENCY, SPEED
from stages.core.reporting.verdict import recommend, summary
from stages.core.serving.variant import Variant, variants


def run(config: Settings) -> str:
    """Write reports/: results.md, index.html, results.csv, sweep.csv, metrics.json, the figures.

    Raises:
        InputError: samples are of other variants than those of `forms`.
    """
    served = variants(config.forms)
    names = [variant.name for variant in served]
    samples, profile = load_samples(names), pd.read_csv(REPORTS / "profile.csv")
    load = pd.read_csv(REPORTS / "load.csv")
    for file, table in ("profile.csv", profile), ("load.csv", load):
        check_variants(f"{REPORTS}/{file}", table["variant"], names)
    test, validation = (results.load_predictions(names, each) for each in ("test", "validation"))
    control = results.control(samples, config.benchmark.control)
    noise = max(abs(estimate.value - 1) for estimate in control.values())
    parts = [
        results.artefacts(served),
        results.accuracies(test, validation, config.report.quality),
        results.latencies(samples, noise),
        results.capacities(load),
    ]
    table = pd.concat(parts, axis=1)
    answered = of_measure(samples[samples["variant"] != CONTROL], "test_label")
    table, tied = recommend(
        table, lambda *pair: speedup(answered, *pair).widened(noise), config.report
    )
    student = results.headliner(table)
    if Variant.named(student).model != "student":
        student = results.fastest_student(table)
    found = Findings(
        table=table,
        control=control,
        sweep=results.sweep(samples),
        curves=pd.concat(pd.read_csv(file).assign(model=role) for role, file in CURVES.items()),
        profile=profile,
        load=load,
        student=student,
        mistakes=mistakes(test[student], test[BASELINE]),
        summary=summary(table, tied, config.report),
        conditions=read_json(BENCHMARK / "conditions.json"),
        machine=read_json(MACHINE),
        config=config,
        data=read_json(REPORTS / "data.json"),
        made=read_json(REPORTS / "augmented.json"),
    )
    write(found, answered)
    return f"{REPORTS}: {headline(table)}"


def write(found: Findings, answered: pd.DataFrame) -> None:
    """Write all reports; `answered` are the samples from text to label, without the control's."""
    sla, percentile = found.config.report.sla_ms, found.config.report.sla_percentile
    charts = {
        "accuracy_latency": figures.accuracy_latency(found.table, percentile, sla),
        "distribution": figures.distributions(answered, sla),
        "load": figures.latency_by_rate(found.load, percentile, sla),
        "length": figures.latency_by_length(found.sweep),
        "batch": figures.throughput_by_batch(found.sweep),
        "profile": figures.time_by_kind(found.profile),
    }
    for name, data in ("results", found.table.reset_index()), ("sweep", found.sweep):
        with atomic_file(REPORTS / f"{name}.csv") as part:
            data.round(4).to_csv(part, index=False)
    for name, chart in charts.items():
        with atomic_file(REPORTS / f"{name}.svg") as part:
            chart.save(part)
    text = page(found)
    write_text(REPORTS / "results.md", text)
    write_text(REPORTS / "index.html", render(text, charts, hero(found.table)))
    write_json(REPORTS / "metrics.json", metrics(found.table, percentile))


def metrics(table: pd.DataFrame, percentile: int) -> dict[str, dict[str, float]]:
    """Return the metrics for `dvc metrics`: a summary of the headline, then one object per variant.

    Few and rounded, so that a diff shows the effect of a change: latencies, which drift with the
    machine, to two digits. Accuracies are metrics of the stage evaluate.
    """
    best = table.loc[results.headliner(table)]
    reduction, kept = 1 - 1 / best[HEADLINE_SPEED], best["accuracy_retained"]
    summary = {"latency_reduction": round(reduction, 3), "accuracy_retained": round(kept, 4)}
    latency = SLA_LATENCY.format(percentile)
    return {"summary": summary} | {
        str(variant): {
            "speedup": float(f"{row[SPEED]:.2g}"),
            f"p{percentile}_ms": float(f"{row[latency]:.2g}"),
            "requests_per_second": float(f"{row['single_rps']:.2g}"),
            "parameters_m": round(row["parameters"] / 1e6, 1),
            "size_mb": round(row["size_mb"], 1),
        }
        for variant, row in table.iterrows()
    }


if __name__ == "__main__":
    launch(run)
