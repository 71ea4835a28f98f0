"""Put the table together: beside the post's, then every variant; and the metrics and the figure."""

import json
from pathlib import Path
from typing import Annotated

import altair as alt
import pandas as pd
from pydantic import Field
from pydantic.dataclasses import dataclass

from stages.benchmark import BenchmarkConfig
from stages.core.app import launch
from stages.core.config import STRICT
from stages.core.files import whole_file, write_json, write_text
from stages.core.layout import BENCHMARK, EVALUATION, MACHINE, REPORTS, VARIANTS
from stages.core.statistics import summarise
from stages.core.variant import label, parameters, size_mb

# What the post reports: its table, and its latencies step by step.
POST_TABLE = Path(__file__).parent / "core" / "post_table.csv"
POST_STEPS = Path(__file__).parent / "core" / "post_steps.csv"
BASELINE, ONNX_BASELINE, BEST = "teacher_pytorch", "teacher_onnx", "student_int8"


@dataclass(config=STRICT)
class ReportConfig:
    """Settings of the report."""

    sla_ms: Annotated[float, Field(gt=0)]


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    benchmark: BenchmarkConfig
    report: ReportConfig


def run(config: Config) -> str:
    """Write reports/: results.md, results.csv, metrics.json and accuracy_latency.svg."""
    sla = config.report.sla_ms
    table = results(sla)
    metrics = nested(table)
    with whole_file(REPORTS / "results.csv") as part:
        table.round(4).to_csv(part)
    write_text(REPORTS / "results.md", page(table, metrics["summary"], config))
    with whole_file(REPORTS / "accuracy_latency.svg") as part:
        figure(table, sla).save(part)
    write_json(REPORTS / "metrics.json", metrics)
    return f"{REPORTS}: {headline(metrics['summary'])}"


def results(sla_ms: float) -> pd.DataFrame:
    """Return one row a variant, with what was measured and what follows from it.

    Accuracies and shares are from 0 to 1, latencies in ms at batch 1, from token ids to logits.
    """
    samples = pd.read_parquet(BENCHMARK / "samples.parquet")
    loading = json.loads((BENCHMARK / "workers.json").read_text())
    rows = {}
    for variant in VARIANTS:
        ours = samples[samples["variant"] == variant]
        latency = {name: ours.loc[ours["workload"] == name, "ms"] for name in ("post", "test")}
        scores = json.loads((EVALUATION / variant / "scores.json").read_text())
        rows[variant] = {
            "label": label(variant),
            "parameters": parameters(variant),
            "accuracy": scores["test"]["accuracy"],
            "macro_f1": scores["test"]["macro_f1"],
            "test_texts": scores["test"]["texts"],
            "validation_accuracy": scores["validation"]["accuracy"],
            "post_ms": float(latency["post"].mean()),
            **{f"{name}_ms": value for name, value in summarise(latency["test"]).items()},
            "size_mb": size_mb(variant),
            "load_ms": loading[variant]["load_ms"],
            "first_call_ms": loading[variant]["first_call_ms"],
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("variant")
    table["accuracy_retained"] = table["accuracy"] / table.loc[BASELINE, "accuracy"]
    table["speedup"] = table.loc[BASELINE, "mean_ms"] / table["mean_ms"]
    table["speedup_over_onnx"] = table.loc[ONNX_BASELINE, "mean_ms"] / table["mean_ms"]
    table["sla_met"] = table[latencies(table)[-1]] <= sla_ms
    return table


def latencies(table: pd.DataFrame) -> list[str]:
    """Return the latency columns, the highest percentile that the samples support last."""
    names = ("post_ms", "mean_ms", "p50_ms", "p95_ms", "p99_ms")
    return [name for name in names if name in table]


def nested(table: pd.DataFrame) -> dict[str, dict]:
    """Return the metrics for `dvc metrics`: a short summary, then one object a variant."""
    best, baseline = table.loc[BEST], table.loc[BASELINE]
    metrics: dict[str, dict] = {
        "summary": {
            "latency_reduction": round(1 - best["post_ms"] / baseline["post_ms"], 4),
            "accuracy_retained": round(best["accuracy_retained"], 4),
        }
    }
    for variant, row in table.iterrows():
        latency = {name.removesuffix("_ms"): round(row[name], 3) for name in latencies(table)}
        metrics[str(variant)] = {
            "accuracy": round(row["accuracy"], 4),
            "macro_f1": round(row["macro_f1"], 4),
            "validation_accuracy": round(row["validation_accuracy"], 4),
            "latency_ms": latency,
            "parameters_m": round(row["parameters"] / 1e6, 1),
            "size_mb": round(row["size_mb"], 1),
        }
    return metrics


def headline(summary: dict[str, float]) -> str:
    """Return the experiment's result in one sentence."""
    return (
        f"{summary['latency_reduction']:.1%} less latency (the post: 92%), "
        f"{summary['accuracy_retained']:.1%} of the accuracy (the post: 98%)"
    )


def page(table: pd.DataFrame, summary: dict[str, float], config: Config) -> str:
    """Return results.md."""
    settings, sla_ms = config.benchmark, config.report.sla_ms
    machine = json.loads(MACHINE.read_text())
    accuracy, texts = table.loc[BASELINE, ["accuracy", "test_texts"]]
    margin = 1.96 * (accuracy * (1 - accuracy) / texts) ** 0.5
    tail = latencies(table)[-1].removesuffix("_ms")
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return f"""# Results

{headline(summary)}, from the fine-tuned teacher in PyTorch to the distilled student in INT8.

## Beside the post

{beside_the_post(table).to_markdown(index=False, disable_numparse=True)}

Latency is the post's measure: the mean of {settings.rounds * settings.calls} calls with its one
sentence, batch 1, from token ids to logits. Our rows are of another model on another machine;
what compares is the way from the first row to the third:

{step_by_step(table).to_markdown(index=False, disable_numparse=True)}

## Every variant

{every_variant(table, sla_ms).to_markdown(index=False, disable_numparse=True)}

Accuracy is on the {texts:.0f} texts of the test split: one of these figures alone is known to
±{margin:.1%} (95 %). Latency is of test sentences at their true lengths, batch 1, from token ids to
logits, in ms. ONNX Runtime runs without its SkipLayerNormalization fusion. The SLA is
{sla_ms:g} ms, held against the {tail}.

![Accuracy against latency](accuracy_latency.svg)

## Measured on

{machine["cores"]} cores of {machine["cpu"]} ({", ".join(machine["instruction_sets"])}),
{machine["memory_gib"]} GiB of memory, {machine["system"]}, {settings.threads} threads for every
variant. Python {machine["python"]}, {packages}.
"""


def beside_the_post(table: pd.DataFrame) -> pd.DataFrame:
    """Return the post's table with our row under each of its."""
    rows = []
    for post in pd.read_csv(POST_TABLE).itertuples():
        ours = table.loc[post.variant]
        rows.append((f"{post.model} (post)", post.params, post.accuracy, post.latency))
        rows.append(
            (
                f"**{ours['label']}**",
                f"**{ours['parameters'] / 1e6:.1f}M**",
                f"**{ours['accuracy']:.1%}**",
                f"**{ours['post_ms']:.2f}ms**",
            )
        )
    return pd.DataFrame(rows, columns=["Model", "Params", "Accuracy", "Latency"])


def step_by_step(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean latency after each of the post's steps, and what the step took off it."""
    steps = pd.read_csv(POST_STEPS)
    columns = {"Step": steps["step"]}
    for name, ms in ("post", steps["ms"]), ("here", steps["variant"].map(table["post_ms"])):
        columns[f"ms ({name})"] = ms.map("{:.3g}".format)
        columns[f"Less ({name})"] = (1 - ms / ms.shift()).map("{:.0%}".format, na_action="ignore")
    return pd.DataFrame(columns).fillna("")


def every_variant(table: pd.DataFrame, sla_ms: float) -> pd.DataFrame:
    """Return the table of all variants, formatted for people."""
    columns = {name.removesuffix("_ms"): table[name] for name in latencies(table)[1:]}
    return pd.DataFrame(
        {
            "Variant": table.index.str.replace("_", " ") + ": " + table["label"],
            "Params": (table["parameters"] / 1e6).map("{:.1f}M".format),
            "Accuracy": table["accuracy"].map("{:.1%}".format),
            "Retained": table["accuracy_retained"].map("{:.1%}".format),
            **{name: column.map("{:.2f}".format) for name, column in columns.items()},
            "× PyTorch": table["speedup"].map("{:.1f}".format),
            "× ONNX": table["speedup_over_onnx"].map("{:.1f}".format),
            "Size": table["size_mb"].map("{:.0f} MB".format),
            f"SLA {sla_ms:g} ms": table["sla_met"].map({True: "met", False: "missed"}),
        }
    )


def figure(table: pd.DataFrame, sla_ms: float) -> alt.LayerChart:
    """Return accuracy against latency, every variant a point, the SLA a line."""
    data = table.reset_index()[["label", "accuracy", "mean_ms"]]
    base = alt.Chart(data).encode(
        x=alt.X("mean_ms:Q", title="mean latency, ms (log)").scale(type="log", padding=30),
        y=alt.Y("accuracy:Q", title="test accuracy").scale(zero=False, padding=15).axis(format="%"),
    )
    points = base.mark_point(filled=True, size=90).encode(
        color=alt.Color("label:N", title=None, sort=None),
        shape=alt.Shape("label:N", title=None, sort=None),
    )
    sla = alt.Chart(pd.DataFrame({"mean_ms": [sla_ms]})).mark_rule(strokeDash=[4, 4])
    name = sla.mark_text(align="right", dx=-4, y=10).encode(text=alt.value(f"SLA {sla_ms:g} ms"))
    x = alt.X("mean_ms:Q")
    return (points + sla.encode(x=x) + name.encode(x=x)).properties(
        width=520, height=300, title="Accuracy against latency"
    )


if __name__ == "__main__":
    launch(run, Config)
