"""A fresh clone of the project, and what its commands do in it."""

import os
import re
import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    **{
        f"GIT_{who}_{key}": "test@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for key in ("NAME", "EMAIL")
    },
    # Toy models gain nothing from more, and two clones at once lose much.
    "OMP_NUM_THREADS": "1",
}


def stages(printed: str) -> set[str]:
    """Return the stages that DVC says it ran."""
    return set(re.findall(r"Running stage '(.+?)':", printed))


class Clone:
    """A fresh clone of a repository's last commit, and the stages that a command runs in it."""

    def __init__(self, directory: Path, source: Path = ROOT) -> None:
        self.directory = directory
        subprocess.run(["git", "clone", "--quiet", str(source), str(directory)], check=True)

    def run(self, *command: str) -> str:
        """Run a command; return what it printed."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            # One clone's measurement need not wait for the stages of another test's.
            env=ENVIRONMENT | {"BERT_LATENCY_LOCKS": str(self.directory.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def dvc(self, *arguments: str) -> set[str]:
        """Run a DVC command; return the stages that it ran."""
        return stages(self.run(sys.executable, "-m", "dvc", *arguments))

    def shrink(self, overrides: list[str]) -> None:
        """Make `overrides` (of groups and of values) the clone's defaults, and commit them."""
        pairs = [override.split("=", 1) for override in overrides]
        groups = {key: value for key, value in pairs if (self.directory / "conf" / key).is_dir()}
        values = OmegaConf.from_dotlist([f"{k}={v}" for k, v in pairs if k not in groups])
        defaults = {"defaults": [{f"override /{key}": value} for key, value in groups.items()]}
        text = OmegaConf.to_yaml(OmegaConf.merge(defaults, values))
        group = self.directory / "conf" / "shrunken"
        group.mkdir()
        (group / "tiny.yaml").write_text(f"# @package _global_\n{text}")
        config = self.directory / "conf" / "config.yaml"
        config.write_text(
            config.read_text().replace("  - _self_\n", "  - _self_\n  - shrunken: tiny\n")
        )
        self.run(sys.executable, "-m", "stages.tools.params")
        self.commit("The defaults, shrunken")

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)
