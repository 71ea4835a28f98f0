"""The tables of the report and of the model card: a list of columns each."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from stages.core.launch.errors import printable
from stages.core.launch.settings import CONTROL
from stages.core.reporting.estimate import Estimate
from stages.core.reporting.results import BASELINE, MEASURES, SLA_LATENCY, SPEED, classes
from stages.core.serving.variant import Variant

# The figures that the post gives for each step; its own table omits one step.
POST = pd.read_csv(Path(__file__).parent / "post" / "steps.csv", index_col="variant")
MOST_CLASSES = 8  # with a column each
EXCERPT = 160  # characters of a text in a table


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    title: str
    source: str | Callable[[pd.DataFrame], pd.Series]  # a column of the data, or a function of them
    format: str = "{}"
    interval: bool = False  # whether to show source_low and source_high
    optional: bool = False  # whether to leave it out where the data lack it

    def cells(self, data: pd.DataFrame) -> list[str]:
        """Return its cells; those of missing values are empty."""
        if self.interval:
            names = [f"{self.source}{end}" for end in ("", "_low", "_high")]
            return [
                "{} ({}–{})".format(*map(self.format.format, row))
                for row in data[names].itertuples(index=False)
            ]
        values = data[self.source] if isinstance(self.source, str) else self.source(data)
        return ["" if pd.isna(value) else self.format.format(value) for value in values]


def render(data: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """Return a table of strings, with the index of the data."""
    shown = [each for each in columns if not each.optional or each.source in data]
    return pd.DataFrame({each.title: each.cells(data) for each in shown}, index=data.index)


def markdown(rows: pd.DataFrame) -> str:
    """Return a table of strings as Markdown, without its index; numbers are aligned right."""
    numbers = [rows[title].str.match(r"(\*\*|-)?\d|$").all() for title in rows]
    align = ["right" if number else "left" for number in numbers]
    return rows.to_markdown(index=False, disable_numparse=True, colalign=align)


def literal(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|&~$])", r"\\\1", printable(text))


def _titles(table: pd.DataFrame) -> pd.Series:
    return table.index.to_series().map(lambda name: Variant.named(name).title)


def _excerpts(data: pd.DataFrame) -> pd.Series:
    whole = data["text"].str.len() <= EXCERPT
    return data["text"].where(whole, data["text"].str[: EXCERPT - 1] + "…").map(literal)


def _answers(data: pd.DataFrame, answer: str, confidence: str) -> pd.Series:
    return data[answer].map(literal) + data[confidence].map(" ({:.1%})".format)


def _rates(data: pd.DataFrame, kind: str) -> pd.Series:
    rate, low, high = (data[f"{kind}_rps{end}"].map(per_second) for end in ("", "_low", "_high"))
    return (rate + " (" + low + "–" + high + ")").mask(data[f"{kind}_rps"] == 0, "none")


def share(value: float | None) -> str:
    """Return a share as a percentage; one that could not be measured is unknown."""
    return "unknown" if value is None else f"{value:.1%}"


def per_second(rate: float) -> str:
    """Return requests a second without digits that a measurement lacks."""
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"


VARIANT = Column("Variant", _titles)
PARAMETERS = Column("Params", lambda data: data["parameters"] / 1e6, "{:.3g}M")
ACCURACY = Column("Test accuracy", "accuracy", "{:.1%}")
SIZE = Column("Size", "size_mb", "{:.0f} MB")
RETAINED = Column("Accuracy kept", "accuracy_retained", "{:.1%}")
MEAN = Column("Mean ms", "test_label_mean_ms", "{:.2f}")
ACCURACY_INTERVAL = replace(ACCURACY, interval=True)
VALIDATION = Column("Validation accuracy", "validation_accuracy", "{:.1%}")
FASTER = Column("× PyTorch", SPEED, "{:.1f}", interval=True)

POST_ROWS = (
    *(Column("Model", "label"), PARAMETERS, ACCURACY, Column("Latency", "ms", "{:.3g} ms")),
    Column("Less", lambda data: 1 - data["ms"] / data["ms"].loc[BASELINE], "{:.1%}"),
    Column("Kept", lambda data: data["accuracy"] / data["accuracy"].loc[BASELINE], "{:.1%}"),
)
STEPS = (
    Column("Step", "step"),
    Column("ms (post)", "ms", "{:.3g}"),
    Column("Less (post)", lambda data: 1 - data["ms"] / data["ms"].shift(), "{:.0%}"),
    Column("ms (here)", "here", "{:.3g}"),
    Column("Less (here)", lambda data: 1 - data["here"] / data["here"].shift(), "{:.0%}"),
)
EVERY_VARIANT = (
    Column("Variant", lambda table: _titles(table) + ": " + table["label"]),
    PARAMETERS,
    ACCURACY,
    RETAINED,
    MEAN,
    Column("p50 ms", "test_label_p50_ms", "{:.2f}"),
    Column("p95 ms", "test_label_p95_ms", "{:.2f}", optional=True),
    Column("p99 ms", "test_label_p99_ms", "{:.2f}", optional=True),
    replace(FASTER, interval=False),
    SIZE,
    Column("Memory", "peak_mb", "{:.0f} MB"),
)
MISTAKES = (
    Column("Text", _excerpts),
    Column("Label", lambda data: data["label"].map(literal)),
    Column("Student", partial(_answers, answer="answer", confidence="confidence")),
    Column("Teacher", partial(_answers, answer="label", confidence="teacher_confidence")),
)
SPEEDUPS = (
    VARIANT,
    *(Column(t, f"{n}_speedup", "{:#.3g}", interval=True) for n, t in MEASURES.items()),
)
SPLITS = (
    Column("Split", lambda splits: splits.index.to_series()),
    Column("Texts", "rows", "{:.0f}"),
    Column("Most frequent class", "largest_class_share", "{:.1%}"),
    Column("Tokens, median", "tokens_p50", "{:.0f}"),
    Column("p99", "tokens_p99", "{:.0f}"),
    Column("Longer than the limit", "cut_share", "{:.2%}"),
)
LOAD = (
    VARIANT,
    Column("Requests a second, one by one", partial(_rates, kind="single")),
    Column("Trial, ms", "single_ms", "{:.1f}"),
    Column("In batches", partial(_rates, kind="batched")),
    Column("Trial in batches, ms", "batched_ms", "{:.1f}"),
    Column("Texts a second, offline", lambda data: data["offline_rps"].map(per_second)),
)
CARD = (
    ACCURACY_INTERVAL,
    Column("Macro F1 (test)", "macro_f1", "{:.3f}"),
    replace(MEAN, title="Mean latency, text to label", format="{:.2f} ms"),
    PARAMETERS,
    SIZE,
    Column("Peak memory", "peak_mb", "{:.0f} MB"),
)


def _recalls(names: list[str]) -> list[Column]:
    """Return one column per class or, for many, the lowest of them."""
    if len(names) <= MOST_CLASSES:
        return [Column(f"Recall, {literal(name)}", f"recall_{name}", "{:.1%}") for name in names]
    each = [f"recall_{name}" for name in names]
    return [Column("Lowest recall of a class", lambda table: table[each].min(axis=1), "{:.1%}")]


def accuracies(table: pd.DataFrame) -> list[Column]:
    """Return the columns of the scores on the test split, some of which are named by class."""
    return [
        VARIANT,
        Column("Accuracy", "accuracy", "{:.1%}", interval=True),
        Column("Macro F1", "macro_f1", "{:.3f}", interval=True),
        *_recalls(classes(table)),
        Column("Brier", "brier", "{:.3f}"),
        replace(RETAINED, interval=True),
        Column("Agreement", "agreement", "{:.1%}"),
        Column("Better", "better"),
        Column("Worse", "worse"),
        Column("McNemar p", "p_value", "{:.2g}"),
    ]


def choices(percentile: int, quality: str) -> list[Column]:
    """Return the columns of the verdict on each variant."""
    return [
        VARIANT,
        FASTER,
        Column(f"p{percentile}, text to label", SLA_LATENCY.format(percentile), "{:.2f} ms"),
        Column(f"Validation {quality}", "validation_quality", "{:.1%}"),
        Column("Kept", "validation_retained", "{:.2%}", interval=True),
        Column("Verdict", lambda t: t["verdict"].mask(t["recommended"], "**recommended**")),
    ]


def speedups(table: pd.DataFrame, control: dict[str, Estimate], twin: str) -> pd.DataFrame:
    """Return how many times faster each variant is than the baseline, and the control's row."""
    measured = table.drop(BASELINE)
    for name, each in control.items():
        measured.loc[CONTROL, [*each.columns(f"{name}_speedup")]] = [*each.columns("").values()]
    rows = render(measured, SPEEDUPS)
    rows.loc[CONTROL, VARIANT.title] = f"control: {Variant.named(twin).title} against itself"
    return rows


def beside_the_post(table: pd.DataFrame) -> pd.DataFrame:
    """Return the post's table with our row under each of its, and the recommended variant's."""
    post = POST.dropna().filter(table.index, axis="index")
    chosen = table.index[table["recommended"]].difference(post.index)
    theirs = render(post.assign(label=post["label"] + " (post)"), POST_ROWS)
    ours = render(table.assign(ms=table["post_model_mean_ms"]), POST_ROWS)
    return pd.concat([theirs, ours.map("**{}**".format)]).loc[[*post.index, *chosen]]


def step_by_step(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean latency after each of the post's steps that we have, and what it saves."""
    steps = POST.filter(table.index, axis="index")
    return render(steps.assign(here=table["post_model_mean_ms"]), STEPS)
