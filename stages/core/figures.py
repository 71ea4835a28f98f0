"""The report's figures."""

import altair as alt
import pandas as pd

WIDTH, HEIGHT = 520, 300


def accuracy_latency(table: pd.DataFrame, latency: str, sla_ms: float) -> alt.LayerChart:
    """Return accuracy against latency: every variant a point with its interval, the SLA a line.

    Args:
        table: a row a variant; columns recommended, accuracy (with _low and _high), `latency`.
        latency: the latency's column, in ms.
        sla_ms: where the line is.
    """
    columns = ["recommended", "accuracy", "accuracy_low", "accuracy_high"]
    data = named(table[columns].assign(ms=table[latency]).reset_index())
    x = alt.X("ms:Q", title=_title(latency)).scale(type="log", padding=30)
    y = alt.Y("accuracy:Q", title="test accuracy").scale(zero=False, padding=15).axis(format="%")
    low = alt.Y("accuracy_low:Q", title="test accuracy")
    points = alt.Chart(data).mark_point(filled=True, size=90, opacity=1)
    points = points.encode(
        x=x,
        y=y,
        color=alt.Color("variant:N", title=None, sort=None),
        shape=alt.Shape("variant:N", title=None, sort=None),
    )
    intervals = alt.Chart(data).mark_rule(color="gray")
    intervals = intervals.encode(x=x, y=low, y2="accuracy_high:Q")
    ring = alt.Chart(data[data["recommended"]]).mark_point(size=350, color="gray").encode(x=x, y=y)
    sla = alt.Chart(pd.DataFrame({"ms": [sla_ms]})).mark_rule(strokeDash=[4, 4]).encode(x="ms:Q")
    name = sla.mark_text(align="right", dx=-4, y=10).encode(text=alt.value(f"SLA {sla_ms:g} ms"))
    return (intervals + points + ring + sla + name).properties(
        width=WIDTH,
        height=HEIGHT,
        title="Accuracy against latency (ring: recommended; lines: 95 %)",
    )


def latency_by_length(sweep: pd.DataFrame) -> alt.Chart:
    """Return latency against text length, one text at a time (columns as of `results.sweep`)."""
    data = sweep[(sweep["batch"] == 1) & (sweep["length"] > 0)]
    lengths = sorted(data["length"].unique())
    return (
        _lines(data)
        .encode(
            x=alt.X("length:Q", title="tokens").scale(type="log", base=2).axis(values=lengths),
            y=alt.Y("ms:Q", title="ms, from token ids to logits").scale(type="log"),
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


def _lines(data: pd.DataFrame) -> alt.Chart:
    return (
        alt.Chart(named(data))
        .mark_line(point=True)
        .encode(color=alt.Color("variant:N", title=None, sort=None))
    )


def named(data: pd.DataFrame) -> pd.DataFrame:
    """Return data with its variants called as people read them."""
    return data.assign(variant=data["variant"].str.replace("_", " "))


def _title(column: str) -> str:
    percentile = column.split("_")[2]
    return f"{percentile} latency of test sentences, from text to label, ms (log)"
