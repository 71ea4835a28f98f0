"""Stages as commands: as DVC runs them, and by hand. What they do is tested in process."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages.core.launch.errors import user_hint
from stages.core.launch.lock import machine_lock
from stages.tools.params import write_params
from tests.conftest import ROOT, make_root


def run(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter an empty project with the real settings."""
    make_root(tmp_path)
    monkeypatch.chdir(tmp_path)
    write_params(Path("params.yaml"), [])
    return tmp_path


def left_behind() -> set[str]:
    return {str(path) for path in Path().rglob("*")} - {"dvc.yaml", "params.yaml", "conf"}


def test_dvcs_way_reads_params_yaml_and_leaves_no_trace(workspace: Path) -> None:
    done = run("-m", "stages.machine", "-cn", "resolved")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("machine: reports/machine.json")
    assert left_behind() == {"reports", "reports/machine.json"}


def test_the_first_stage_refuses_what_a_later_one_would(workspace: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["report"]["sla_ms"] = float("nan")
    Path("params.yaml").write_text(yaml.safe_dump(params))
    done = run("-m", "stages.machine", "-cn", "resolved")
    assert done.returncode == 1
    assert done.stderr == "machine: report.sla_ms = nan: Input should be a finite number\n"
    assert left_behind() == set()


def test_the_first_stage_refuses_more_threads_than_cores(workspace: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    done = run(str(ROOT / "stages" / "machine.py"), f"benchmark.threads={cores + 1}")
    assert done.returncode == 1
    assert f"machine: benchmark.threads = {cores + 1}, but this process may use" in done.stderr
    assert left_behind() == set()


def test_by_hand_composes_conf_and_leaves_no_trace(workspace: Path) -> None:
    script = str(ROOT / "stages" / "fetch.py")
    done = run(script, "run.item=corpus", "data=local", "data.source.path=gone")
    assert done.returncode == 1
    assert done.stderr == "fetch: gone does not exist; correct source.path\n"
    assert left_behind() == {"data", "data/raw"}


def test_a_stage_runs_by_hand(project: Callable, tiny: list[str]) -> None:
    script = str(ROOT / "stages" / "evaluate.py")
    done = run(script, *tiny, "run.model=student", "run.form=int8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("evaluate: data/evaluation/student_int8 with")


def test_a_stage_refuses_to_run_outside_a_project(tmp_path: Path) -> None:
    done = run(str(ROOT / "stages" / "machine.py"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"machine: no dvc.yaml in {tmp_path}; run it from the project's root\n"


def test_an_unknown_key_by_hand_is_named(workspace: Path) -> None:
    done = run(str(ROOT / "stages" / "machine.py"), "finetune.epoch=1")
    assert done.returncode == 1
    assert "finetune.epoch" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_benchmark_waits_until_it_is_alone(project: Callable, tiny: list[str]) -> None:
    with machine_lock(alone=False):
        command = [sys.executable, str(ROOT / "stages" / "benchmark.py"), *tiny]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr
            waiting = next(line for line in process.stderr if "waiting" in line)
            assert "waiting for the other stages" in waiting
            assert process.poll() is None
            process.kill()


@pytest.mark.parametrize(
    ("limit", "command", "message"),
    [
        # Once while a stage's libraries are imported, once in the middle of a write.
        (
            0,
            "finetune",
            r"finetune: No usable temporary directory found in .*; free some space there",
        ),
        (
            1,
            "fetch run.item=corpus data=local data.source.path=texts.csv",
            r"fetch: data/raw/\.corpus\..*/texts\.csv: File too large; free some space",
        ),
    ],
)
def test_a_full_disk_is_named(workspace: Path, limit: int, command: str, message: str) -> None:
    Path("texts.csv").write_text("text,label\n" * 1000)
    # Without byte code: half a file of it would pass for a complete one.
    limited = f"ulimit -f {limit}; exec {sys.executable} -B -m stages.{command}"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(message + ", then run dvc repro again\n", done.stderr)
    assert not list(Path().rglob("*.partial"))


def test_a_directory_that_can_not_be_written_is_named(workspace: Path) -> None:
    Path("reports").symlink_to("/sys")  # where not even root may
    done = run("-m", "stages.machine", "-cn", "resolved")
    assert done.returncode == 1
    assert re.fullmatch(
        r"machine: reports/.*: Operation not permitted; allow this user to use it, "
        r"then run dvc repro again\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("prepare", "data/raw/encoder"),
        ("finetune", "data/corpus"),
        ("distill", "data/models/teacher/pytorch"),
        ("export run.model=student", "data/models/student/pytorch"),
        ("quantize run.model=student run.form=int8", "data/models/student/onnx"),
        ("evaluate run.model=student run.form=onnx", "data/models/student/onnx"),
        ("benchmark", "data/corpus"),
        ("profiling", "data/corpus"),
        ("report", "data/benchmark"),
        ("release", "reports/results.csv"),
    ],
)
def test_a_missing_input_is_named(empty: Callable, command: str, missing: str) -> None:
    with pytest.raises(FileNotFoundError, match=missing) as raised:
        empty(*command.split())
    hint = user_hint(raised.value) or ""
    assert re.search(rf"no {missing}", hint)
    assert hint.count("make it with: dvc repro") == 1


def test_a_damaged_input_keeps_its_traceback_and_points_to_verify(
    project: Callable, tiny: list[str]
) -> None:
    file = Path("data/corpus/train/data-00000-of-00001.arrow")
    os.truncate(file, file.stat().st_size // 2)
    done = run(str(ROOT / "stages" / "finetune.py"), *tiny)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1] == (
        "This is a bug, or a file is damaged; make verify tells which."
    )


@pytest.mark.parametrize(("first", "reported"), [("stages", False), ("json", True)])
def test_onnx_runtime_reports_nothing_about_us(first: str, reported: bool, tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    kept.pop("CI", None)  # where it would report nothing anyway
    code = f"import {first}, onnxruntime"
    subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)},
        check=True,
    )
    assert bool([*tmp_path.rglob("*.db")]) == reported
