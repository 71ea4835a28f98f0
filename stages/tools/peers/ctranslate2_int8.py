"""CTranslate2 with INT8 weights."""

from pathlib import Path

import numpy as np

from stages.core.engines import Logits, Sample
from stages.tools.peers.heads import with_head, write_head

TITLE = "CTranslate2, INT8"
PACKAGES = ("ctranslate2",)


def make(checkpoint: Path, target: Path, sample: Sample) -> None:
    """Convert the encoder; the head stays as it is."""
    write_head(checkpoint, target)
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(checkpoint)).convert(str(target / "encoder"), quantization="int8")


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    from ctranslate2 import Encoder

    encoder = Encoder(str(directory / "encoder"), compute_type="int8", intra_threads=threads)

    def encode(ids: list[list[int]]) -> np.ndarray:
        return np.array(encoder.forward_batch(ids).last_hidden_state)[:, 0]

    return with_head(directory, encode), threads
