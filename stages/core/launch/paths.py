"""Where everything lies, relative to the project's root, and what a variant is called.

A variant is a model (teacher, student) in a form (pytorch, onnx, int8); its directory is complete:
config, tokenizer and weights.
"""

import errno
import os
from pathlib import Path

from stages.core.launch.errors import InputError

ENCODER = Path("data/raw/encoder")
CORPUS_SOURCE = Path("data/raw/corpus")
CORPUS = Path("data/corpus")
CHECKPOINTS = Path("data/checkpoints")  # of a training that is going on
MODELS = Path("data/models")
EVALUATION = Path("data/evaluation")
BENCHMARK = Path("data/benchmark")
RELEASE = Path("data/release")
REPORTS = Path("reports")
MACHINE = REPORTS / "machine.json"

VARIANTS = tuple(
    f"{model}_{form}" for model in ("teacher", "student") for form in ("pytorch", "onnx", "int8")
)
CONTROL = "control"  # the name under which the benchmark measures one variant a second time


def check_root() -> None:
    """Raise InputError if the current directory is no project's root."""
    if not Path("dvc.yaml").exists():
        raise InputError(f"no dvc.yaml in {Path.cwd()}; run it from the project's root")


def existing(path: Path) -> Path:
    """Return `path`; raise FileNotFoundError if nothing is there, where the Hub would be asked."""
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    return path


def spoken(variant: str) -> str:
    """Return what people call a variant: `student int8`."""
    return variant.replace("_", " ")


def variant_directory(variant: str) -> Path:
    """Return the directory of a variant such as `student_int8`."""
    model, form = variant.split("_")
    return MODELS / model / form
