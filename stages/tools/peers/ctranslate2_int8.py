"""CTranslate2 with INT8 weights."""

from pathlib import Path

import numpy as np

from stages.core.engines.classifier import Inputs, Logits, Sample
from stages.tools.peers.heads import load_head, write_head

TITLE = "CTranslate2, INT8"
PACKAGES = ("ctranslate2",)


def make(checkpoint: Path, target: Path, sample: Sample) -> None:
    """Convert the encoder; the head stays as it is."""
    from ctranslate2.converters import TransformersConverter

    write_head(checkpoint, target)
    TransformersConverter(str(checkpoint)).convert(str(target / "encoder"), quantization="int8")


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return what gives the logits, and how many threads it uses."""
    from ctranslate2 import Encoder

    encoder = Encoder(str(directory / "encoder"), compute_type="int8", intra_threads=threads)
    head = load_head(directory)

    def logits(inputs: Inputs) -> np.ndarray:
        masks = inputs["attention_mask"].astype(bool)
        ids = [row[mask].tolist() for row, mask in zip(inputs["input_ids"], masks, strict=True)]
        return head(np.array(encoder.forward_batch(ids).last_hidden_state)[:, 0])

    return logits, threads
