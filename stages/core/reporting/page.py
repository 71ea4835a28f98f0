"""The results as a page of text: results.md."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import StrictUndefined, Template

from stages.core.launch.paths import BENCHMARK, MACHINE, spoken
from stages.core.launch.settings import BenchmarkConfig
from stages.core.reporting.latency import Estimate
from stages.core.reporting.results import (
    BASELINE,
    BEST,
    MEASURES,
    SLA_LATENCY,
    bottleneck,
    gathered,
)
from stages.core.reporting.verdict import Verdict

TEMPLATE = Path(__file__).parent / "templates" / "results.md.jinja"
# What the post reports: its table, and its latencies step by step.
POST_TABLE = Path(__file__).parent / "post" / "table.csv"
POST_STEPS = Path(__file__).parent / "post" / "steps.csv"
CONTROL_BOUND = 0.03  # the control may differ from its twin by so much
PACE_BOUND = 0.15  # the headline's speed-up may be uncertain by so much
OTHERS_BOUND = 0.05  # other programs may take so much of the machine meanwhile
STOLEN_BOUND = 0.02  # and its host may withhold so much of it


def page(
    table: pd.DataFrame,
    control: dict[str, Estimate],
    sweep: pd.DataFrame,
    curves: pd.DataFrame,
    profile: pd.DataFrame,
    verdict: Verdict,
    percentile: int,
    settings: BenchmarkConfig,
) -> str:
    """Return results.md.

    Args:
        table: `results.variants`, with pareto_front.
        control: `results.control`.
        sweep: `results.sweep`.
        curves: `report.learning_curves`.
        profile: profile.csv.
        verdict: what is recommended.
        percentile: of the latency that the verdict is on.
        settings: of the benchmark.
    """
    conditions, workers = (
        json.loads((BENCHMARK / f"{name}.json").read_text()) for name in ("conditions", "workers")
    )
    threads, cores = (
        ", ".join(sorted({str(told[key]) for told in workers.values()}))
        for key in ("threads", "cores")
    )
    tables = {
        "beside_the_post": beside_the_post(table),
        "step_by_step": step_by_step(table),
        "every_variant": every_variant(table),
        "choices": choices(table, verdict, percentile),
        "latencies": latencies(table),
        "speedups": speedups(table, control, settings.control),
        "accuracies": accuracies(table),
        "learning": by_epoch(curves),
        "time_by_kind": time_by_kind(profile),
        "by_length": by_length(sweep),
        "by_batch": by_batch(sweep),
    }
    means = table["post_model_mean_ms"]
    template = Template(TEMPLATE.read_text(), undefined=StrictUndefined, keep_trailing_newline=True)
    return template.render(
        {
            name: rows.to_markdown(index=False, disable_numparse=True)
            for name, rows in tables.items()
        },
        warnings=warnings(conditions, control, gathered(table.loc[BEST], "post_model_speedup")),
        headline=headline(table),
        verdict=verdict,
        less_by_means=1 - means[BEST] / means[BASELINE],
        fewest_calls=sweep["calls"].min(),
        test_texts=table.loc[BASELINE, "test_texts"],
        bottlenecks=bottlenecks(table, profile),
        settings=settings,
        machine=json.loads(MACHINE.read_text()),
        conditions=conditions,
        threads=threads,
        cores=cores,
    )


def warnings(found: dict[str, Any], control: dict[str, Estimate], best: Estimate) -> str:
    """Return a block that says why not to trust the measurement; empty, if nothing does.

    Args:
        found: `conditions.conditions`.
        control: `results.control`.
        best: the headline's speed-up.
    """
    texts = [
        f"the control differs from its twin by {estimate.value - 1:+.1%} on the "
        f"{MEASURES[measure]}, more than {CONTROL_BOUND:.0%}"
        for measure, estimate in control.items()
        if abs(estimate.value - 1) > CONTROL_BOUND
    ]
    if best.high / best.low > 1 + PACE_BOUND:
        texts.append(
            f"{spoken(BEST)} is {best.low:.1f} to {best.high:.1f} times faster than the teacher in "
            f"PyTorch: one of the two changed its pace during the run"
        )
    texts += disturbances(found["others_share"])
    if found["stolen_share"] > STOLEN_BOUND:
        texts.append(f"the host withheld {found['stolen_share']:.0%} of the machine meanwhile")
    if found["throttled_periods"]:
        texts.append(f"a CPU quota ({found['cpu_quota']}) stopped the measurement now and then")
    if found["governor"] not in (None, "performance"):
        texts.append(f"the CPU's frequency governor is {found['governor']}, not performance")
    if found["on_battery"]:
        texts.append("the machine ran on its battery")
    return block(texts)


def disturbances(others_share: float) -> list[str]:
    """Return what to warn of if other programs took too much of the machine."""
    if others_share <= OTHERS_BOUND:
        return []
    return [f"other programs took {others_share:.0%} of the machine meanwhile"]


def block(texts: list[str]) -> str:
    """Return warnings as Markdown."""
    return "".join(f"> **Warning**: {text}.\n\n" for text in texts)


def headline(table: pd.DataFrame) -> str:
    """Return the experiment's result in one sentence."""
    best = table.loc[BEST]
    faster, retained = gathered(best, "post_model_speedup"), gathered(best, "accuracy_retained")
    post_ms = pd.read_csv(POST_STEPS)["ms"]
    post_accuracy = pd.read_csv(POST_TABLE)["accuracy"].str.rstrip("%").astype(float)
    return (
        f"{1 - 1 / faster.value:.1%} less latency "
        f"({1 - 1 / faster.low:.1%} to {1 - 1 / faster.high:.1%}; the post: "
        f"{1 - post_ms.iloc[-1] / post_ms.iloc[0]:.0%}), "
        f"{retained.value:.1%} of the accuracy "
        f"({retained.low:.1%} to {retained.high:.1%}; the post: "
        f"{post_accuracy.iloc[-1] / post_accuracy.iloc[0]:.0%})"
    )


def names(table: pd.DataFrame) -> pd.Series:
    """Return what the rows are called in a table."""
    return table.index.to_series().map(spoken)


def literal(name: str) -> str:
    """Return a name as Markdown that shows it, whatever it holds."""
    return re.sub(r"([\\`*_{}\[\]<>|&~$])", r"\\\1", name)


def interval(table: pd.DataFrame, name: str, form: str) -> pd.Series:
    """Return an estimate and its interval as text."""
    ends = [table[f"{name}{end}"].map(form.format) for end in ("", "_low", "_high")]
    return ends[0] + " (" + ends[1] + "–" + ends[2] + ")"


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
                f"**{ours['post_model_mean_ms']:.2f}ms**",
            )
        )
    return pd.DataFrame(rows, columns=["Model", "Params", "Accuracy", "Latency"])


def step_by_step(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean latency after each of the post's steps, and what the step took off it."""
    steps = pd.read_csv(POST_STEPS)
    columns = {"Step": steps["step"]}
    ours = steps["variant"].map(table["post_model_mean_ms"])
    for name, ms in ("post", steps["ms"]), ("here", ours):
        columns[f"ms ({name})"] = ms.map("{:.3g}".format)
        columns[f"Less ({name})"] = (1 - ms / ms.shift()).map("{:.0%}".format, na_action="ignore")
    return pd.DataFrame(columns).fillna("")


def every_variant(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of all variants."""
    statistics = [
        name for name in ("mean", "p50", "p95", "p99") if f"test_label_{name}_ms" in table
    ]
    return pd.DataFrame(
        {
            "Variant": names(table) + ": " + table["label"],
            "Params": (table["parameters"] / 1e6).map("{:.1f}M".format),
            "Accuracy": table["accuracy"].map("{:.1%}".format),
            "Retained": table["accuracy_retained"].map("{:.1%}".format),
            **{name: table[f"test_label_{name}_ms"].map("{:.2f}".format) for name in statistics},
            "× PyTorch": table["test_label_speedup"].map("{:.1f}".format),
            "× ONNX": table["test_label_speedup_onnx"].map("{:.1f}".format),
            "Size": table["size_mb"].map("{:.0f} MB".format),
            "Memory": table["peak_mb"].map("{:.0f} MB".format),
        }
    )


def choices(table: pd.DataFrame, verdict: Verdict, percentile: int) -> pd.DataFrame:
    """Return what the verdict says of each variant, the fastest first."""
    latency = SLA_LATENCY.format(percentile)
    table = table.sort_values(latency)
    return pd.DataFrame(
        {
            "Variant": names(table),
            f"p{percentile}, text to label": table[latency].map("{:.2f} ms".format),
            "Validation accuracy": table["validation_accuracy"].map("{:.1%}".format),
            "Kept": interval(table, "validation_retained", "{:.1%}"),
            "Pareto front": table["pareto_front"].map({True: "yes", False: ""}),
            "Verdict": table.index.map(verdict.reasons),
        }
    )


def latencies(table: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics of single requests."""
    columns = {"Variant": names(table)}
    for measure, title in MEASURES.items():
        found = table.filter(regex=rf"^{measure}_(mean|p50|p95|p99)_ms$")
        columns[title] = found.apply(
            lambda row: " / ".join(f"{ms:.2f}" for ms in row.dropna()), axis=1
        )
    return pd.DataFrame(columns)


def speedups(table: pd.DataFrame, control: dict[str, Estimate], twin: str) -> pd.DataFrame:
    """Return how many times faster each variant is than the baseline, and the control's row."""
    faster = table.drop(BASELINE)
    rows = pd.DataFrame(
        {"Variant": names(faster)}
        | {
            title: interval(faster, f"{measure}_speedup", "{:.2f}")
            for measure, title in MEASURES.items()
        }
    )
    rows.loc["control"] = [
        f"control: {spoken(twin)} against itself",
        *(f"{e.value:.3f} ({e.low:.3f}–{e.high:.3f})" for e in control.values()),
    ]
    return rows


def accuracies(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the predictions of the test split say."""
    recalls = table.filter(regex="^recall_")
    return pd.DataFrame(
        {
            "Variant": names(table),
            "Accuracy": interval(table, "accuracy", "{:.1%}"),
            "Macro F1": interval(table, "macro_f1", "{:.3f}"),
            **{
                f"Recall, {literal(name.removeprefix('recall_'))}": recalls[name].map(
                    "{:.1%}".format
                )
                for name in recalls
            },
            "Brier": table["brier"].map("{:.3f}".format),
            "Retained": interval(table, "accuracy_retained", "{:.1%}"),
            "Agreement": table["agreement"].map("{:.1%}".format),
            "Better / worse": table["better"].astype(str) + " / " + table["worse"].astype(str),
            "McNemar p": table["p_value"].map("{:.2g}".format),
        }
    )


def by_epoch(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the learning curves, a row an epoch of a model."""
    return pd.DataFrame(
        {
            "Model": curves["model"],
            "Epoch": curves["epoch"].map("{:.0f}".format),
            "Training loss": curves["train_loss"].map("{:.3f}".format),
            "Validation loss": curves["validation_loss"].map("{:.3f}".format),
            "Validation accuracy": curves["validation_accuracy"].map("{:.1%}".format),
        }
    )


def time_by_kind(profile: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each kind of operator in a variant's time, a row a kind."""
    ms = profile.pivot_table("ms", "kind", "variant", "sum", sort=False, fill_value=0)
    shares = (ms / ms.sum()).map("{:.0%}".format)
    return shares.rename(columns=spoken).reset_index()


def by_length(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return the latency of one text, a row a text length."""
    single = sweep[(sweep["batch"] == 1) & (sweep["length"] > 0)]
    return _pivoted(single, "length", "ms", "{:.2f}").rename(columns={"length": "tokens"})


def by_batch(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return the throughput of real sentences, a row a batch size, with the share of padding."""
    real = sweep[sweep["length"] == 0]
    padding = real.groupby("batch")["padding"].mean().map("{:.0%}".format)
    table = _pivoted(real, "batch", "texts_per_second", "{:.0f}")
    table.insert(1, "padding", table["batch"].map(padding))
    return table


def _pivoted(table: pd.DataFrame, index: str, values: str, form: str) -> pd.DataFrame:
    wide = table.pivot_table(values, index, "variant", sort=False, observed=True).sort_index()
    return wide.map(form.format).rename(columns=spoken).reset_index()


def bottlenecks(table: pd.DataFrame, profile: pd.DataFrame) -> str:
    """Return a line a variant that says what takes most of its time."""
    slowdowns = profile.groupby("variant")["slowdown"].first()
    return block(disturbances(profile["others_share"].max())) + "\n".join(
        f"- {bottleneck(profile, variant)} (the profiler made it {slowdowns[variant]:.1f}× slower)."
        for variant in table.index
    )
