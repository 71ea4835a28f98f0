"""Reading settings: from a composed config to a validated model, or from a command line."""

import json
from argparse import ArgumentTypeError
from typing import Annotated, Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.core.launch.errors import InputError, reason

Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]
T = TypeVar("T", bound=BaseModel)


class Section(BaseModel):
    """Settings without unknown keys, conversions or changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def parse(config: DictConfig, schema: type[T]) -> T:
    """Return a composed config as a validated model.

    Raises:
        InputError: names each offending key, its value and what is allowed.
    """
    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        raise InputError(not_set(str(error.full_key))) from error
    except InterpolationToMissingValueError as error:
        key = str(error).split("Missing mandatory value: ")[1].split()[0]
        raise InputError(not_set(key)) from error
    except OmegaConfBaseException as error:
        raise InputError(f"{error.full_key} can't be resolved ({reason(error)})") from error
    try:
        # What JSON lacks, such as bytes, becomes an object, which no setting is.
        document = json.dumps(values, default=lambda value: {type(value).__name__: str(value)})
        return schema.model_validate_json(document)
    except ValidationError as error:
        raise InputError(describe(error)) from error
    except (TypeError, ValueError) as error:  # a key or a number that JSON can't hold
        raise InputError(f"the settings can't be written as JSON ({error})") from error


def not_set(key: str) -> str:
    """Return what to do about a setting without a value."""
    return f"{key} is not set; add {key}=… to the command"


def describe(error: ValidationError) -> str:
    """Return the errors, key by key."""
    return "; ".join(_describe(problem) for problem in error.errors(include_url=False))


def _describe(problem: Any) -> str:
    path, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
    # A source's kind is part of pydantic's location, but not of the key.
    parts = [str(part) for i, part in enumerate(path) if i == 0 or path[i - 1] != "source"]
    key = ".".join(parts)
    if problem["type"] == "json_invalid":
        return f"the settings are not valid Unicode ({message})"
    if problem["type"] == "missing":
        return not_set(key)
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"{key} is not a known setting"
    if isinstance(problem["input"], bool) and problem["type"] in ("literal_error", "string_type"):
        message += "; quote on, off, yes and no, which YAML reads so"
    if isinstance(problem["input"], str | int | float | list | None):
        return f"{key} = {problem['input']!r:.100}: {message}"
    return f"{key}: {message}" if key else message  # a whole section, or all of them


def positive(text: str) -> int:
    """Return a command line's argument as a number of 1 or more; argparse names the option."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text}; give a whole number of 1 or more")
    return int(text)
