"""A variant: one model in one form, and the manifest that its directory holds."""

from dataclasses import asdict, dataclass
from pathlib import Path

from stages.core.launch.atomic import write_json
from stages.core.launch.errors import read_json, readable
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
            FileNotFoundError: nothing was made there.
            InputError: it is damaged.
        """
        with readable(directory / MANIFEST) as file:
            return cls(**read_json(file))

    def write(self, directory: Path) -> None:
        """Write the manifest into a variant's directory."""
        write_json(directory / MANIFEST, asdict(self))
