"""Run the experiment for several values of a setting, and compare the results.

    python -m stages.tools.sweep seed 13 14 15 -- data=local data.source.path=reviews.csv

What follows `--` are settings of every run. Each run is a DVC experiment in a copy of the
workspace; what was made before comes from the cache.
"""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import dvc.api
import pandas as pd
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException

from stages.core.launch.atomic import atomic_directory, write_text
from stages.core.launch.errors import InputError
from stages.core.launch.paths import REPORTS, check_root
from stages.core.measuring.conditions import commit
from stages.core.reporting import tables
from stages.core.reporting.results import fastest_student

EACH = (
    tables.Column("Value", "value"),
    *(tables.VARIANT, tables.PARAMETERS, tables.SIZE, tables.VALIDATION),
    *(tables.ACCURACY_INTERVAL, tables.RETAINED, tables.MEAN, tables.FASTER),
)
SPREADS = [replace(each, format="{}") for each in (tables.ACCURACY, tables.RETAINED)]


def run(setting: str, values: list[str], overrides: list[str]) -> Path:
    """Write reports/sweeps/<setting>: a table of every run's results, and a page."""
    if len(set(values)) < 2 or len(set(values)) < len(values):
        raise InputError(f"{setting} = {values}: name two or more different values")
    results = []
    for value in values:
        name = re.sub(r"[^\w-]+", "-", f"{setting}-{value}")
        experiment(name, [*overrides, f"{setting}={value}"])
        with dvc.api.open(str(REPORTS / "results.csv"), rev=name) as file:
            results.append(pd.read_csv(file).assign(value=value))
    table = pd.concat(results, ignore_index=True)
    target = REPORTS / "sweeps" / setting
    with atomic_directory(target) as directory:
        table.to_csv(directory / "results.csv", index=False)
        write_text(directory / "README.md", page(setting, table, overrides))
    return target


def experiment(name: str, overrides: list[str]) -> None:
    """Run an experiment in a copy of the workspace, in place of one of that name."""
    if name in _exp("list", "--name-only", stdout=subprocess.PIPE).split():
        _exp("remove", "--quiet", name)
    settings = (f"-S={each}" for each in (*overrides, *absolute_sources(overrides)))
    _exp("run", "--temp", "--name", name, *settings)


def absolute_sources(overrides: list[str]) -> list[str]:
    """Return overrides by which a copy, of tracked files alone, finds the local sources here."""
    try:
        with initialize_config_dir(str(Path.cwd() / "conf"), version_base="1.3"):
            settings = compose("config", overrides)
    except HydraException as error:
        raise InputError(f"{shlex.join(overrides)}: {error}; correct the setting") from error
    paths = {group: settings[group].source.get("path", "") for group in ("model", "data")}
    return [
        f"{group}.source.path={json.dumps(str(Path(path).absolute()), ensure_ascii=False)}"
        for group, path in paths.items()
        if path
    ]


def _exp(*arguments: str, stdout: int | None = None) -> str:
    command = [sys.executable, "-m", "dvc", "exp", *arguments]
    done = subprocess.run(command, stdout=stdout, text=True, check=False)
    if done.returncode:
        raise InputError(f"dvc exp {' '.join(arguments)} failed; its error is above")
    return done.stdout or ""


def page(setting: str, table: pd.DataFrame, overrides: list[str]) -> str:
    """Return the sweep's page (columns of results.csv, and value)."""
    runs = [run.set_index("variant") for _, run in table.groupby("value", sort=False)]
    students = pd.concat([run.loc[[fastest_student(run)]] for run in runs])
    shares = [str(each.source) for each in SPREADS]
    spreads = table.groupby("variant", sort=False)[shares].agg(spread)
    given = ["--", *overrides] if overrides else []
    command = shlex.join([setting, *table["value"].unique(), *given])
    return f"""# {setting}

The fastest student of each run, all else being equal. × is how many times faster it is than the
teacher in PyTorch, timed in the same run, from text to label of test sentences. Intervals are of
95 %. Every variant is in [results.csv](results.csv). Commit {commit()}; the command:
`python -m stages.tools.sweep {command}`.

{tables.markdown(tables.render(students, EACH))}

Over these runs, as mean ± standard deviation (range):

{tables.markdown(tables.render(spreads, [tables.VARIANT, *SPREADS]))}
"""


def spread(values: pd.Series) -> str:
    """Return shares as mean ± standard deviation (range)."""
    if values.nunique() == 1:
        return f"{values.iloc[0]:.1%}"
    low, high = values.min(), values.max()
    return f"{values.mean():.1%} ± {values.std():.1%} ({low:.1%}–{high:.1%})"


def main(arguments: list[str]) -> None:
    """Run the command."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    check_root()
    if end < 2:
        raise InputError("name a setting and its values: sweep seed 13 14 15 -- data=local …")
    print(f"sweep: {run(arguments[0], arguments[1:end], arguments[end + 1 :])}/README.md")


if __name__ == "__main__":
    main(sys.argv[1:])
