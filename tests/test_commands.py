"""Every stage as a command: as DVC runs it, and by hand."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.core.params import write_params

ROOT = Path(__file__).parents[1]
STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
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


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_starts_by_hand_and_refuses_with_one_message(
    workspace: Path, stage: str
) -> None:
    """Here because it is outside a project's root."""
    (workspace / "dvc.yaml").unlink()
    done = run(str(ROOT / "stages" / f"{stage}.py"), cwd=workspace)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{stage}: no dvc.yaml in ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_key_by_hand_is_named(workspace: Path) -> None:
    done = run(str(ROOT / "stages" / "machine.py"), "finetune.epoch=1", cwd=workspace)
    assert done.returncode == 1
    assert "finetune.epoch" in done.stderr
    assert "Traceback" not in done.stderr
