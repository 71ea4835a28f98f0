"""What a variant is, read off its directory."""

import math
from pathlib import Path

from safetensors import safe_open

from stages.core.launch.paths import variant_directory

FORMS = {"pytorch": "PyTorch", "onnx": "ONNX", "int8": "ONNX INT8"}


def label(variant: str) -> str:
    """Return a name for people, such as `BERT 6×384, ONNX INT8` (layers × width)."""
    from transformers import AutoConfig  # takes two seconds; others import this module

    directory = variant_directory(variant)
    config = AutoConfig.from_pretrained(directory)
    family = type(config).__name__.removesuffix("Config").replace("Bert", "BERT")
    shape = f"{config.num_hidden_layers}×{config.hidden_size}"
    return f"{family} {shape}, {FORMS[variant.split('_')[1]]}"


def parameters(variant: str) -> int:
    """Return the number of parameters of a variant's model; export and INT8 don't change it."""
    model = variant.split("_")[0]
    total = 0
    for file in variant_directory(f"{model}_pytorch").glob("*.safetensors"):
        with safe_open(file, "np") as weights:
            shapes = [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118
            total += sum(math.prod(shape) for shape in shapes)
    return total


def size_mb(variant: str) -> float:
    """Return the size of a variant's directory in MB, tokenizer included."""
    files: list[Path] = [path for path in variant_directory(variant).iterdir() if path.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6
