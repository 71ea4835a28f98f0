"""What cluster/sweep.sh checks before it starts anything, and what it starts."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.clone import ENVIRONMENT
from tests.conftest import ROOT

# Both remotes, and an sbatch and a sky that write down what they are called with.
MADE = r"""
mkdir conf stages ../store ../bin ../tmp && touch conf/config.yaml dvc.yaml
git init --quiet && git init --quiet --bare ../remote.git && git remote add origin ../remote.git
mkdir .dvc && echo "[core]
    remote = store
['remote \"store\"']
    url = $PWD/../store" > .dvc/config
for each in sbatch sky; do
  printf '#!/bin/sh\nprintf "%%s\\n" "${0##*/}" "$@" >> ../started\n' > ../bin/$each
  chmod +x ../bin/$each
done
git add --all && git commit --quiet --message Made && git push --quiet origin HEAD
"""
PUSHED = "git commit --quiet --all --message Changed && git push --quiet origin HEAD"
LINES = "# two of them\nseed=14 'data.columns=[a,b]'\n\n  \nseed=15"
SBATCH = "cluster/sweep.sh ../settings.txt sbatch --time=9"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project with two remotes and two lines of settings beside it."""
    directory = tmp_path / "project"
    shutil.copytree(ROOT / "cluster", directory / "cluster")
    (tmp_path / "settings.txt").write_text(LINES)
    assert shell(directory, f"set -e\n{MADE}").returncode == 0
    return directory


def shell(project: Path, command: str) -> subprocess.CompletedProcess[str]:
    beside = project.parent
    changed = {"PATH": f"{beside / 'bin'}:{ENVIRONMENT['PATH']}", "TMPDIR": str(beside / "tmp")}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=project,
        env=ENVIRONMENT | changed,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (f": > .dvc/config && {PUSHED}", "has no DVC remote; dvc remote add"),
        ("rmdir ../store", "/store is not a directory on"),
        (
            f"sed -i s,url.*,url=../../relative, .dvc/config && {PUSHED}",
            "/relative is not a directory on",
        ),
        ("git remote remove origin", "no git remote origin"),
        ("rm -r ../remote.git", "can't be cloned on"),
        ("git commit --quiet --allow-empty --message Ahead", "is not on"),
        ("echo 'seed: 1' > conf/config.yaml", "uncommitted:  M conf/config.yaml"),
        ("touch stages/new.py", "uncommitted: ?? stages/"),
        ("echo seed=15 >> ../settings.txt", "two lines make the experiment seed-15;"),
        ("echo 'seed=\"14' >> ../settings.txt", "quotes can't be read"),
        ("echo '# none' > ../settings.txt", "no settings in"),
        ("rm ../settings.txt", "no ../settings.txt"),
    ],
)
def test_one_sentence_says_what_is_missing_and_nothing_starts(
    project: Path, change: str, sentence: str
) -> None:
    (project.parent / "settings.txt").write_text(f"{LINES}\n")
    shell(project, change)
    done = shell(project, SBATCH)
    assert done.returncode == 1
    (said,) = done.stderr.splitlines()
    assert sentence in said
    assert not (project.parent / "started").exists()
    assert [*(project.parent / "tmp").glob("bert-latency.*")] == []


def test_an_array_has_an_element_for_each_line(project: Path) -> None:
    done = shell(project, SBATCH)
    assert "2 experiments" in done.stdout, done.stderr
    commit = shell(project, "git rev-parse HEAD").stdout.strip()
    assert (project.parent / "started").read_text().splitlines() == [
        *("sbatch", "--job-name=bert-latency", "--array=1-2", "--time=9"),
        *("cluster/experiment.sh", "run", str(project.parent / "remote.git"), commit),
        *("seed=14 'data.columns=[a,b]'", "seed=15"),
    ]


def test_skypilot_gets_a_task_for_each_line(project: Path) -> None:
    shell(project, SBATCH.replace("sbatch --time=9", "sky jobs launch --yes"))
    started = (project.parent / "started").read_text().split("sky\n")[1:]
    assert [each.startswith("jobs\nlaunch\n--yes\n") for each in started] == [True, True]
    assert [each.split("SETTINGS=")[1].splitlines()[0] for each in started] == [
        *("seed=14 'data.columns=[a,b]'", "seed=15")
    ]


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_are_clean() -> None:
    subprocess.run(["shellcheck", *(ROOT / "cluster").glob("*.sh")], check=True)
