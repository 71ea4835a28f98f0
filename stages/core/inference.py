"""Loading a variant and asking it for logits: one code for export, evaluate and benchmark."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedTokenizerBase,
)

from stages.core.errors import InputError

Inputs = dict[str, np.ndarray]  # by input name, each of shape (texts, tokens)


@dataclass(frozen=True)
class Classifier:
    """A loaded variant."""

    logits: Callable[[Inputs], np.ndarray]  # gives shape (texts, classes)
    threads: int  # read back from the runtime; 0 is ONNX Runtime's own choice


def load_tokenizer(directory: Path) -> PreTrainedTokenizerBase:
    """Return a variant's tokenizer."""
    return AutoTokenizer.from_pretrained(directory)


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[str], max_length: int) -> Inputs:
    """Return texts as token ids, cut at `max_length` and padded to the longest."""
    return dict(
        tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="np")
    )


def load_classifier(directory: Path, threads: int | None = None) -> Classifier:
    """Load a variant, whatever its form, to run on `threads` threads; None leaves the choice.

    Raises:
        InputError: there is no model.
    """
    if not (directory / "config.json").exists():
        raise InputError(f"no model in {directory}; make it with: dvc repro")
    if (directory / "model.onnx").exists():
        return _load_onnx(directory / "model.onnx", threads)
    return _load_pytorch(directory, threads)


def _load_pytorch(directory: Path, threads: int | None) -> Classifier:
    if threads:
        torch.set_num_threads(threads)
    model = AutoModelForSequenceClassification.from_pretrained(directory).eval()

    @torch.no_grad()
    def logits(inputs: Inputs) -> np.ndarray:
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        return model(**tensors).logits.numpy()

    return Classifier(logits, torch.get_num_threads())


def _load_onnx(file: Path, threads: int | None) -> Classifier:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(
        file,
        options,
        providers=["CPUExecutionProvider"],
        # The fusion of a sum with the normalisation after it is slower than its parts on a CPU,
        # at equal output.
        disabled_optimizers=["SkipLayerNormFusion"],
    )
    names = [node.name for node in session.get_inputs()]

    def logits(inputs: Inputs) -> np.ndarray:
        return session.run(None, {name: inputs[name] for name in names})[0]

    return Classifier(logits, session.get_session_options().intra_op_num_threads)
