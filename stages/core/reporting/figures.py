"""The report's figures. Variants appear under their titles, in the order of the data."""

import altair as alt
import numpy as np
import pandas as pd

from stages.core.reporting.latency import quantiles
from stages.core.reporting.results import HEADLINE_SPEED, SLA_LATENCY
from stages.core.reporting.tables import POST
from stages.core.serving.variant import Variant

SIZE = {"width": 520, "height": 300}
COLOUR, DASHES, SHAPE = (
    channel("variant:N", title=None, sort=None)
    for channel in (alt.Color, alt.StrokeDash, alt.Shape)
)
TOOLTIPS = {  # by column: its name, with the unit, and its format
    "variant": ("variant", ""),
    "kind": ("operators", ""),
    "texts": ("texts", ""),
    "length": ("text length, tokens", "d"),
    "batch": ("batch size", "d"),
    "answered": ("calls answered", ".0%"),
    "rate": ("requests a second", ".3~g"),
    "requests": ("requests", "d"),
    "ms": ("latency, ms", ".3~g"),
    "texts_per_second": ("texts per second", ",.0f"),
    "padding": ("share of padding", ".0%"),
    "share": ("share of the latency", ".1%"),
    "accuracy": ("test accuracy", ".1%"),
    "accuracy_low": ("95% interval from", ".1%"),
    "accuracy_high": ("95% interval to", ".1%"),
    "size_mb": ("size, MB", ".0f"),
}


def accuracy_latency(table: pd.DataFrame, percentile: int, sla_ms: float) -> alt.LayerChart:
    """Return accuracy against a percentile of the latency (columns of results.csv)."""
    columns = ["recommended", "accuracy", "accuracy_low", "accuracy_high", "size_mb"]
    data = named(table[columns].assign(ms=table[SLA_LATENCY.format(percentile)]).reset_index())
    x = alt.X("ms:Q", title=f"p{percentile} latency from text to label, ms (log)")
    base = alt.Chart(data).encode(
        x=x.scale(type="log", nice=False, padding=30), y=_accuracy("accuracy")
    )
    points = base.mark_point(filled=True, size=90, opacity=1)
    points = points.encode(color=COLOUR, shape=SHAPE, tooltip=_tooltips(data))
    intervals = base.mark_rule(color="gray")
    intervals = intervals.encode(y=_accuracy("accuracy_low"), y2="accuracy_high:Q")
    ring = base.transform_filter("datum.recommended").mark_point(size=350, color="gray")
    name = _sla(sla_ms).mark_text(align="right", dx=-4, y=10, color="gray")
    name = name.encode(text=alt.value(f"SLA {sla_ms:g} ms"))
    notes = "ring: recommended; grey lines: 95% intervals"
    title = alt.Title("Accuracy against latency", subtitle=notes)
    return (intervals + points + ring + _sla(sla_ms) + name).properties(**SIZE, title=title)


def against_the_post(students: pd.DataFrame, settings: list[str]) -> alt.Chart:
    """Return what students keep of the accuracy against what they keep of the latency.

    Columns of results.csv, and the settings, whose values name a student. The post's students are
    shares of the post's own teacher.
    """
    values = students[settings].astype(str).agg(", ".join, axis=1)
    ours = pd.DataFrame(
        {
            "student": ", ".join(settings) + " = " + values,
            "latency": 1 / students[HEADLINE_SPEED],
            "kept": students["accuracy_retained"],
        }
    )
    first, last = POST.iloc[0], POST.iloc[-1]
    post = pd.DataFrame(
        [["the post", last["ms"] / first["ms"], last["accuracy"] / first["accuracy"]]],
        columns=ours.columns,
    )
    base = alt.Chart(pd.concat([ours, post])).encode(
        x=alt.X("latency:Q", title="latency, as a share of the teacher's in PyTorch (log)")
        .scale(type="log", nice=False, padding=30)
        .axis(format=".1%"),
        y=alt.Y("kept:Q", title="accuracy, as a share of the teacher's")
        .scale(zero=False, padding=15)
        .axis(format=".1%"),
        color=alt.Color("student:N", title=None, sort=None),
        shape=alt.Shape("student:N", title=None, sort=None),
    )
    points = base.mark_point(filled=True, size=90, opacity=1)
    return points.properties(**SIZE, title="Accuracy kept against latency")


def latency_by_length(sweep: pd.DataFrame) -> alt.LayerChart:
    """Return latency against text length, one text at a time (columns as of `results.sweep`)."""
    data = sweep.loc[(sweep["batch"] == 1) & (sweep["length"] > 0), ["variant", "length", "ms"]]
    x = alt.X("length:Q", title="tokens").axis(values=sorted(data["length"].unique()))
    y = alt.Y("ms:Q", title="ms, from token ids to logits (log)")
    y = y.scale(type="log", nice=False, padding=10)
    lines = _lines(data, x.scale(type="log", base=2), y)
    return lines.properties(**SIZE, title="Latency against text length")


def throughput_by_batch(sweep: pd.DataFrame) -> alt.FacetChart:
    """Return texts per second against batch size, a panel for each length."""
    lengths = sorted(sweep["length"].unique())
    panels = {each: f"{each} tokens" if each else "real sentences, padded" for each in lengths}
    data = sweep.assign(texts=sweep["length"].map(panels)).drop(columns=["length", "ms"])
    x = alt.X("batch:Q", title="batch size").axis(values=sorted(data["batch"].unique()))
    y = alt.Y("texts_per_second:Q", title="texts per second").scale(type="log", nice=False)
    lines = _lines(data, x.scale(type="log", base=2), y).properties(width=190, height=160)
    panel = alt.Facet("texts:N", title=None, sort=list(panels.values()))
    return lines.facet(facet=panel, columns=3).properties(title="Throughput against batch size")


def latency_by_rate(load: pd.DataFrame, percentile: int, sla_ms: float) -> alt.FacetChart:
    """Return a percentile of the latency against the requests a second (columns of load.csv).

    Lines are of replays, points of trials under load.
    """
    direct = load[~load["http"]]
    data = direct[direct["scenario"].isin(["Replay", "Server"])]
    panels = {
        batch: f"up to {batch} together" if batch > 1 else "one by one"
        for batch in sorted(data["batch"].unique())
    }
    data = data.assign(together=data["batch"].map(panels)).drop(columns="batch")
    x = alt.X("rate:Q", title="requests a second (log)").scale(type="log", nice=False, padding=10)
    y = alt.Y("ms:Q", title=f"p{percentile} latency, ms (log)")
    y = y.scale(type="log", nice=False, padding=10)
    lines = _lines(data, x, y, "datum.scenario == 'Server'", "datum.scenario == 'Replay'")
    sla = alt.Chart(lines.data).mark_rule(strokeDash=[4, 4], color="gray")
    lines += sla.encode(y=alt.datum(sla_ms))
    panel = alt.Facet("together:N", title=None, sort=list(panels.values()))
    chart = lines.properties(width=240, height=240).facet(facet=panel, columns=2)
    return chart.properties(
        title=alt.Title("Latency under load", subtitle="lines: replays; points: trials; grey: SLA")
    )


def distributions(samples: pd.DataFrame, sla_ms: float) -> alt.LayerChart:
    """Return the share of calls answered within a time (columns variant, round and ms)."""
    shares = np.arange(201) / 200
    data = pd.concat(
        pd.DataFrame({"variant": variant, "answered": shares, "ms": quantiles(calls, shares)})
        for variant, calls in samples.groupby("variant")
    )
    x = alt.X("ms:Q", title="ms, test sentences, from text to label (log)")
    y = alt.Y("answered:Q", title="answered within").axis(format="%")
    shown = "indexof([0.5, 0.95, 0.99], datum.answered) >= 0"
    lines = _lines(data, x.scale(type="log", nice=False), y, shown)
    title = alt.Title("Distribution of latencies", subtitle="points: p50, p95, p99; grey line: SLA")
    return (lines + _sla(sla_ms)).properties(**SIZE, title=title)


def time_by_kind(profile: pd.DataFrame) -> alt.Chart:
    """Return the share of each kind of operator in a call's time (columns variant, kind, ms)."""
    kinds = profile["kind"].unique().tolist()
    data = profile.groupby(["variant", "kind"], sort=False, as_index=False)["ms"].sum()
    data["order"] = data["kind"].map(kinds.index)
    data["share"] = data["ms"] / data.groupby("variant")["ms"].transform("sum")
    x = alt.X("share:Q", title="share of the time from text to label").axis(format="%")
    bars = alt.Chart(named(data)).mark_bar()
    bars = bars.encode(
        x=x.scale(domain=[0, 1]),
        y=alt.Y("variant:N", title=None, sort=None),
        color=alt.Color("kind:N", title=None, sort=kinds).scale(scheme="tableau10"),
        order="order:Q",
        tooltip=_tooltips(data),
    )
    return bars.properties(**SIZE, title="Where the time goes")


def named(data: pd.DataFrame) -> pd.DataFrame:
    """Return data with the titles of its variants."""
    return data.assign(variant=data["variant"].map(lambda name: Variant.named(name).title))


def _lines(
    data: pd.DataFrame, x: alt.X, y: alt.Y, shown: str = "true", drawn: str = "true"
) -> alt.LayerChart:
    """Return lines through the rows that are `drawn`, and points at those that are `shown`."""
    # A line has one tooltip for all its length, so tooltips are of the points on it.
    base = alt.Chart(named(data)).encode(x=x, y=y, color=COLOUR, strokeDash=DASHES)
    points = base.transform_filter(shown).mark_circle(size=50, opacity=1)
    return base.transform_filter(drawn).mark_line() + points.encode(tooltip=_tooltips(data))


def _tooltips(data: pd.DataFrame) -> list[alt.Tooltip]:
    return [
        alt.Tooltip(f"{column}:{'Q' if form else 'N'}", title=title, format=form or alt.Undefined)
        for column, (title, form) in TOOLTIPS.items()
        if column in data
    ]


def _accuracy(column: str) -> alt.Y:
    return (
        alt.Y(f"{column}:Q", title="test accuracy").scale(zero=False, padding=15).axis(format="%")
    )


def _sla(ms: float) -> alt.Chart:
    line = alt.Chart(pd.DataFrame({"ms": [ms]})).mark_rule(strokeDash=[4, 4], color="gray")
    return line.encode(x="ms:Q")
