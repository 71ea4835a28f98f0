"""PyTorch, compiled, with torchao's INT8 weights and dynamically quantized activations."""

from pathlib import Path

from stages.core.engines import Logits
from stages.core.engines.pytorch import read
from stages.tools.peers.torch_compile import compiled, make

__all__ = ["PACKAGES", "TITLE", "load", "make"]

TITLE = "PyTorch, torch.compile, torchao INT8"
PACKAGES = ("torch", "torchao", "transformers")


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    import torch
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    model = read(directory, threads, torch.float32)
    quantize_(model, Int8DynamicActivationInt8WeightConfig())
    return compiled(model), torch.get_num_threads()
