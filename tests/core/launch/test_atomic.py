import json
import os
import subprocess
from pathlib import Path

import pytest

from stages.core.launch.atomic import atomic_directory, atomic_file, write_json


def test_a_directory_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").touch()
    with atomic_directory(target) as directory:
        (directory / "new.txt").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new.txt"]


def test_a_failure_keeps_the_old_directory_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.txt").touch()
    with pytest.raises(KeyError), atomic_directory(target) as directory:
        (directory / "half.txt").touch()
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old.txt"]


def test_leftovers_of_dead_processes_are_removed_and_no_others(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for owner in (f"out.{ended.pid}", f"out.{os.getppid()}", f"other.{ended.pid}"):
        (tmp_path / f".{owner}.x1.partial").mkdir()
    with atomic_directory(tmp_path / "out"):
        pass
    kept = {f".out.{os.getppid()}.x1.partial", f".other.{ended.pid}.x1.partial"}
    assert {path.name for path in tmp_path.iterdir()} == {"out"} | kept


def test_a_failure_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "metrics.json"
    write_json(target, {"accuracy": 1})
    with pytest.raises(KeyError), atomic_file(target) as part:
        part.write_text("half")
        raise KeyError
    assert json.loads(target.read_text()) == {"accuracy": 1}
    assert list(tmp_path.iterdir()) == [target]
