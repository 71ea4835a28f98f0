"""Checkpoints from elsewhere: they may be damaged, incomplete or hostile."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from transformers import AutoModel, AutoTokenizer, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from stages.core.errors import InputError

CLASSIFIERS = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
HEAD = "pooler."  # belongs to a task: it may be missing, and is trained anew


def check_files(directory: Path, name: str) -> None:
    """Raise InputError unless a checkpoint's JSON is valid and keeps to its own directory.

    Refused is what would make transformers 4 run code (CVE-2026-4372, CVE-2026-5241), read another
    file or write to another place (CVE-2026-9856); and all models but those that classify texts, of
    which some run code that lies beside them (CVE-2026-80047).

    Args:
        directory: of the checkpoint.
        name: what to call it in an error.
    """
    present = {file.name for file in directory.iterdir()}
    for file in sorted(directory.glob("*.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            shards = set(dict(content).get("weight_map", {}).values())
            entries = list(_entries(content)) if file.name.endswith("config.json") else []
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{name}: {file.name} is no valid JSON object ({error})") from error
        for key, value in entries:
            if needed := _from_elsewhere(key, value):
                raise InputError(f"{name} needs {needed} ({key} in {file.name}); refused")
        if file.name == "config.json" and content.get("model_type") not in CLASSIFIERS:
            raise InputError(
                f"{name}: config.json has model_type = {content.get('model_type')!r:.100}, which "
                "is no model that classifies texts; take another"
            )
        if not shards <= present:
            raise InputError(f"{name}: {file.name} names weights that are not beside it; refused")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key and its value, at any depth."""
    if isinstance(value, dict):
        yield from value.items()
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from _entries(child)


def _from_elsewhere(key: str, value: Any) -> str | None:
    if key == "auto_map" or (key == "trust_remote_code" and value):
        return "code of its own"
    if "attn_implementation" in key and value not in (None, "eager", "sdpa"):
        return "an attention from elsewhere"
    if key.endswith("_file") and key != "special_tokens_map_file" and value:
        return "a file from elsewhere"
    if key == "chat_template" and not isinstance(value, str | None):
        return "files of its own naming"
    return None


def load_encoder(directory: Path, name: str) -> PreTrainedModel:
    """Return the encoder in a checkpoint, every weight of it from there.

    Args:
        directory: of the checkpoint.
        name: what to call it in an error.

    Raises:
        InputError: the checkpoint is refused, can't be loaded or lacks weights.
    """
    check_files(directory, name)
    try:
        model, found = AutoModel.from_pretrained(
            directory,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except Exception as error:  # the libraries raise many kinds
        raise _unloadable(name, error) from error
    missing = [key for key in found["missing_keys"] if not key.startswith(HEAD)]
    if missing:
        raise InputError(f"{name} lacks {len(missing)} weights, {sorted(missing)[0]} among them")
    return model


def check_tokenizer(directory: Path, name: str) -> None:
    """Raise InputError unless a checkpoint's tokenizer can be loaded and cuts a text."""
    try:
        AutoTokenizer.from_pretrained(directory, trust_remote_code=False)("A text.")
    except Exception as error:  # tokenizers raises nothing narrower
        raise _unloadable(name, error) from error


def _unloadable(name: str, error: Exception) -> InputError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return InputError(f"{name} can't be loaded as a checkpoint ({reason})")
