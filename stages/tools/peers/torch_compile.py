"""PyTorch, compiled, in bfloat16. It needs a C++ compiler."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.engines import Logits, Sample
from stages.core.engines.pytorch import logits_by, read
from stages.tools.peers import UnsupportedError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TITLE = "PyTorch, torch.compile, bf16"
PACKAGES = ("torch", "transformers")


def make(checkpoint: Path, target: Path, sample: Sample) -> None:
    """Link the weights; UnsupportedError without a C++ compiler."""
    if not shutil.which("g++"):
        raise UnsupportedError("torch.compile needs a C++ compiler, g++")
    (target / "model.safetensors").symlink_to((checkpoint / "model.safetensors").absolute())


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    import torch

    return compiled(read(directory, threads, torch.bfloat16)), torch.get_num_threads()


def compiled(model: "PreTrainedModel") -> Logits:
    """Return a function that computes logits, compiled once for all shapes."""
    import torch

    return logits_by(model, torch.compile(model, dynamic=True))
