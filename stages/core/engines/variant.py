"""A variant: one model in one form, and the manifest that its directory holds."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors import safe_open

from stages.core.launch.atomic import write_json
from stages.core.launch.errors import InputError, readable
from stages.core.launch.paths import MODELS

MANIFEST = "variant.json"
ROLES = ("teacher", "student")


@dataclass(frozen=True)
class Variant:
    """A model (teacher or student) in a form (pytorch, onnx, int8, …)."""

    model: str
    form: str

    @classmethod
    def named(cls, name: str) -> "Variant":
        """Return the variant with that name: no role contains an underscore, a form may."""
        model, _, form = name.partition("_")
        return cls(model, form)

    @property
    def name(self) -> str:
        """Its key in files and metrics: `student_int8`."""
        return f"{self.model}_{self.form}"

    @property
    def title(self) -> str:
        """Its name for people: `student int8`."""
        return f"{self.model} {self.form.replace('_', ' ')}"

    @property
    def directory(self) -> Path:
        """Config, tokenizer, weights and manifest: all that serving it takes."""
        return MODELS / self.model / self.form


def variants(forms: list[str]) -> list[Variant]:
    """Return every role in every form, the teacher first: the order of all tables and figures."""
    return [Variant(model, form) for model in ROLES for form in forms]


@dataclass(frozen=True)
class Manifest:
    """What a variant's directory says about itself."""

    engine: str  # the module of stages/core/engines that serves it
    title: str  # the form's name for people, such as `ONNX INT8`
    positions: int  # the longest text that the model can read, in tokens
    quantized: bool = False  # whether its speed and accuracy depend on integer instructions

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Return the manifest in a variant's directory.

        Raises:
            InputError: nothing was made there, or it is damaged.
        """
        file = directory / MANIFEST
        if not file.exists():
            raise InputError(f"no model in {directory}; make it with: dvc repro")
        with readable(file):
            return cls(**json.loads(file.read_text()))

    def write(self, directory: Path) -> None:
        """Write the manifest into a variant's directory."""
        write_json(directory / MANIFEST, asdict(self))


def label(variant: Variant) -> str:
    """Return a description such as `BERT 6×384, ONNX INT8` (layers × width)."""
    from transformers import AutoConfig  # takes two seconds, and workers import this module

    config = AutoConfig.from_pretrained(variant.directory)
    family = type(config).__name__.removesuffix("Config").replace("Bert", "BERT")
    shape = f"{config.num_hidden_layers}×{config.hidden_size}"
    return f"{family} {shape}, {Manifest.read(variant.directory).title}"


def parameters(variant: Variant) -> int:
    """Return the number of parameters of a variant's model; export and INT8 don't change it."""
    total = 0
    for file in Variant(variant.model, "pytorch").directory.glob("*.safetensors"):
        with safe_open(file, "np") as weights:
            shapes = [weights.get_slice(key).get_shape() for key in weights.keys()]  # noqa: SIM118
            total += sum(math.prod(shape) for shape in shapes)
    return total


def size_mb(variant: Variant) -> float:
    """Return the size of a variant's directory in MB, tokenizer included."""
    return sum(file.stat().st_size for file in variant.directory.iterdir() if file.is_file()) / 1e6
