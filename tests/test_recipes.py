"""README's commands, as written, in a clone whose defaults are the toy experiment."""

import json
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.clone import ROOT, Clone, stages
from tests.conftest import make_texts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    " ".join(line.split("  #")[0].split())
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]
LAYERS = ("layers-1", "layers-2")  # the experiments that its sweep makes
# The outputs that it shows, by their commands.
SHOWN = dict(re.findall(r"```text\n\$ (.+?)\n(.*?)```", README, re.DOTALL))
# What no test runs as written, and why.
NOT_RUN = {
    "git clone <this repository> bert-latency && cd bert-latency": "Clone does",
    "source .venv/bin/activate": "Clone does",
    "make .venv/ready && source .venv/bin/activate": "the tests' environment is made so",
    "make repro": "the defaults take half an hour",
    "make test": "this is in it",
    "dvc exp run -S +experiment=post": "the Hub, and days",
    "dvc exp run -S +experiment=smoke": "test_dag.py does",
    "dvc remote add --default store /mnt/store": "test_dag.py does, elsewhere",
    "dvc push": "test_dag.py does",
    "dvc pull && dvc repro": "test_dag.py does",
    "dvc get <this repository> data/release": "test_dag.py does",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory, tiny: list[str], sources: Path) -> Clone:
    """Return a clone on main with the toy experiment committed, and the files README speaks of."""
    clone = Clone(tmp_path_factory.mktemp("recipes") / "project")
    without_transfer = [each for each in tiny if "transfer" not in each]
    clone.shrink([*without_transfer, f"data.source.path={sources / 'texts' / 'train.csv'}"])
    clone.dvc("repro")
    texts = make_texts(200, seed=2).rename(columns={"text": "body", "label": "stars"})
    texts.to_csv(clone.directory / "reviews.csv", index=False)
    (clone.directory / "texts.txt").write_text("\n".join(texts["body"][:5]))
    return clone


def shape(text: str) -> str:
    """Return a text without what differs between two runs: its numbers and its columns' widths."""
    return re.sub(r"[-+]?\d+(\.\d+)?", "0", " ".join(text.split()))


def command(beginning: str) -> str:
    """Return README's one command that begins so."""
    found = [each for each in COMMANDS if each.startswith(beginning)]
    assert beginning in found or len(found) == 1, found
    return beginning if beginning in found else found[0]


def test_every_command_of_readme_is_run_by_a_test_or_there_is_a_reason() -> None:
    ran = {
        start for _, start in re.findall(r"""run\((["'])(.+?)\1\)""", Path(__file__).read_text())
    }
    left = [each for each in COMMANDS if each not in NOT_RUN]
    assert [each for each in left if not any(each.startswith(start) for start in ran)] == []
    assert [each for each in NOT_RUN if each not in COMMANDS] == []


@pytest.fixture
def run(clone: Clone) -> Callable[[str], str]:
    """Return what runs README's one command that begins so, and returns what it printed."""
    return lambda beginning: clone.run("bash", "-c", command(beginning))


def test_texts_are_classified(run: Callable[[str], str]) -> None:
    command = 'python stages/predict.py "A lovely film."'
    assert shape(run('python stages/predict.py "A lovely film."')) == shape(SHOWN[command])
    run('python stages/predict.py "A lovely film." --variant')
    assert len(run("python stages/predict.py --input").splitlines()) == 6


def test_settings_are_swept_and_branches_compared(clone: Clone, run: Callable[[str], str]) -> None:
    run("git commit --all")
    assert stages(run("dvc exp run -n per-tensor")) == {
        *("machine", "quantize@teacher", "quantize@student"),
        *("evaluate@teacher-int8", "evaluate@student-int8"),
        *("benchmark", "profile", "report", "release"),
    }
    run("dvc exp branch per-tensor")
    # The rows are what differs between the two, with the values of each.
    old, new = (
        pd.json_normalize(json.loads(clone.run("git", "show", f"{branch}:reports/metrics.json")))
        .loc[0]
        .to_dict()
        for branch in ("main", "try-per-tensor")
    )
    header, *rows = [row.split() for row in run("dvc metrics diff").splitlines()]
    assert header == ["Path", "Metric", "main", "try-per-tensor", "Change"]
    assert {row[1]: [float(row[2]), float(row[3])] for row in rows} == {
        key: pytest.approx([old[key], new[key]]) for key in old if old[key] != new[key]
    }
    # What was not quantized anew has other times alone.
    timed = ("_ms", ".speedup", "summary.latency_reduction")
    changed = {key for key in old if old[key] != new[key] and not key.endswith(timed)}
    assert {key.split(".")[0] for key in changed} <= {"teacher_int8", "student_int8", "summary"}
    assert rows
    shown = SHOWN["dvc metrics diff main try-per-tensor"].splitlines()
    assert shown[0].split() == header
    assert {shape(row.split()[1]) for row in shown[1:]} <= set(map(shape, old))
    assert shape(run("dvc params diff")) == shape(SHOWN["dvc params diff main try-per-tensor"])
    assert "index.html" in run("dvc plots diff")

    run("dvc exp run --queue")
    run("dvc queue start")
    while re.search("Queued|Running", shown := run("dvc queue status")):
        time.sleep(2)
    assert shown.count("Success") == 2, shown
    ran = {name: stages(clone.run("dvc", "queue", "logs", name)) for name in LAYERS}
    assert "distill" in ran["layers-1"]
    assert not any({"fetch@encoder", "prepare", "finetune"} & each for each in ran.values())
    table = run("dvc exp show")
    columns = next(line for line in table.splitlines() if "Experiment" in line)
    assert shape(columns) == shape(SHOWN["dvc exp show … (without its rules)"].splitlines()[0])
    for name in ("main", "per-tensor", *LAYERS):
        assert name in table
    run("dvc exp apply per-tensor")
    assert "per_channel: false" in (clone.directory / "params.yaml").read_text()
    run("git checkout HEAD params.yaml")
    assert clone.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    assert clone.dvc("repro") == {"machine"}
    assert "distill" in stages(run("dvc exp run -S +experiment=no-teacher"))
    assert stages(run("dvc exp run -n reduced")) >= {"quantize@teacher", "benchmark"}
    run("dvc exp run -S report.sla_ms=2")
    assert "within 2 ms" in (clone.directory / "reports" / "results.md").read_text()
    run("python stages/quantize.py")


def test_ones_own_texts_and_model(clone: Clone, run: Callable[[str], str]) -> None:
    own = clone.directory
    shutil.copytree(own / "data" / "models" / "teacher" / "pytorch", own / "my-model")
    (own / "texts").mkdir()
    for name, seed in (("train", 3), ("test", 4)):
        make_texts(60, seed=seed).to_csv(own / "texts" / f"{name}.csv", index=False)
    assert "finetune" in stages(run("dvc exp run -S data=local"))
    run("dvc exp run -S model=local")
    teacher = pd.read_csv(own / "reports" / "results.csv", index_col="variant")
    assert teacher["accuracy"]["teacher_pytorch"] > 0.9
