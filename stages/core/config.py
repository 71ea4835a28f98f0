"""Settings that several stages read, and their validation."""

import json
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from stages.core.errors import InputError
from stages.core.layout import VARIANTS

STRICT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
NonNegative = Annotated[float, Field(ge=0)]
ModelName = Literal["teacher", "student"]
T = TypeVar("T")


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError("it holds control characters")
    return name


@dataclass(config=STRICT)
class PackageSource:
    """A directory or an archive inside a wheel or sdist of a package registry."""

    kind: Literal["package"]
    watch: str
    requirement: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9.!+]+$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    member: Annotated[str, AfterValidator(_printable)]


@dataclass(config=STRICT)
class HubSource:
    """Files of a Hugging Face Hub repository at one commit."""

    kind: Literal["hub"]
    watch: str
    repo: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    files: Annotated[list[str], Field(min_length=1)]


@dataclass(config=STRICT)
class LocalSource:
    """A file or directory on this machine."""

    kind: Literal["local"]
    watch: str
    path: Text


Source = Annotated[PackageSource | HubSource | LocalSource, Field(discriminator="kind")]


@dataclass(config=STRICT)
class ModelConfig:
    """The pretrained encoder."""

    title: Text
    license: Text
    max_length: Annotated[int, Field(ge=8, le=512)]
    source: Source


def _checked_pattern(pattern: str) -> str:
    PurePath().match(pattern)  # raises ValueError if it is none
    return pattern


Pattern = Annotated[str, AfterValidator(_checked_pattern)]


@dataclass(config=STRICT)
class Files:
    """File name patterns of each split; train takes what no other split claims."""

    train: Annotated[list[Pattern], Field(min_length=1)]
    validation: list[Pattern]
    test: list[Pattern]
    transfer: list[Pattern]


@dataclass(config=STRICT)
class DataConfig:
    """The labelled text, how to read it and how to split it."""

    title: Text
    license: Text
    source: Source
    files: Files
    columns: Annotated[list[str], Field(min_length=1)] | None
    text: str
    label: str
    label_names: Annotated[list[str], Field(min_length=2)] | None
    rating_threshold: Annotated[float, Field(gt=0)] | None
    validation_share: Share
    test_share: Share
    max_texts: Count | None
    seed: Seed

    def __post_init__(self) -> None:
        """Check what no single key can tell."""
        for key in ("columns", "label_names"):
            names = getattr(self, key) or ()
            if len(set(names)) < len(names):
                raise ValueError(f"{key} has a name twice")
        if self.rating_threshold is not None and len(self.label_names or ()) != 2:
            raise ValueError("rating_threshold needs two label_names: below zero, above zero")
        if not self.files.validation and self.validation_share == 0:
            raise ValueError("give files.validation, or a validation_share above 0")
        if not self.files.test and self.test_share == 0:
            raise ValueError("give files.test, or a test_share above 0")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share and test_share leave nothing to train on")


@dataclass(config=STRICT)
class SweepConfig:
    """Settings of the sweep over text length and batch size."""

    rounds: Count
    seconds: NonNegative
    warmup: Annotated[int, Field(ge=0)]
    lengths: Annotated[list[Annotated[int, Field(ge=3)]], Field(min_length=1)]
    batch_sizes: Annotated[list[Count], Field(min_length=1)]

    def __post_init__(self) -> None:
        """Check that single texts, which all else is compared with, are there."""
        if 1 not in self.batch_sizes:
            raise ValueError("batch_sizes lacks 1")


@dataclass(config=STRICT)
class BenchmarkConfig:
    """Settings of the measurement."""

    threads: Count
    rounds: Annotated[int, Field(ge=6)]  # fewer give no 95 % interval of a median
    calls: Count
    seconds: NonNegative
    warmup: Annotated[int, Field(ge=0)]
    post_sentence: Text
    control: Literal[VARIANTS]  # type: ignore[valid-type]
    sweep: SweepConfig


def parse(config: DictConfig, schema: type[T]) -> T:
    """Return the sections of `config` that `schema` has as fields, as a validated `schema`.

    Raises:
        InputError: names each offending key, its value and what is allowed.
    """
    fields = schema.__dataclass_fields__  # type: ignore[attr-defined]
    try:
        values = {name: _resolved(config[name]) for name in fields if name in config}
    except MissingMandatoryValue as error:
        raise InputError(_not_set(str(error.full_key))) from error
    except InterpolationToMissingValueError as error:
        key = str(error).split("Missing mandatory value: ")[1].split()[0]
        raise InputError(_not_set(key)) from error
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{error.full_key} can't be resolved ({reason})") from error
    try:
        # What JSON lacks, such as bytes, becomes an object, which no setting is.
        document = json.dumps(values, default=lambda value: {type(value).__name__: str(value)})
        return TypeAdapter(schema).validate_json(document)
    except ValidationError as error:
        problems = [_describe(problem) for problem in error.errors(include_url=False)]
        raise InputError("; ".join(problems)) from error
    except (TypeError, ValueError) as error:  # a key or a number that JSON can't hold
        raise InputError(f"the settings can't be written as JSON ({error})") from error


def _resolved(section: Any) -> Any:
    if not OmegaConf.is_config(section):
        return section
    return OmegaConf.to_container(section, resolve=True, throw_on_missing=True)


def _not_set(key: str) -> str:
    return f"{key} is not set; add {key}=… to the command"


def _describe(problem: Any) -> str:
    path, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
    # A source's kind is part of pydantic's location, but not of the key.
    parts = [str(part) for i, part in enumerate(path) if i == 0 or path[i - 1] != "source"]
    key = ".".join(parts)
    if problem["type"] == "json_invalid":
        return f"the settings hold what is no Unicode text ({message})"
    if problem["type"] == "missing":
        return _not_set(key)
    if problem["type"] == "unexpected_keyword_argument":
        return f"{key} is not a known setting"
    if isinstance(problem["input"], str | int | float | list | None):
        return f"{key} = {problem['input']!r:.100}: {message}"
    return f"{key}: {message}"  # of a whole section
