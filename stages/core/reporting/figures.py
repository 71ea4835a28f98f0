"""The report's figures."""

import altair as alt
import numpy as np
import pandas as pd

from stages.core.engines.variant import Variant
from stages.core.reporting.latency import quantiles
from stages.core.reporting.results import SLA_LATENCY

WIDTH, HEIGHT = 520, 300


def accuracy_latency(table: pd.DataFrame, percentile: int, sla_ms: float) -> alt.LayerChart:
    """Return accuracy against latency: every variant a point with its interval, the SLA a line.

    Args:
        table: a row a variant; columns recommended, accuracy (with _low and _high), the latency.
        percentile: of the latency.
        sla_ms: where the line is.
    """
    latency = SLA_LATENCY.format(percentile)
    columns = ["recommended", "accuracy", "accuracy_low", "accuracy_high"]
    data = named(table[columns].assign(ms=table[latency]).reset_index())
    title = f"p{percentile} ms, test sentences, from text to label (log)"
    x = alt.X("ms:Q", title=title).scale(type="log", padding=30)
    y = alt.Y("accuracy:Q", title="test accuracy").scale(zero=False, padding=15).axis(format="%")
    low = alt.Y("accuracy_low:Q", title="test accuracy")
    points = alt.Chart(data).mark_point(filled=True, size=90, opacity=1, tooltip=True)
    points = points.encode(
        x=x,
        y=y,
        color=alt.Color("variant:N", title=None, sort=None),
        shape=alt.Shape("variant:N", title=None, sort=None),
    )
    intervals = alt.Chart(data).mark_rule(color="gray")
    intervals = intervals.encode(x=x, y=low, y2="accuracy_high:Q")
    ring = alt.Chart(data[data["recommended"]]).mark_point(size=350, color="gray").encode(x=x, y=y)
    sla = _sla(sla_ms)
    name = sla.mark_text(align="right", dx=-4, y=10, color="gray").encode(
        text=alt.value(f"SLA {sla_ms:g} ms")
    )
    return (intervals + points + ring + sla + name).properties(
        width=WIDTH,
        height=HEIGHT,
        title=alt.TitleParams(
            "Accuracy against latency", subtitle="ring: recommended; grey lines: 95 % intervals"
        ),
    )


def accuracy_by_value(table: pd.DataFrame, setting: str) -> alt.LayerChart:
    """Return accuracy against latency of the students of a sweep, a line a form.

    Args:
        table: a row a value and variant; columns value, variant, validation_accuracy (a value is
            chosen by it) and test_label_speedup.
        setting: the key that was swept.
    """
    data = named(table[table["variant"].str.startswith("student")])
    data["share"] = 1 / data["test_label_speedup"]
    points = alt.Chart(data).encode(
        x=alt.X("share:Q", title="latency, share of the teacher's in PyTorch (log)")
        .scale(type="log", padding=20)
        .axis(format="%"),
        y=alt.Y("validation_accuracy:Q", title="validation accuracy")
        .scale(zero=False, padding=15)
        .axis(format="%"),
        order="value:Q",
    )
    lines = points.mark_line(point=True, tooltip=True)
    lines = lines.encode(color=alt.Color("variant:N", title=None, sort=None))
    depths = points.mark_text(dy=-10, color="gray").encode(text="value:N")
    return (lines + depths).properties(width=WIDTH, height=HEIGHT, title=f"Students, by {setting}")


def latency_by_length(sweep: pd.DataFrame) -> alt.Chart:
    """Return latency against text length, one text at a time (columns as of `results.sweep`)."""
    data = sweep[(sweep["batch"] == 1) & (sweep["length"] > 0)]
    lengths = sorted(data["length"].unique())
    return (
        _lines(data)
        .encode(
            x=alt.X("length:Q", title="tokens").scale(type="log", base=2).axis(values=lengths),
            y=alt.Y("ms:Q", title="ms, from token ids to logits").scale(
                type="log", nice=False, padding=10
            ),
        )
        .properties(width=WIDTH, height=HEIGHT, title="Latency against text length")
    )


def throughput_by_batch(sweep: pd.DataFrame) -> alt.FacetChart:
    """Return sentences per second against batch size, a panel for each length."""
    lengths = sorted(sweep["length"].unique())
    sizes = sorted(sweep["batch"].unique())
    names = {
        length: f"{length} tokens" if length else "real sentences, padded" for length in lengths
    }
    return (
        _lines(sweep.assign(panel=sweep["length"].map(names)))
        .encode(
            x=alt.X("batch:Q", title="batch size").scale(type="log", base=2).axis(values=sizes),
            y=alt.Y("texts_per_second:Q", title="texts per second").scale(type="log", nice=False),
        )
        .properties(width=190, height=160)
        .facet(facet=alt.Facet("panel:N", title=None, sort=list(names.values())), columns=3)
        .properties(title="Throughput against batch size")
    )


def distributions(samples: pd.DataFrame, sla_ms: float) -> alt.LayerChart:
    """Return what share of calls each variant answers within what time.

    Args:
        samples: columns variant, round and ms.
        sla_ms: where the line is.
    """
    shares = np.linspace(0, 1, 201)
    data = pd.concat(
        pd.DataFrame({"variant": variant, "share": shares, "ms": quantiles(calls, shares)})
        for variant, calls in samples.groupby("variant", observed=True)
    )
    lines = _lines(data, point=False).encode(
        x=alt.X("ms:Q", title="ms, test sentences, from text to label (log)").scale(
            type="log", nice=False
        ),
        y=alt.Y("share:Q", title="answered within").axis(format="%"),
        order="share:Q",
    )
    sla = _sla(sla_ms)
    return (lines + sla).properties(
        width=WIDTH,
        height=HEIGHT,
        title=alt.TitleParams("Distribution of latencies", subtitle="grey line: SLA"),
    )


def learning_curves(curves: pd.DataFrame) -> alt.Chart:
    """Return validation accuracy by epoch (columns model, epoch, validation_accuracy)."""
    lines = alt.Chart(curves).mark_line(point=True, tooltip=True)
    lines = lines.encode(
        x=alt.X("epoch:Q").axis(tickMinStep=1),
        y=alt.Y("validation_accuracy:Q", title="validation accuracy")
        .scale(zero=False, padding=10)
        .axis(format="%"),
        color=alt.Color("model:N", title=None, sort=None),
    )
    return lines.properties(width=WIDTH, height=200, title="Learning curves")


def time_by_kind(profile: pd.DataFrame) -> alt.Chart:
    """Return where a call's time goes, a bar a variant.

    Args:
        profile: columns variant, kind and ms; the kinds in the order of the parts.
    """
    kinds = profile["kind"].unique().tolist()
    data = profile.groupby(["variant", "kind"], sort=False, as_index=False)["ms"].sum()
    data["order"] = data["kind"].map(kinds.index)
    bars = alt.Chart(named(data)).mark_bar(tooltip=True)
    bars = bars.encode(
        x=alt.X("ms:Q", title="share of the time from text to label")
        .stack("normalize")
        .axis(format="%"),
        y=alt.Y("variant:N", title=None, sort=None),
        color=alt.Color("kind:N", title=None, sort=kinds).scale(scheme="tableau10"),
        order="order:Q",
    )
    return bars.properties(width=WIDTH, height=200, title="Where the time goes")


def _lines(data: pd.DataFrame, *, point: bool = True) -> alt.Chart:
    """Return a line a variant, told apart by colour and by dashes."""
    lines = alt.Chart(named(data)).mark_line(point=point, tooltip=True)
    return lines.encode(
        color=alt.Color("variant:N", title=None, sort=None),
        strokeDash=alt.StrokeDash("variant:N", title=None, sort=None),
    )


def named(data: pd.DataFrame) -> pd.DataFrame:
    """Return data with its variants called as people read them."""
    return data.assign(variant=data["variant"].map(lambda name: Variant.named(name).title))


def _sla(ms: float) -> alt.Chart:
    line = alt.Chart(pd.DataFrame({"ms": [ms]})).mark_rule(strokeDash=[4, 4], color="gray")
    return line.encode(x="ms:Q")
