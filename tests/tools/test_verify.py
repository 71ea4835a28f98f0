import os
import shlex
import shutil
import subprocess
from pathlib import Path

import dvc.cli
import pytest
import yaml

from stages.core.launch.errors import InputError
from stages.tools.verify import digest, mismatches, recorded
from tests.clone import ENVIRONMENT

STAGES = {
    "make": {
        "cmd": "mkdir -p data/sub && echo a > data/sub/b.txt && echo b > data/sub-a.txt",
        "deps": ["texts"],
        "outs": ["data"],
    },
    "use": {
        "cmd": "mkdir -p reports && cat data/*/* data/*.txt > reports/all.txt",
        "deps": ["data"],
        "outs": [{"reports/all.txt": {"cache": False}}],
    },
}


def run(commands: str) -> None:
    """Run commands as a shell would, DVC's in this process, which has imported it."""
    for command in map(shlex.split, commands.split(" && ")):
        if command[0] == "dvc":
            assert dvc.cli.main(command[1:]) == 0
        else:
            subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a DVC repository: one stage writes data/, another reads it."""
    directory = tmp_path_factory.mktemp("repository")
    (directory / "dvc.yaml").write_text(yaml.safe_dump({"stages": STAGES}))
    (directory / "texts").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        run("git init --quiet && dvc init && dvc repro && git add --all && git commit -qm Made")
    return directory


@pytest.fixture
def repository(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enter a copy of it."""
    shutil.copytree(made, tmp_path / "copy", symlinks=True)
    monkeypatch.chdir(tmp_path / "copy")


def remedy(message: str) -> str:
    return message.split("with: ")[1]


def rewrite(file: Path, content: str) -> None:
    """Change a file without a trace in its times or mode."""
    before = file.stat()
    file.chmod(0o644)
    file.write_text(content)
    file.chmod(before.st_mode)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_dvc_recorded_is_as_recorded(repository: None) -> None:
    assert mismatches() == []
    assert recorded() == {Path(path): digest(Path(path)) for path in ("data", "reports/all.txt")}


def test_a_changed_output_is_named_where_dvc_sees_no_change(repository: None) -> None:
    rewrite(Path("data/sub/b.txt"), "X\n")
    (message,) = mismatches()
    assert message == "not as recorded: data; restore with: rm -rf data && dvc repro"
    run(remedy(message))
    assert mismatches() == []


def test_a_missing_report_is_named_and_missing_data_is_not(repository: None) -> None:
    shutil.rmtree("data")
    Path("reports/all.txt").unlink()
    assert mismatches() == ["reports/all.txt is missing; make it with: dvc repro"]


KINDS = pytest.mark.parametrize("kind", ["*[!r]", "*.dir"])  # a file, a directory's list of files


def damage(kind: str) -> Path:
    """Damage an object of the cache, and return it."""
    damaged = next(Path(".dvc/cache/files/md5").glob(f"??/{kind}"))
    content = damaged.read_text()
    rewrite(damaged, content.replace("sub-a", "sub-b") if kind == "*.dir" else "X\n")
    return damaged


@KINDS
def test_a_damaged_cache_object_is_replaced_from_its_output(repository: None, kind: str) -> None:
    damaged = damage(kind)
    made = Path("data/sub-a.txt").stat().st_mtime_ns
    (message,) = mismatches()
    command = f"rm -rf {damaged} && dvc commit data && dvc repro"
    assert message == f"not as recorded: {damaged}; restore with: {command}"
    run(command)
    assert damaged.exists()
    assert mismatches() == []
    assert Path("data/sub-a.txt").stat().st_mtime_ns == made  # nothing was run again


@KINDS
@pytest.mark.parametrize("restored", [False, True])
def test_a_damaged_cache_object_without_its_output_is_made_anew(
    repository: None, kind: str, restored: bool
) -> None:
    before = recorded()
    damaged = damage(kind)
    shutil.rmtree("data")
    if restored:
        run("dvc repro")
        assert digest(Path("data")) != before[Path("data")]  # DVC has not noticed
    (message,) = mismatches()
    assert str(damaged) in message
    run(remedy(message))
    assert mismatches() == []
    assert recorded() == before


def test_a_repository_without_a_commit_is_checked_too(repository: None) -> None:
    shutil.rmtree(".git")
    run("git init --quiet")
    assert mismatches() == []
    rewrite(Path("data/sub/b.txt"), "X\n")
    assert mismatches() == ["not as recorded: data; restore with: rm -rf data && dvc repro"]


def test_objects_that_dvc_lock_does_not_name_are_left_alone(repository: None) -> None:
    cache = Path(".dvc/cache/files/md5")
    other = cache / "ab" / "0123456789abcdef0123456789abcd"
    other.parent.mkdir(exist_ok=True)
    other.write_text("another project's, and damaged")
    assert mismatches() == []
    rewrite(Path("data/sub/b.txt"), "X\n")
    own = Path("data-of-mine")
    own.mkdir()
    (message,) = mismatches()
    run(remedy(message))
    assert other.exists()
    assert own.exists()


def test_a_remedy_is_safe_to_paste(repository: None) -> None:
    Path("my data").mkdir()
    (Path("my data") / "x").touch()
    stages = {"spaced": {"cmd": "echo", "outs": ["my data"]}}
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    run("dvc commit --force")
    (Path("my data") / "x").write_text("changed")
    assert "rm -rf 'my data' && " in mismatches()[0]


@pytest.mark.parametrize(
    "text", ["stages:", "stages: 1", "[]", "stages: {a: 1}", "stages:\n  make: {cmd: ", "\xff"]
)
def test_a_damaged_lock_is_named(repository: None, text: str) -> None:
    Path("dvc.lock").write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=r"dvc.lock is damaged .*; restore it with: git checkout"):
        mismatches()
