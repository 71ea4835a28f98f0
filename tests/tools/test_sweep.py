import itertools
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from stages.core.launch.errors import InputError
from stages.tools import sweep
from tests.clone import ENVIRONMENT
from tests.conftest import composed
from tests.core.reporting.made_up import NAMES, results

CONFIG = """seed: 1
model: {source: {}}
student: {init: teacher}
data: {source: {path: notes.txt}}
"""
STAGE = """stages:
  report:  # the user's own texts are a table of results
    cmd: >-
      mkdir -p reports && cp '${data.source.path}' reports/results.csv &&
      echo '{"cpu": "A"}' > reports/machine.json
    deps: ["${data.source.path}", notes.txt]
    params: [seed]
    outs: [reports/results.csv: {cache: false}, reports/machine.json: {cache: false}]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a project of one stage; return the path of a table that git does not track."""
    monkeypatch.chdir(tmp_path)
    Path("conf").mkdir()
    Path("conf/config.yaml").write_text(CONFIG)
    Path("dvc.yaml").write_text(STAGE)
    Path("params.yaml").write_text(CONFIG)
    Path("notes.txt").write_text("committed")
    commands = """git init --quiet && dvc init --quiet && dvc config hydra.enabled true &&
        git add --all && git commit --quiet --message Made"""
    subprocess.run(["bash", "-c", commands], env=ENVIRONMENT, check=True)
    texts = Path("my own/texts.csv")
    texts.parent.mkdir()
    results().to_csv(texts)
    return texts


def status() -> str:
    command = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_value_is_an_experiment_on_untracked_texts_and_the_workspace_stays(own: Path) -> None:
    Path("notes.txt").write_text("not committed")
    before = status()
    sweep.experiment("seed-2", ["seed=2", f"data.source.path={own}"])  # it is replaced
    sweep.main(["seed=1,2", "--", f"data.source.path={own}"])
    target = Path("reports/sweeps/seed")
    table = pd.read_csv(target / "results.csv")
    assert table.groupby("seed")["variant"].nunique().to_dict() == {1: len(NAMES), 2: len(NAMES)}
    new = "".join(f"?? {path}\n" for path in sorted(map(str, target.iterdir())))
    assert sorted(status().splitlines()) == sorted((before + new).splitlines())
    assert Path("notes.txt").read_text() == "not committed"
    assert f"sweep seed=1,2 -- 'data.source.path={own}'`" in (target / "README.md").read_text()


def test_existing_runs_compare_if_their_machines_are_of_one_kind(own: Path) -> None:
    Path("reports").mkdir()
    results().to_csv("reports/results.csv")
    for name, seed, cpu in (("a", 1, "A"), ("b", 2, "A"), ("c", 3, "B"), ("twin", 3, "B")):
        Path("params.yaml").write_text(CONFIG.replace("seed: 1", f"seed: {seed}"))
        packages = {"onnx": "1"} | ({"openvino": "1"} if name == "a" else {})  # b has no such form
        machine = {"cpu": cpu, "cores": 2, "packages": packages}
        Path("reports/machine.json").write_text(json.dumps(machine))
        commands = f"git add --all && git commit --quiet --allow-empty -m {name} && git tag {name}"
        subprocess.run(["bash", "-c", commands], env=ENVIRONMENT, check=True)
    sweep.main(["--existing", "a", "b"])
    target = Path("reports/sweeps/experiments")
    assert set(pd.read_csv(target / "results.csv")["seed"]) == {1, 2}
    assert "sweep --existing a b`" in (target / "README.md").read_text()
    with pytest.raises(InputError, match=r"a, b .*\"A\".*; c .*\"B\""):
        sweep.main(["--existing", "a", "b", "c"])
    with pytest.raises(InputError, match="c, twin: no setting differs"):
        sweep.main(["--existing", "a", "c", "twin"])
    with pytest.raises(InputError, match="no experiments: no setting differs"):
        sweep.main(["--existing"])


def test_the_page_compares_the_values_and_averages_over_seeds() -> None:
    settings = ["student.n_layers", "seed"]
    runs = [
        results(wrong=int(layers) + (seed == "14"))
        .reset_index()
        .assign(**{"student.n_layers": layers, "seed": seed})
        for layers, seed in itertools.product("23", ("13", "14"))
    ]
    table = pd.concat(runs, ignore_index=True)
    chosen = sweep.students(table, settings)
    each, over_seeds = sweep.page(settings, table, chosen, "a-command", "abc").split("Over 2")
    rows = [
        [cell.strip() for cell in line.split("|")[1:4]] for line in each.splitlines() if "|" in line
    ]
    assert [row[:2] for row in rows[2:]] == [["2", "13"], ["2", "14"], ["3", "13"], ["3", "14"]]
    assert all("student" in row[2] for row in rows[2:])
    assert re.search(r"\| +3 \| student int8 +\|[^|]+\| 82.5% \(50.7%–114.3%\) \|", over_seeds)
    assert "sweep a-command`" in each
    assert "Over" not in sweep.page(["student.n_layers"], table, chosen, "", "abc")


def test_the_interval_of_a_mean_is_students() -> None:
    assert sweep.mean_interval(pd.Series([0.85, 0.87, 0.86])) == "86.0% (83.5%–88.5%)"
    assert sweep.mean_interval(pd.Series([0.9, 0.9])) == "90.0% (90.0%–90.0%)"
    assert sweep.mean_interval(pd.Series([0.9])) == "90.0%"


@pytest.mark.parametrize(
    ("argument", "values"),
    [
        ("seed=13,14", ["13", "14"]),
        ("forms=[onnx,int8],[int8]", ["[onnx,int8]", "[int8]"]),
        ("data.title='a,b',c", ["'a,b'", "c"]),
    ],
)
def test_values_are_separated_by_commas(argument: str, values: list[str]) -> None:
    assert sweep.parse_grid([argument]) == {argument.partition("=")[0]: values}


@pytest.mark.parametrize("path", ["own.csv", "a b/c,d=1.csv", "it's/[1]{2}", "/own.csv"])
def test_local_sources_get_absolute_paths(empty: Callable, path: str) -> None:
    found = sweep.absolute_sources(["data=local", f'data.source.path="{path}"'])
    assert composed("data=local", *found).data.source.path == str(Path.cwd() / path)


def test_a_local_checkpoint_gets_an_absolute_path(empty: Callable) -> None:
    settings = ["student.init=checkpoint", "student.checkpoint=mine"]
    found = sweep.absolute_sources(settings)
    assert composed(*settings, *found).student.checkpoint == str(Path.cwd() / "mine")


@pytest.mark.parametrize("value", ["../a.csv", "a/.../b", "texts.", "é" * 300])
def test_git_takes_the_name_of_an_experiment(value: str) -> None:
    name = sweep.safe(f"data.source.path={value}")
    subprocess.run(["git", "check-ref-format", f"refs/exps/{name}"], check=True)
    assert len(name) <= 200


def test_values_of_the_same_name_are_refused_before_the_first_run(empty: Callable) -> None:
    grid = {"data.source.path": ["a/b.csv", "a-b.csv"]}
    with pytest.raises(InputError, match=r"the experiment data\.source\.path-a-b\.csv;"):
        sweep.run(grid, [])


def test_other_sources_stay_as_they_are(empty: Callable) -> None:
    assert sweep.absolute_sources([]) == []


@pytest.mark.parametrize("setting", ["sede=1", "student=no-such", "seed=[1"])
def test_a_setting_that_conf_does_not_have_is_named(empty: Callable, setting: str) -> None:
    with pytest.raises(InputError, match=rf"{re.escape(setting)}.*: .+; correct the setting"):
        sweep.absolute_sources([setting])


@pytest.mark.parametrize("argument", ["seed", "seed=13", "seed=13,13", "seed=[1,2"])
def test_one_value_is_no_sweep(empty: Callable, argument: str) -> None:
    with pytest.raises(InputError, match=re.escape(argument)):
        sweep.main([argument])


@pytest.mark.parametrize("arguments", [[], ["--", "seed=13"]])
def test_a_sweep_needs_a_setting_and_values(empty: Callable, arguments: list[str]) -> None:
    with pytest.raises(InputError, match="name a setting and its values"):
        sweep.main(arguments)


def test_a_command_that_fails_is_named(empty: Callable) -> None:
    with pytest.raises(InputError, match="dvc exp list --name-only failed; its error is above"):
        sweep.main(["student.n_layers=1,2"])
