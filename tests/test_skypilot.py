"""SkyPilot itself reads cluster/skypilot.yaml, in an environment of its own."""

import os
import subprocess
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILE = (ROOT / "cluster" / "skypilot.yaml").read_text()
READ = """
import sys, yaml
from sky import Task
given = dict.fromkeys(("REPOSITORY", "COMMIT", "SETTINGS"), "given")
task = Task.from_yaml_config(yaml.safe_load(sys.stdin), env_overrides=[*given.items()])
assert task.envs == given
print(*{each.cpus for each in task.resources})
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with SkyPilot in .venv, for what it writes to a user's home."""
    directory = tmp_path_factory.mktemp("skypilot")
    venv.create(directory / ".venv", with_pip=True)
    pip = [str(directory / ".venv/bin/python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "skypilot==0.14.1"], check=True)
    return directory


def read(home: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Let SkyPilot read a task."""
    return subprocess.run(
        [home / ".venv/bin/python", "-c", READ],
        env=os.environ | {"HOME": str(home)},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_task_is_one_of_skypilot(home: Path) -> None:
    done = read(home, FILE)
    assert done.stdout == "4+\n", done.stderr


def test_a_key_that_skypilot_has_not_is_refused(home: Path) -> None:
    done = read(home, FILE.replace("cpus:", "cores:"))
    assert done.returncode == 1
    assert "cores" in done.stderr
