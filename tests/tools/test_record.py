import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.schema import COMPILED_LOCKFILE_SCHEMA

from stages.core.launch.errors import InputError
from stages.tools.record import (
    changed,
    changed_inputs,
    damage,
    damaged_cache,
    digest,
    recorded_outputs,
    recorded_stages,
)

ROOT = Path(__file__).parents[2]


def dvc(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, check=True)


def git(*arguments: str) -> None:
    author = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    subprocess.run(["git", *author, *arguments], check=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Enter a DVC repository of two stages: `make` writes data/, `use` reads it."""
    stages = {
        "make": {
            "cmd": "mkdir -p data/sub && echo a > data/sub/b.txt && echo b > data/sub-a.txt",
            "deps": ["texts"],
            "outs": ["data"],
        },
        "use": {"cmd": "true || python -m stages.machine -cn resolved", "deps": ["data"]},
    }
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    git("init", "--quiet")
    dvc("init")
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("texts").touch()
    dvc("repro")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Undisturbed")
    return tmp_path


def test_a_directory_has_the_digest_that_dvc_records(repository: Path) -> None:
    (out,) = recorded_stages()["make"]["outs"]
    assert digest(Path("data")) == out["md5"]
    assert damaged_cache() == []
    assert changed_inputs("machine") == []


def test_a_flipped_byte_is_found_where_dvc_finds_none(repository: Path) -> None:
    file = Path("data/sub/b.txt")
    stamp = file.stat()
    file.write_text("X\n")
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert changed_inputs("machine") == [Path("data")]
    assert changed_inputs("report") == []


@pytest.mark.parametrize("kind", ["*[!r]", "*.dir"])  # a file, and a directory's list of files
def test_a_damaged_cache_is_named_and_mended_though_dvc_restored_from_it(
    repository: Path, kind: str
) -> None:
    (out,) = recorded_stages()["make"]["outs"]
    damaged = next(Path(".dvc/cache/files/md5").glob(f"??/{kind}"))
    content = damaged.read_text()
    damaged.chmod(0o644)
    damaged.write_text(content.replace("sub-a", "sub-b") if kind == "*.dir" else "damaged")
    damaged.chmod(0o444)
    shutil.rmtree("data")
    dvc("repro")
    assert digest(Path("data")) != out["md5"]  # DVC has not noticed
    found = damaged_cache()
    assert found[0] == damaged
    command = damage(changed(recorded_outputs(recorded_stages())), found).split("with: ")[1]
    subprocess.run(["bash", "-c", command.replace(" data/*/", " data")], check=True)
    assert digest(Path("data")) == out["md5"]
    assert damaged_cache() == []


def test_what_a_killed_dvc_was_writing_is_no_damage(repository: Path) -> None:
    place = next(Path(".dvc/cache/files/md5").iterdir())
    (place / ".mVzNqS8YhBb5.tmp").write_text("half")
    assert damaged_cache() == []


def test_a_command_is_safe_to_paste() -> None:
    said = damage([Path("my data/x")], [])
    assert said.endswith("rm -rf 'my data/x' && dvc repro")


def test_a_lock_that_is_cut_off_anywhere_is_whole_enough_or_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = (ROOT / "dvc.lock").read_text()
    monkeypatch.chdir(tmp_path)
    one = lock.index("  distill:"), lock.index("  evaluate@")  # where every third cut is tried
    refused = 0
    for end in (*range(0, len(lock), len(lock) // 30), *range(*one, 3)):
        start = 0 if end < one[0] or end > one[1] else one[0]
        text = lock[start:end] if start == 0 else f"schema: '2.0'\nstages:\n{lock[start:end]}"
        Path("dvc.lock").write_text(text)
        try:
            recorded_outputs(recorded_stages())
        except InputError:
            refused += 1
        else:  # what we take for whole, dvc does too
            COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(text))
    assert refused


@pytest.mark.parametrize("text", ["", "stages:", "stages: 1", "[]", "stages: {a: 1}", "\xff"])
def test_what_is_no_lock_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("dvc.lock").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"dvc.lock is damaged; restore it with"):
        recorded_stages()


@pytest.mark.parametrize(
    "rest",
    [
        "params:\n      params.yaml:\n        quanti",
        "deps:\n    - path: data\n      size:",
        "outs:\n    - path: data",
        "outs:\n    - path: data\n      md5: 0\n      isex",
    ],
)
def test_what_dvc_refuses_of_a_lock_is_damaged(repository: Path, rest: str) -> None:
    Path("dvc.lock").write_text(f"schema: '2.0'\nstages:\n  make:\n    cmd: make\n    {rest}")
    with pytest.raises(InputError, match=r"dvc.lock is damaged; restore it with"):
        recorded_stages()


def test_a_damaged_lock_is_named(repository: Path) -> None:
    Path("dvc.lock").write_text("stages:\n  make: {cmd: ")
    with pytest.raises(
        InputError, match=r"dvc.lock is damaged; restore it with: git checkout HEAD"
    ):
        recorded_stages()
