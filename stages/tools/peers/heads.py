"""The classification heads of BERT, DistilBERT and RoBERTa, for engines that run encoders alone."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from stages.tools.peers import UnsupportedError

Head = Callable[[np.ndarray], np.ndarray]  # from first tokens, (texts, width), to logits
# By model type: the layer before the activation, the activation, and the layer after it.
HEADS: dict[str, tuple[str, Head, str]] = {
    "bert": ("bert.pooler.dense", np.tanh, "classifier"),
    "distilbert": ("pre_classifier", lambda values: np.maximum(values, 0), "classifier"),
    "roberta": ("classifier.dense", np.tanh, "classifier.out_proj"),
}


def model_type(directory: Path) -> str:
    """Return the model type of a checkpoint; UnsupportedError if its head is unknown."""
    found = json.loads((directory / "config.json").read_text())["model_type"]
    if found not in HEADS:
        raise UnsupportedError(f"has no {found}")
    return found


def write_head(checkpoint: Path, target: Path) -> None:
    """Write the weights of a checkpoint's head."""
    from safetensors.numpy import save_file

    first, _, last = HEADS[model_type(checkpoint)]
    weights = load_file(checkpoint / "model.safetensors")
    names = [f"{layer}.{part}" for layer in (first, last) for part in ("weight", "bias")]
    save_file({name: weights[name] for name in names}, target / "head.safetensors")


def load_head(directory: Path) -> Head:
    """Return the head that `write_head` wrote."""
    first, activation, last = HEADS[model_type(directory)]
    weights = load_file(directory / "head.safetensors")

    def layer(values: np.ndarray, name: str) -> np.ndarray:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    return lambda values: layer(activation(layer(values, first)), last)
