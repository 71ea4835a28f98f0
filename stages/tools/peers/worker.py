"""The process that serves a peer, as a variant's worker serves a variant."""

import sys
from importlib import import_module
from pathlib import Path

from stages.core.measuring.worker import serve
from stages.core.serving.classifier import Classifier, load_with


def load_peer(directory: Path, threads: int) -> Classifier:
    """Load the peer that the directory is named after."""
    return load_with(import_module(f"{__package__}.{directory.name}"), directory, threads)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), load_peer)
