import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.tools import verify
from stages.tools.record import digest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a copy of what is committed of the results."""
    shutil.copytree(ROOT / "reports", tmp_path / "reports")
    shutil.copy(ROOT / "dvc.lock", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_committed_is_of_one_run(committed: Path) -> None:
    assert verify.mismatches() == []


def test_a_report_that_was_changed_is_named(committed: Path) -> None:
    with Path("reports/sweep.csv").open("a") as file:
        file.write("\n")
    assert verify.mismatches() == [
        "not as recorded: reports/sweep.csv; mend with: rm -rf reports/sweep.csv && dvc repro"
    ]


def test_a_report_that_is_missing_is_named(committed: Path) -> None:
    Path("reports/length.svg").unlink()
    assert verify.mismatches() == ["reports/length.svg is missing; make it with: dvc repro"]


@pytest.mark.parametrize("change", [1e-4, -1e-4])
def test_a_figure_that_the_table_does_not_have_is_named(committed: Path, change: float) -> None:
    path = Path("reports/metrics.json")
    metrics = json.loads(path.read_text())
    metrics["student_int8"]["accuracy"] = round(metrics["student_int8"]["accuracy"] + change, 4)
    path.write_text(json.dumps(metrics))
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    for out in lock["stages"]["report"]["outs"]:
        out["md5"] = digest(Path(out["path"]))
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    (message,) = verify.mismatches()
    assert message.startswith("student_int8.accuracy is ")


def test_the_command_says_each_mismatch_and_fails(committed: Path) -> None:
    (committed / "dvc.yaml").touch()
    Path("reports/metrics.json").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "stages.tools.verify"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "verify: reports/metrics.json is missing; make it with: dvc repro",
        "verify: 1 mismatches",
    ]
