"""Every stage as a command: as DVC runs it, and by hand."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages.core.launch.lock import machine_lock
from stages.tools.params import write_params
from stages.tools.record import digest
from tests.conftest import STEPS

ROOT = Path(__file__).parents[1]
# A step of every stage, by its name.
FIRST_STEPS = list({step[0]: step for step in reversed(STEPS)}.values())


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Return an empty project with the real params.yaml."""
    (tmp_path / "dvc.yaml").touch()
    write_params(tmp_path / "params.yaml", [])
    return tmp_path


def left_behind(workspace: Path) -> set[str]:
    return {str(path.relative_to(workspace)) for path in workspace.rglob("*")}


def test_dvcs_way_reads_params_yaml_and_leaves_no_trace(workspace: Path) -> None:
    done = run("-m", "stages.machine", "-cn", "resolved", cwd=workspace)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("machine: reports/machine.json")
    assert left_behind(workspace) == {
        "dvc.yaml",
        "params.yaml",
        "reports",
        "reports/machine.json",
    }


def test_dvcs_way_takes_its_settings_from_params_yaml(workspace: Path) -> None:
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["finetune"]["epochs"] = -7
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    done = run("-m", "stages.finetune", "-cn", "resolved", cwd=workspace)
    assert done.returncode == 1
    assert "finetune.epochs = -7" in done.stderr


def test_the_first_stage_refuses_what_a_later_one_would(workspace: Path) -> None:
    params = yaml.safe_load((workspace / "params.yaml").read_text())
    params["report"]["sla_ms"] = float("nan")
    (workspace / "params.yaml").write_text(yaml.safe_dump(params))
    done = run("-m", "stages.machine", "-cn", "resolved", cwd=workspace)
    assert done.returncode == 1
    assert done.stderr == "machine: report.sla_ms = nan: Input should be a finite number\n"
    assert left_behind(workspace) == {"dvc.yaml", "params.yaml"}


def test_by_hand_composes_conf_and_leaves_no_trace(workspace: Path) -> None:
    before = left_behind(workspace)
    script = str(ROOT / "stages" / "fetch.py")
    done = run(script, "fetch.item=corpus", "data=local", "data.source.path=gone", cwd=workspace)
    assert done.returncode == 1
    assert done.stderr == "fetch: gone does not exist; correct source.path\n"
    assert left_behind(workspace) == before | {"data", "data/raw"}


@pytest.mark.parametrize("step", FIRST_STEPS, ids=lambda step: step[0])
def test_every_stage_runs_by_hand(project: Callable, tiny: list[str], step: tuple) -> None:
    stage, *overrides = step
    done = run(str(ROOT / "stages" / f"{stage}.py"), *tiny, *overrides, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{stage}: ")


def test_a_stage_refuses_to_run_outside_a_project(tmp_path: Path) -> None:
    done = run(str(ROOT / "stages" / "machine.py"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"machine: no dvc.yaml in {tmp_path}; run it from the project's root\n"


def test_the_benchmark_waits_until_it_is_alone(project: Callable, tiny: list[str]) -> None:
    with machine_lock(alone=False):
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "stages" / "benchmark.py"), *tiny],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr
        waiting = next(line for line in process.stderr if "waiting" in line)
        assert "waiting for the other stages" in waiting
        assert process.poll() is None
    process.kill()
    process.wait()


def test_an_unknown_key_by_hand_is_named(workspace: Path) -> None:
    done = run(str(ROOT / "stages" / "machine.py"), "finetune.epoch=1", cwd=workspace)
    assert done.returncode == 1
    assert "finetune.epoch" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("limit", "command", "message"),
    [
        (
            0,
            "machine",
            r"machine: No usable temporary directory found in .*; free some space there",
        ),
        (  # which its libraries meet while they are imported
            0,
            "finetune",
            r"finetune: No usable temporary directory found in .*; free some space there",
        ),
        (
            1,
            "fetch fetch.item=corpus data=local data.source.path=texts.csv",
            r"fetch: data/raw/\.corpus\..*/texts\.csv: File too large; free some space",
        ),
    ],
)
def test_a_full_disk_is_named(workspace: Path, limit: int, command: str, message: str) -> None:
    (workspace / "texts.csv").write_text("text,label\n" * 1000)
    # Half a file of byte code would not be told from a whole one.
    limited = f"ulimit -f {limit}; exec {sys.executable} -B -m stages.{command}"
    done = subprocess.run(
        ["bash", "-c", limited], cwd=workspace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(message + ", then run dvc repro again\n", done.stderr)
    assert not list(workspace.rglob("*.partial"))


@pytest.mark.parametrize(
    ("directory", "command"),
    [("reports", ["stages.machine"]), ("data", ["stages.fetch", "fetch.item=corpus"])],
)
def test_a_directory_that_can_not_be_written_is_named(
    workspace: Path, directory: str, command: list[str]
) -> None:
    (workspace / directory).symlink_to("/sys")  # where not even root may
    done = run("-m", command[0], "-cn", "resolved", *command[1:], cwd=workspace)
    assert done.returncode == 1
    assert re.fullmatch(
        rf"\w+: {directory}/.*: Operation not permitted; allow this user to use it, "
        r"then run dvc repro again\n",
        done.stderr,
    )


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        ("prepare", "text file"),
        ("finetune", "data/corpus"),
        ("distill", "data/models/teacher/pytorch"),
        ("export export.model=student", "data/models/student/pytorch"),
        ("quantize quantize.model=student", "data/models/student/onnx/model.onnx"),
        ("evaluate evaluate.variant=student_onnx", "model in data/models/student/onnx"),
        ("benchmark", "data/corpus"),
        ("profiling", "data/corpus"),
        ("report", "data/benchmark/samples.parquet"),
        ("release", "reports/results.csv"),
    ],
)
def test_a_missing_input_is_named(workspace: Path, command: str, missing: str) -> None:
    stage, *overrides = command.split()
    done = run("-m", f"stages.{stage}", "-cn", "resolved", *overrides, cwd=workspace)
    assert done.returncode == 1
    assert re.fullmatch(rf"{stage}: .*no {missing}.*\n", done.stderr)
    assert done.stderr.count("make it with: dvc repro") == (stage != "prepare")


@pytest.mark.parametrize(
    ("file", "stage", "overrides"),
    [
        ("data/models/student/onnx/model.onnx", "evaluate", ["evaluate.variant=student_onnx"]),
        ("data/models/student/onnx/model.onnx", "quantize", ["quantize.model=student"]),
        ("data/models/student/pytorch/model.safetensors", "export", ["export.model=student"]),
        ("data/raw/encoder/config.json", "finetune", []),
        ("data/corpus/train/data-00000-of-00001.arrow", "finetune", []),
        ("data/benchmark/samples.parquet", "report", []),
    ],
)
def test_a_truncated_input_is_named_with_its_remedy(
    project: Callable, tiny: list[str], file: str, stage: str, overrides: list[str]
) -> None:
    output = Path(file).parent if "corpus" not in file else Path("data/corpus")
    entries = {
        "maker": {"cmd": "-", "outs": [{"path": str(output), "md5": digest(output)}]},
        stage: {"cmd": f"python -m stages.{stage} -cn resolved", "deps": [{"path": str(output)}]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": entries}))
    os.truncate(file, Path(file).stat().st_size // 2)
    done = run(str(ROOT / "stages" / f"{stage}.py"), *tiny, *overrides, cwd=Path.cwd())
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        (
            f"; not as recorded: {output}; mend with: rm -rf {output} && dvc repro",
            f"; remove {output}, then run dvc repro",  # where the file is named
        )
    )
    assert "Traceback" not in done.stderr


def test_dvc_has_no_stage_read_what_is_not_as_recorded(
    project: Callable, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = Path("data/models/student/onnx")
    entries = {
        "maker": {"cmd": "-", "outs": [{"path": str(output), "md5": digest(output)}]},
        "evaluate@student-onnx": {"cmd": "-", "deps": [{"path": str(output)}]},
    }
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": entries}))
    monkeypatch.setenv("DVC_STAGE", "evaluate@student-onnx")
    script = str(ROOT / "stages" / "evaluate.py")
    command = [script, *tiny, "evaluate.variant=student_onnx"]
    assert run(*command, cwd=Path.cwd()).returncode == 0
    weights = output / "model.onnx"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1  # a weight: no reader can tell
    weights.write_bytes(content)
    done = run(*command, cwd=Path.cwd())
    assert done.returncode == 1
    assert done.stderr == (
        f"evaluate: not as recorded: {output}; mend with: rm -rf {output} && dvc repro\n"
    )


def test_an_error_in_the_code_keeps_its_traceback(workspace: Path) -> None:
    (workspace / "buggy.py").write_text(
        "from stages.core.launch.command import launch\n"
        "from stages.machine import Config\n"
        "launch(lambda config: config.typo, Config)\n"
    )
    done = run("buggy.py", cwd=workspace)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "AttributeError: 'Config' object has no attribute 'typo'" in done.stderr
