"""Trace accuracy against latency over the student's depth: `python -m stages.tools.depth 1 2 3 4`.

Each depth is a DVC experiment (conf/experiment/depth.yaml) with a benchmark of its own: what
compares among them is the share of the teacher's latency, which each of these benchmarks times too.
"""

import sys

import pandas as pd

from stages.core.launch.atomic import atomic_file, write_text
from stages.core.launch.errors import InputError
from stages.core.launch.paths import REPORTS
from stages.core.measuring.conditions import commit
from stages.core.reporting.figures import accuracy_by_depth
from stages.core.reporting.page import interval
from stages.core.reporting.results import BASELINE, BEST
from stages.tools.experiments import experiment, table_of

COLUMNS = "variant|parameters|size_mb|accuracy|validation_accuracy|test_label_(mean_ms|speedup)"


def run(depths: list[str]) -> None:
    """Write reports/depth.csv, a row a depth and variant, depth.svg, its curve, and depth.md.

    Raises:
        InputError: there are fewer than two depths, or the experiment of one fails.
    """
    if len(set(depths)) < 2 or not all(depth.isdecimal() for depth in depths):
        raise InputError(f"depths = {depths} make no curve; name two or more numbers of layers")
    tables = []
    layers = sorted(map(int, set(depths)))
    for depth in layers:
        name = f"depth-{depth}"
        settings = ("+experiment=depth", f"student.n_layers={depth}")
        experiment(name, *(f"--set-param={setting}" for setting in settings))
        results = table_of(name, REPORTS / "results.csv")
        results = results.filter(regex=f"^({COLUMNS})(_low|_high)?$")
        results.insert(0, "depth", depth)
        tables.append(results)
    table = pd.concat(tables, ignore_index=True).assign(commit=commit())
    with atomic_file(REPORTS / "depth.csv") as part:
        table.to_csv(part, index=False)
    with atomic_file(REPORTS / "depth.svg") as part:
        accuracy_by_depth(table).save(part)
    write_text(REPORTS / "depth.md", page(table))
    print(f"depth: {REPORTS / 'depth.md'}, students of {layers} layers")


def page(table: pd.DataFrame) -> str:
    """Return depth.md (columns of depth.csv)."""
    best = table[table["variant"] == BEST]
    rows = pd.DataFrame(
        {
            "Layers": best["depth"].astype(str),
            "Params": (best["parameters"] / 1e6).map("{:.1f}M".format),
            "Size": best["size_mb"].map("{:.0f} MB".format),
            "Validation accuracy": best["validation_accuracy"].map("{:.1%}".format),
            "Test accuracy": interval(best, "accuracy", "{:.1%}"),
            "Mean latency": best["test_label_mean_ms"].map("{:.2f} ms".format),
            "× PyTorch": interval(best, "test_label_speedup", "{:.1f}"),
        }
    )
    teacher = table[table["variant"] == BASELINE].iloc[0]
    return f"""# Students of other depths

The distilled student in INT8 with more and with fewer layers, each trained and measured like the
default one. Latency is from text to label, of test sentences; × is how many times faster than the
teacher in PyTorch (test accuracy {teacher["accuracy"]:.1%}), timed in the same run. Intervals are
of 95 %. Each is trained once, and another seed moves it by about a point ([seeds.md](seeds.md)).
`make depth` runs this; the other variants are in [depth.csv](depth.csv). Code and settings are
those of the commit {teacher["commit"]}.

{rows.to_markdown(index=False, disable_numparse=True)}

![Accuracy against latency, by the student's depth](depth.svg)
"""


if __name__ == "__main__":
    try:
        run(sys.argv[1:])
    except InputError as error:
        sys.exit(f"depth: {error}")
