"""The process that serves a peer, as a variant's worker serves a variant."""

import sys
from importlib import import_module
from pathlib import Path

import numpy as np
from tqdm import tqdm

from stages.core.measuring.worker import serve
from stages.core.serving.classifier import Classifier, encode, load_tokenizer, load_with


def load_peer(directory: Path, threads: int) -> Classifier:
    """Load the peer that the directory is named after."""
    return load_with(import_module(f"{__package__}.{directory.name}"), directory, threads)


def answer(directory: Path, threads: int, texts: list[str]) -> np.ndarray:
    """Return the logits of texts by a peer, one by one, shape (texts, classes)."""
    peer, tokenizer = load_peer(directory, threads), load_tokenizer(directory)
    progress = tqdm(texts, desc=directory.name, unit="text", disable=None)
    return np.concatenate([peer.logits(encode(tokenizer, [text])) for text in progress])


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), load_peer)
