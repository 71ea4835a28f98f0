"""Export a checkpoint to ONNX and hold it against PyTorch."""

from pathlib import Path

import numpy as np
from optimum.exporters.onnx import main_export
from pydantic.dataclasses import dataclass

from stages.core.app import launch
from stages.core.config import STRICT
from stages.core.corpus import load_corpus
from stages.core.errors import InputError
from stages.core.files import whole_directory
from stages.core.graph import optimize
from stages.core.inference import encode, load_classifier, load_tokenizer
from stages.core.layout import existing, variant_directory
from stages.core.settings import ExportConfig

BATCH_SIZES = (1, 3, 8)


@dataclass(config=STRICT)
class Config:
    """Settings of this stage."""

    export: ExportConfig


def run(config: Config) -> str:
    """Write a model's onnx variant, once its logits equal PyTorch's."""
    settings = config.export
    checkpoint = existing(variant_directory(f"{settings.model}_pytorch"))
    target = variant_directory(f"{settings.model}_onnx")
    texts = load_corpus()["validation"]["text"][:]
    with whole_directory(target) as directory:
        main_export(
            model_name_or_path=str(checkpoint),
            output=directory,
            task="text-classification",
            do_validation=False,  # ours is stricter: real sentences, several lengths and batches
        )
        done = optimize(directory / "model.onnx") if settings.optimize else "not optimized"
        difference = largest_difference(checkpoint, directory, texts)
        if not difference <= settings.tolerance:
            raise InputError(
                f"the {settings.model}'s ONNX logits ({done}) differ from PyTorch's by "
                f"{difference:.1e}, more than export.tolerance = {settings.tolerance:.0e}"
            )
    return f"{target}, {done}, within {difference:.1e} of PyTorch's logits"


def largest_difference(checkpoint: Path, onnx: Path, texts: list[str]) -> float:
    """Return the largest difference between the logits of a checkpoint and of its export.

    Takes, for every batch size, the shortest, the median and the longest of `texts`.
    """
    tokenizer = load_tokenizer(checkpoint)
    pytorch, exported = load_classifier(checkpoint), load_classifier(onnx)
    texts = sorted(texts, key=len)
    differences = []
    for size in BATCH_SIZES:
        middle = len(texts) // 2
        for batch in (texts[:size], texts[middle : middle + size], texts[-size:]):
            inputs = encode(tokenizer, batch)
            differences.append(np.abs(pytorch.logits(inputs) - exported.logits(inputs)).max())
    return float(np.max(differences))  # not a number, if one of them is not


if __name__ == "__main__":
    launch(run, Config)
