"""The classification heads of BERT, DistilBERT and RoBERTa, for engines that run encoders alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from stages.core.engines import Inputs, Logits
from stages.core.launch.errors import read_json
from stages.tools.peers import UnsupportedError

Activation = Callable[[np.ndarray], np.ndarray]
# By model type: the layer before the activation, the activation, and the layer after it.
HEADS: dict[str, tuple[str, Activation, str]] = {
    "bert": ("bert.pooler.dense", np.tanh, "classifier"),
    "distilbert": ("pre_classifier", lambda values: np.maximum(values, 0), "classifier"),
    "roberta": ("classifier.dense", np.tanh, "classifier.out_proj"),
}


def model_type(directory: Path) -> str:
    """Return the model type of a checkpoint; UnsupportedError if its head is unknown."""
    found = read_json(directory / "config.json")["model_type"]
    if found not in HEADS:
        raise UnsupportedError(f"heads.py knows no head of {found}")
    return found


def write_head(checkpoint: Path, target: Path) -> None:
    """Write the weights of a checkpoint's head."""
    first, _, last = HEADS[model_type(checkpoint)]
    weights = load_file(checkpoint / "model.safetensors")
    names = [f"{layer}.{part}" for layer in (first, last) for part in ("weight", "bias")]
    save_file({name: weights[name] for name in names}, target / "head.safetensors")


def with_head(directory: Path, encode: Callable[[list[list[int]]], np.ndarray]) -> Logits:
    """Return a function that computes logits with the head that `write_head` wrote.

    `encode` gives the first tokens, shape (texts, width), for the ids of each text, unpadded.
    """
    first, activation, last = HEADS[model_type(directory)]
    weights = load_file(directory / "head.safetensors")

    def layer(values: np.ndarray, name: str) -> np.ndarray:
        return values @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def logits(inputs: Inputs) -> np.ndarray:
        masks = inputs["attention_mask"].astype(bool)
        rows = zip(inputs["input_ids"], masks, strict=True)
        tokens = encode([ids[mask].tolist() for ids, mask in rows])
        return layer(activation(layer(tokens, first)), last)

    return logits
