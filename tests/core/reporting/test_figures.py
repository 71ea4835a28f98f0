import pandas as pd

from stages.core.reporting.figures import accuracy_latency


def test_the_tooltip_of_a_point_names_its_values_with_their_units(table: pd.DataFrame) -> None:
    layers = accuracy_latency(table, 50, 50).to_dict()["layer"]
    (tooltip,) = (each["encoding"]["tooltip"] for each in layers if "tooltip" in each["encoding"])
    assert [field["title"] for field in tooltip] == [
        *("variant", "latency, ms", "test accuracy", "95 % interval from", "95 % interval to"),
        "size, MB",
    ]
