"""The tables of the report and of the model card: a list of columns each."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from operator import or_
from pathlib import Path

import pandas as pd

from stages.core.engines.variant import Variant
from stages.core.launch.errors import printable
from stages.core.reporting.latency import Estimate
from stages.core.reporting.results import BASELINE, MEASURES, SLA_LATENCY, SPEED

# What the post reports of each of its steps; its own table leaves one out.
POST = pd.read_csv(Path(__file__).parent / "post" / "steps.csv", index_col="variant")
EXCERPT = 160  # characters of a text in a table


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    source: str | Callable[[pd.DataFrame], Iterable]  # a column of the data, or a function of them
    format: str = "{}"
    unit: float = 1  # what values are divided by
    interval: bool = False  # whether to show source_low and source_high
    optional: bool = False  # whether to leave it out where the data lack it

    def cells(self, data: pd.DataFrame) -> list[str]:
        """Return its cells; those of missing values are empty."""
        if self.interval:
            return interval(data, str(self.source), self.format).tolist()
        values = data[self.source] if isinstance(self.source, str) else self.source(data)
        return [
            ""
            if pd.isna(value)
            else self.format.format(value if self.unit == 1 else value / self.unit)
            for value in values
        ]


def render(data: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table of strings, with the index of the data."""
    shown = [each for each in columns if not each.optional or each.source in data]
    return pd.DataFrame({each.title: each.cells(data) for each in shown}, index=data.index)


def markdown(rows: pd.DataFrame) -> str:
    """Return a table of strings as Markdown, without its index."""
    return rows.to_markdown(index=False, disable_numparse=True)


def literal(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|&~$])", r"\\\1", printable(text))


def excerpt(text: str) -> str:
    """Return the beginning of a text as Markdown."""
    return literal(text if len(text) <= EXCERPT else text[: EXCERPT - 1].rstrip() + "…")


def interval(table: pd.DataFrame, name: str, form: str) -> pd.Series:
    """Return an estimate and its interval as text."""
    ends = [table[f"{name}{end}"].map(form.format) for end in ("", "_low", "_high")]
    return ends[0] + " (" + ends[1] + "–" + ends[2] + ")"


def titles(table: pd.DataFrame) -> pd.Series:
    """Return the names of the variants in the index for people."""
    return table.index.to_series().map(lambda name: Variant.named(name).title)


def _answers(data: pd.DataFrame, answer: str, confidence: str) -> list[str]:
    pairs = zip(data[answer], data[confidence], strict=True)
    return [f"{literal(name)} ({share:.1%})" for name, share in pairs]


VARIANT = Column("Variant", titles)
PARAMETERS = Column("Params", "parameters", "{:.3g}M", 1e6)

BESIDE_THE_POST = (
    Column("Model", "label"),
    PARAMETERS,
    Column("Test accuracy", "accuracy", "{:.1%}"),
    Column("Latency", "ms", "{:.3g} ms"),
)
STEPS = (
    Column("Step", "step"),
    Column("ms (post)", "ms", "{:.3g}"),
    Column("Less (post)", lambda data: 1 - data["ms"] / data["ms"].shift(), "{:.0%}"),
    Column("ms (here)", "here", "{:.3g}"),
    Column("Less (here)", lambda data: 1 - data["here"] / data["here"].shift(), "{:.0%}"),
)
EVERY_VARIANT = (
    Column("Variant", lambda table: titles(table) + ": " + table["label"]),
    PARAMETERS,
    Column("Test accuracy", "accuracy", "{:.1%}"),
    Column("Retained", "accuracy_retained", "{:.1%}"),
    Column("mean", "test_label_mean_ms", "{:.2f}"),
    Column("p50", "test_label_p50_ms", "{:.2f}"),
    Column("p95", "test_label_p95_ms", "{:.2f}", optional=True),
    Column("p99", "test_label_p99_ms", "{:.2f}", optional=True),
    Column("× PyTorch", "test_label_speedup", "{:.1f}"),
    Column("× ONNX", "test_label_speedup_onnx", "{:.1f}", optional=True),
    Column("Size", "size_mb", "{:.0f} MB"),
    Column("Memory", "peak_mb", "{:.0f} MB"),
)
LEARNING = (
    Column("Model", "model"),
    Column("Epoch", "epoch", "{:.0f}"),
    Column("Training loss", "train_loss", "{:.3f}"),
    Column("Validation loss", "validation_loss", "{:.3f}"),
    Column("Validation accuracy", "validation_accuracy", "{:.1%}"),
)
MISTAKES = (
    Column("Text", lambda data: data["text"].map(excerpt)),
    Column("Label", lambda data: data["label"].map(literal)),
    Column("Student", lambda data: _answers(data, "answer", "confidence")),
    Column("Teacher", lambda data: _answers(data, "label", "teacher_confidence")),
)
CARD = (
    Column("Test accuracy", "accuracy", "{:.1%}", interval=True),
    Column("Macro F1 (test)", "macro_f1", "{:.3f}"),
    Column("Mean latency, text to label", "test_label_mean_ms", "{:.2f} ms"),
    PARAMETERS,
    Column("Size", "size_mb", "{:.0f} MB"),
    Column("Peak memory", "peak_mb", "{:.0f} MB"),
)


def accuracies(table: pd.DataFrame) -> list[Column]:
    """Return the columns of the scores on the test split, of which some are named by class."""
    recalls = [
        Column(f"Recall, {literal(name)}", f"recall_{name}", "{:.1%}") for name in classes(table)
    ]
    return [
        VARIANT,
        Column("Accuracy", "accuracy", "{:.1%}", interval=True),
        Column("Macro F1", "macro_f1", "{:.3f}", interval=True),
        *recalls,
        Column("Brier", "brier", "{:.3f}"),
        Column("Retained", "accuracy_retained", "{:.1%}", interval=True),
        Column("Agreement", "agreement", "{:.1%}"),
        Column("Better", "better"),
        Column("Worse", "worse"),
        Column("McNemar p", "p_value", "{:.2g}"),
    ]


def classes(table: pd.DataFrame) -> list[str]:
    """Return the names of the classes (columns of results.csv)."""
    recalls = table.columns[table.columns.str.startswith("recall_")]
    return recalls.str.removeprefix("recall_").tolist()


def choices(percentile: int) -> list[Column]:
    """Return the columns of the verdict on each variant."""
    return [
        VARIANT,
        Column("× PyTorch", SPEED, "{:.1f}", interval=True),
        Column(f"p{percentile}, text to label", SLA_LATENCY.format(percentile), "{:.2f} ms"),
        Column("Validation accuracy", "validation_accuracy", "{:.1%}"),
        Column("Kept", "validation_retained", "{:.1%}", interval=True),
        Column("Pareto front", lambda table: table["pareto_front"].map({True: "yes", False: ""})),
        Column("Verdict", lambda t: t["verdict"].mask(t["recommended"], "**recommended**")),
    ]


def latencies(table: pd.DataFrame) -> pd.DataFrame:
    """Return the statistics of single requests, those of one measure in one column."""

    def joined(measure: str, data: pd.DataFrame) -> pd.Series:
        found = data.filter(regex=rf"^{measure}_(mean|p50|p95|p99)_ms$")
        return found.apply(lambda row: " / ".join(f"{ms:.2f}" for ms in row), axis=1)

    columns = [Column(title, partial(joined, measure)) for measure, title in MEASURES.items()]
    return render(table, [VARIANT, *columns])


def speedups(table: pd.DataFrame, control: dict[str, Estimate], twin: str) -> pd.DataFrame:
    """Return how many times faster each variant is than the baseline, and the control's row."""
    values = [each.columns(f"{measure}_speedup") for measure, each in control.items()]
    last = pd.DataFrame(reduce(or_, values), index=["control"])
    columns = [
        Column(title, f"{measure}_speedup", "{:#.4g}", interval=True)
        for measure, title in MEASURES.items()
    ]
    rows = render(pd.concat([table.drop(BASELINE), last]), [VARIANT, *columns])
    rows.loc["control", VARIANT.title] = f"control: {Variant.named(twin).title} against itself"
    return rows


def beside_the_post(table: pd.DataFrame) -> pd.DataFrame:
    """Return the post's table with our row under each of its, for the variants that we have."""
    post = POST.dropna().filter(table.index, axis="index")
    ours = table.assign(ms=table["post_model_mean_ms"]).loc[post.index]
    theirs = render(post.assign(label=post["label"] + " (post)"), BESIDE_THE_POST)
    rows = [theirs, render(ours, BESIDE_THE_POST).map("**{}**".format)]
    order = {name: place for place, name in enumerate(post.index)}
    return pd.concat(rows).sort_index(kind="stable", key=lambda names: names.map(order))


def step_by_step(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean latency after each of the post's steps that we have, and what it saves."""
    steps = POST.filter(table.index, axis="index")
    return render(steps.assign(here=table["post_model_mean_ms"]), STEPS)


def time_by_kind(profile: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each kind of operator in a variant's time, one row a kind."""
    ms = profile.pivot_table("ms", "kind", "variant", "sum", sort=False, fill_value=0)
    return _wide(ms / ms.sum(), "{:.0%}")


def by_length(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return the latency of one text, one row a text length."""
    single = sweep[(sweep["batch"] == 1) & (sweep["length"] > 0)].rename(
        columns={"length": "tokens"}
    )
    return _wide(_pivoted(single, "tokens", "ms"), "{:.2f}")


def by_batch(sweep: pd.DataFrame) -> pd.DataFrame:
    """Return the throughput of real sentences, one row a batch size, with the share of padding."""
    real = sweep[sweep["length"] == 0]
    padding = real.groupby("batch")["padding"].mean().map("{:.0%}".format)
    table = _wide(_pivoted(real, "batch", "texts_per_second"), "{:.0f}")
    table.insert(1, "padding", table["batch"].map(padding))
    return table


def _pivoted(table: pd.DataFrame, index: str, values: str) -> pd.DataFrame:
    return table.pivot_table(values, index, "variant", sort=False, observed=True).sort_index()


def _wide(table: pd.DataFrame, form: str) -> pd.DataFrame:
    columns = {name: Variant.named(name).title for name in table.columns}
    return table.map(form.format).rename(columns=columns).reset_index()
