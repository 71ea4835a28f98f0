"""Run the experiment for several values of settings, and compare the results.

    python -m stages.tools.sweep seed=13,14,15 -- data=local data.source.path=reviews.csv

Several settings make a grid, of which `seed` is averaged over. What follows `--` are settings of
every run. Each run is a DVC experiment in a copy of the workspace; what was made before comes from
the cache.

    python -m stages.tools.sweep --existing

compares experiments that have run already, such as those pulled from other machines: the named
ones, or all of this commit. Their latencies compare only if their machines are of one kind.
"""

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import dvc.api
import pandas as pd
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from scipy.stats import t

from stages.core.launch.atomic import atomic_directory, write_text
from stages.core.launch.errors import InputError
from stages.core.launch.paths import MACHINE, REPORTS, check_root
from stages.core.measuring.conditions import commit
from stages.core.reporting import figures, tables
from stages.core.reporting.estimate import CONFIDENCE
from stages.core.reporting.results import fastest_student
from stages.tools.params import compose_conf

SEED = "seed"
EACH = (
    *(tables.VARIANT, tables.PARAMETERS, tables.SIZE, tables.VALIDATION),
    *(tables.ACCURACY_INTERVAL, tables.RETAINED, tables.MEAN, tables.FASTER),
)
OVER_SEEDS = (tables.VALIDATION, tables.ACCURACY, tables.RETAINED)
Grid = dict[str, list[str]]  # the values of each setting


def run(grid: Grid, overrides: list[str]) -> Path:
    """Run an experiment for each point of the grid, and compare them."""
    code = commit()
    points: dict[str, list[str]] = {}
    for values in itertools.product(*grid.values()):
        settings = [f"{setting}={value}" for setting, value in zip(grid, values, strict=True)]
        name = safe("-".join(settings))
        if name in points:
            raise InputError(f"two values make the experiment {name}; change or remove one")
        points[name] = settings
    for name, settings in points.items():
        experiment(name, [*overrides, *settings])
    swept = [f"{setting}={','.join(values)}" for setting, values in grid.items()]
    command = shlex.join([*swept, *(["--", *overrides] if overrides else [])])
    table = pd.DataFrame(itertools.product(*grid.values()), index=[*points], columns=[*grid])
    return compare(table, safe("-".join(grid)), command, code)


def existing(names: list[str]) -> Path:
    """Compare experiments that have run: the named ones, or all of this commit."""
    names = names or _exp("list", "--name-only", stdout=subprocess.PIPE).split()
    points = differing({name: dvc.api.params_show(rev=name) for name in names})
    twins = points.index[points.duplicated(keep=False)]
    if points.empty or len(twins):
        raise InputError(
            f"{', '.join([*twins] or names) or 'no experiments'}: no setting differs; name two or "
            "more that differ"
        )
    return compare(points, "experiments", shlex.join(["--existing", *names]), commit())


def compare(points: pd.DataFrame, title: str, command: str, code: str | None) -> Path:
    """Write reports/sweeps/<title>: a table of every experiment's results, a page and a figure.

    `points` has a row for each experiment, by name, and a column for each setting that differs.
    """
    check_machine([*points.index])
    runs = []
    for name, point in points.iterrows():
        with dvc.api.open(str(REPORTS / "results.csv"), rev=name) as file:
            runs.append(pd.read_csv(file).assign(**point))
    table = pd.concat(runs, ignore_index=True)
    chosen = students(table, [*points])
    target = REPORTS / "sweeps" / title
    with atomic_directory(target) as directory:
        table.to_csv(directory / "results.csv", index=False)
        figures.against_the_post(chosen, [*points]).save(directory / "against_the_post.svg")
        write_text(directory / "README.md", page([*points], table, chosen, command, code))
    return target


def check_machine(names: list[str]) -> None:
    """Raise InputError if experiments were measured on machines of different kinds."""
    kinds = differing({name: json.loads(dvc.api.read(str(MACHINE), rev=name)) for name in names})
    unused = (kinds == "").any() & kinds.columns.str.startswith("packages.")  # by some experiments
    kinds = kinds.loc[:, ~unused]
    if [*kinds]:
        each = "; ".join(
            f"{', '.join(group.index)} ({group.iloc[0].to_json(force_ascii=False)})"
            for _, group in kinds.groupby([*kinds], sort=False)
        )
        raise InputError(
            f"latencies from different machines don't compare: {each}; name experiments of one kind"
        )


def differing(trees: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """Return what differs between nested mappings, as text: a row for each, a column for a key."""
    rows = [pd.json_normalize(tree).astype(str) for tree in trees.values()]
    table = pd.concat(rows or [pd.DataFrame()]).fillna("").set_axis([*trees])
    return table.loc[:, table.nunique() > 1]


def safe(name: str) -> str:
    """Return a name that files and experiments may have."""
    return re.sub(r"[^\w.-]+|\.{2,}", "-", name).strip("-.")[:200]


def parse_grid(arguments: list[str]) -> Grid:
    """Return the values of each setting.

    Raises:
        InputError: one can't be read, or has a single value.
    """
    grid = {}
    for argument in arguments:
        try:
            parsed = OverridesParser.create().parse_override(argument)
            swept = parsed.is_choice_sweep()
            values = [*parsed.sweep_string_iterator()] if swept else [argument.partition("=")[2]]
        except HydraException as error:
            raise InputError(f"{argument}: {error}; write setting=value,value") from error
        if len({*values}) < 2 or len({*values}) < len(values):
            raise InputError(f"{argument}: name two or more different values, with commas")
        grid[argument.partition("=")[0]] = values
    return grid


def experiment(name: str, overrides: list[str]) -> None:
    """Run an experiment in a copy of the workspace, in place of one of that name."""
    if name in _exp("list", "--name-only", stdout=subprocess.PIPE).split():
        _exp("remove", "--quiet", name)
    settings = (f"-S={each}" for each in (*overrides, *absolute_sources(overrides)))
    _exp("run", "--temp", "--name", name, *settings)


def absolute_sources(overrides: list[str]) -> list[str]:
    """Return overrides by which a copy, of tracked files alone, finds the local sources here."""
    settings = compose_conf(overrides)
    paths = {f"{each}.source.path": settings[each].source.get("path") for each in ("model", "data")}
    if settings.student.init == "checkpoint":
        paths["student.checkpoint"] = settings.student.checkpoint
    return [
        f"{setting}={json.dumps(str(Path(path).absolute()), ensure_ascii=False)}"
        for setting, path in paths.items()
        if path
    ]


def _exp(*arguments: str, stdout: int | None = None) -> str:
    command = [sys.executable, "-m", "dvc", "exp", *arguments]
    # dvc.yaml's commands start with python: this one, also where the environment is not activated.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command, stdout=stdout, text=True, env=os.environ | {"PATH": path}, check=False
    )
    if done.returncode:
        raise InputError(f"dvc exp {' '.join(arguments)} failed; its error is above")
    return done.stdout or ""


def students(table: pd.DataFrame, settings: list[str]) -> pd.DataFrame:
    """Return the fastest student of each run (columns of results.csv, and the settings)."""
    runs = [run.set_index("variant") for _, run in table.groupby(settings, sort=False)]
    return pd.concat([run.loc[[fastest_student(run)]] for run in runs])


def page(
    settings: list[str], table: pd.DataFrame, chosen: pd.DataFrame, command: str, code: str | None
) -> str:
    """Return the sweep's page; `chosen` are the rows of `table` that `students` returns."""
    columns = [tables.Column(setting, setting) for setting in settings]
    return f"""# {", ".join(settings)}

The fastest student of each run, all else being equal. × is how many times faster it is than the
teacher in PyTorch, timed in the same run, from text to label of test sentences. Intervals are of
95%. Every variant is in [results.csv](results.csv). Commit {code}; the command:
`python -m stages.tools.sweep {command}`.

{tables.markdown(tables.render(chosen, [*columns, *EACH]))}

![Accuracy kept against latency, beside the post](against_the_post.svg)
{over_seeds(settings, table) if SEED in settings else ""}"""


def over_seeds(settings: list[str], table: pd.DataFrame) -> str:
    """Return a section with the mean of every variant over the seeds, for each other setting."""
    others = [setting for setting in settings if setting != SEED]
    shares = [str(each.source) for each in OVER_SEEDS]
    groups = table.groupby([*others, "variant"], sort=False)[shares].agg(mean_interval)
    rows = groups.reset_index(others)
    columns = [tables.Column(setting, setting) for setting in others]
    means = [tables.Column(each.title, str(each.source)) for each in OVER_SEEDS]
    return f"""
Over {table[SEED].nunique()} seeds, as mean (95% interval of the mean, by Student's t):

{tables.markdown(tables.render(rows, [*columns, tables.VARIANT, *means]))}
"""


def mean_interval(shares: pd.Series) -> str:
    """Return the mean of shares with its 95% interval, which is wide where they are few."""
    mean = shares.mean()
    if len(shares) < 2:
        return f"{mean:.1%}"
    half = t.ppf((1 + CONFIDENCE) / 2, len(shares) - 1) * shares.sem()
    return f"{mean:.1%} ({mean - half:.1%}–{mean + half:.1%})"


def main(arguments: list[str]) -> None:
    """Run the command."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    check_root()
    if not end:
        raise InputError("name a setting and its values: sweep seed=13,14,15 -- data=local …")
    if arguments[0] == "--existing":
        target = existing(arguments[1:])
    else:
        target = run(parse_grid(arguments[:end]), arguments[end + 1 :])
    print(f"sweep: {target}/README.md")


if __name__ == "__main__":
    main(sys.argv[1:])
