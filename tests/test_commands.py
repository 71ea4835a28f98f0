"""Every stage as a command: as DVC runs it, and by hand."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages.core.lock import machine_lock
from stages.core.params import write_params
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
