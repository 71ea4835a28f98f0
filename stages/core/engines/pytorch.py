"""PyTorch, with the model's own class in transformers."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.core.engines import Inputs, Logits, Operators, milliseconds
from stages.core.launch.errors import readable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

PACKAGES = ("torch", "transformers")
LIBRARY = "transformers"
EXAMPLE = """\
import torch
from transformers import pipeline

torch.set_num_threads({threads})  # as measured
classify = pipeline("text-classification", ".", truncation=True, max_length={max_length})
print(classify("A lovely film.")[0]["label"])"""
OPERATORS = {
    "embedding": ("aten::embedding", "aten::index_select"),
    "matrix products": ("aten::addmm", "aten::mm", "aten::bmm", "aten::baddbmm"),
    "attention": ("aten::_scaled_dot_product_flash_attention_for_cpu", "aten::_softmax"),
    "normalisation": ("aten::native_layer_norm",),
    "activation": ("aten::gelu", "aten::tanh", "aten::relu"),
    "addition": ("aten::add", "aten::add_"),
}


def load(directory: Path, threads: int) -> tuple[Logits, int]:
    """Return a function that computes logits, and how many threads it uses."""
    import torch

    model = read(directory, threads)
    return logits_by(model, model), torch.get_num_threads()


def read(directory: Path, threads: int, dtype: "torch.dtype | None" = None) -> "PreTrainedModel":
    """Return a checkpoint's classifier in `dtype` (None: float32); PyTorch then has `threads`."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    with readable(directory / "model.safetensors"):
        return AutoModelForSequenceClassification.from_pretrained(directory, dtype=dtype).eval()


def logits_by(model: "PreTrainedModel", forward: Callable[..., Any]) -> Logits:
    """Return a function that computes logits by `forward`: the model, or the model compiled."""
    import torch

    names = inspect.signature(model.forward).parameters

    @torch.no_grad()
    def logits(inputs: Inputs) -> np.ndarray:
        tensors = {name: torch.from_numpy(inputs[name]) for name in inputs if name in names}
        return forward(**tensors).logits.float().numpy()

    return logits


def profile(directory: Path, inputs: list[Inputs], threads: int) -> tuple[Operators, float]:
    """Return the operators, by the time in themselves, and the milliseconds of all calls."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    logits, _ = load(directory, threads)
    logits(inputs[0])
    with profiler(activities=[ProfilerActivity.CPU]) as recorded:
        ms = milliseconds(lambda: [logits(encoded) for encoded in inputs])
    return [
        (event.key, event.count, event.self_cpu_time_total / 1e3)
        for event in recorded.key_averages()
    ], ms
