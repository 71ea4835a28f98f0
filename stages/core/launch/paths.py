"""Where everything is, relative to the project's root."""

import errno
import os
from pathlib import Path

from stages.core.launch.errors import InputError

ENCODER = Path("data/raw/encoder")
CORPUS_SOURCE = Path("data/raw/corpus")
CORPUS = Path("data/corpus")
AUGMENTED = Path("data/augmented")
LABELLED = Path("data/labelled")
CHECKPOINTS = Path("data/checkpoints")  # of a training that is going on
MODELS = Path("data/models")
EVALUATION = Path("data/evaluation")
BENCHMARK = Path("data/benchmark")
RELEASE = Path("data/release")
REPORTS = Path("reports")
MACHINE = REPORTS / "machine.json"
CURVES = {"teacher": REPORTS / "finetune.csv", "student": REPORTS / "distill.csv"}
METRICS = REPORTS / "evaluation"  # one file per variant


def check_root() -> None:
    """Raise InputError if the current directory is not a project's root."""
    if not Path("dvc.yaml").exists():
        raise InputError(f"no dvc.yaml in {Path.cwd()}; run it from the project's root")


def existing(path: Path) -> Path:
    """Return `path`; raise FileNotFoundError if nothing is there, where the Hub would be asked."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return path
