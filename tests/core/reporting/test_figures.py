import io
import re

import pandas as pd
import pytest

from stages.core.reporting.figures import accuracy_latency, latency_by_rate
from stages.core.serving.variant import Variant
from tests.core.reporting.made_up import MS, load


@pytest.mark.parametrize("sla_ms", [50, 1])
def test_the_load_has_a_line_for_each_variant_even_if_none_meets_the_sla(sla_ms: float) -> None:
    trials = load(MS)
    if sla_ms == 1:
        trials = trials[trials["scenario"] != "Server"]
    chart = latency_by_rate(trials, 99, sla_ms)
    shown = {row["variant"] for row in chart.to_dict()["datasets"].popitem()[1]}
    assert shown == {Variant.named(name).title for name in MS}
    lines, points, _ = chart.to_dict()["spec"]["layer"]
    assert lines["transform"] == [{"filter": "datum.scenario == 'Replay'"}]
    assert points["transform"] == [{"filter": "datum.scenario == 'Server'"}]
    svg = io.StringIO()
    chart.save(svg, format="svg")
    width = re.search(r'<svg[^>]* width="([\d.]+)"', svg.getvalue())
    assert width
    assert float(width[1]) < 2000


def test_the_tooltip_of_a_point_names_its_values_with_their_units(table: pd.DataFrame) -> None:
    layers = accuracy_latency(table, 50, 50).to_dict()["layer"]
    (tooltip,) = (each["encoding"]["tooltip"] for each in layers if "tooltip" in each["encoding"])
    assert [field["title"] for field in tooltip] == [
        *("variant", "latency, ms", "test accuracy", "95% interval from", "95% interval to"),
        "size, MB",
    ]
